import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { NodeServer } from "./socket_activation.ts";
import { activatedDescriptor, makeSocketFolder } from "./socket.ts";
import {
  canListenOnDescriptor,
  listenOnActivated,
  listenOnDescriptor,
} from "./socket_activation.ts";

const passed: readonly [pid: string | undefined, count: string | undefined, fd?: number][] = [
  [undefined, undefined],
  ["7", undefined],
  [undefined, "1"],
  ["8", "1"],
  ["7", "0"],
  ["7", "no"],
  ["7", "1", 3],
];

for (const [pid, count, descriptor] of passed) {
  Deno.test(`LISTEN_PID ${pid}, LISTEN_FDS ${count}`, () => {
    assertEquals(activatedDescriptor({ pid, count }, 7), descriptor);
  });
}

Deno.test("several passed sockets are refused", () => {
  assertThrows(
    () => activatedDescriptor({ pid: "7", count: "2" }, 7),
    Error,
    "Too many (2) FDs passed through socket activation",
  );
});

Deno.test("a descriptor that is no socket is refused", async () => {
  const opening = () => listenOnActivated(1_000_000, { path: "/run/none.sock" });
  await assertRejects(opening, Error, "LISTEN_FDS=1 but no FD found");
});

Deno.test("what fails at a passed socket later is said, each time, and ends nothing", async () => {
  let hear = (_error: Error) => {};
  const server: NodeServer = {
    on: (_, listener) => void (hear = listener),
    listen: (_, ready) => ready(),
    close: () => {},
  };
  const said: string[] = [];
  await listenOnDescriptor(server, { fd: 3, say: (line) => said.push(line) });
  for (const _ of [1, 2]) hear(new Error("accept EMFILE"));
  assertEquals(said, Array(2).fill("dhcp: Cannot let a plugin in: accept EMFILE"));
});

Deno.test("a runtime before 2.8 takes over no descriptor", () => {
  const versions = ["2.6.10", "2.7.14", "2.8.0", "2.10.1", "3.0.0"];
  assertEquals(versions.map(canListenOnDescriptor), [false, false, true, true, true]);
});

Deno.test("the folder of a socket is made, unless it is there", () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/run/cni/dhcp.sock`;
  makeSocketFolder(path);
  makeSocketFolder(path);
  assertEquals(Deno.statSync(`${dir}/run/cni`).mode! & 0o777, 0o700);
  makeSocketFolder("/dhcp.sock");
  Deno.removeSync(dir, { recursive: true });
});
