import { assertEquals } from "@std/assert";
import type { ProxyOptions } from "./socket_proxy.ts";
import { listenBehindProxy } from "./socket_proxy.ts";

/** What is said when the process ends, after the socket has gone. */
async function ending(start: NonNullable<ProxyOptions["start"]>): Promise<string> {
  const dir = Deno.makeTempDirSync();
  const { promise: left, resolve: leave } = Promise.withResolvers<string>();
  const door = await listenBehindProxy(`${dir}/dhcp.sock`, { start, leave });
  assertEquals(await door.accept(), undefined);
  const line = await left;
  assertEquals([...Deno.readDirSync(dir)], []);
  Deno.removeSync(dir);
  return line;
}

Deno.test("nobody can call where the proxy cannot be started", async () => {
  const line = await ending(() => Promise.reject(new Error("Cannot find program")));
  assertEquals(line, "Cannot serve the passed socket: Cannot find program");
});

Deno.test("nobody can call when the proxy has ended", async () => {
  const said = await ending(() => Promise.resolve({ stderr: "no proxy\nmore", code: 1 }));
  assertEquals(said, "Cannot serve the passed socket: no proxy");
  const silent = await ending(() => Promise.resolve({ stderr: "", code: 7 }));
  assertEquals(silent, "Cannot serve the passed socket: exit status 7");
});

Deno.test("a proxy that ends because it is told to ends nothing else", async () => {
  const dir = Deno.makeTempDirSync();
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const left: string[] = [];
  const door = await listenBehindProxy(`${dir}/dhcp.sock`, {
    start: async (own, until) => {
      assertEquals(own, `${dir}/dhcp.sock.passed`);
      await new Promise((resolve) => until.addEventListener("abort", resolve));
      end();
      throw new Error("told to");
    },
    leave: (line) => left.push(line),
  });
  door.close();
  await ended;
  await Promise.resolve();
  assertEquals(left, []);
  Deno.removeSync(dir);
});
