import { assertEquals } from "@std/assert";
import type { Order } from "./wire.ts";
import { spawn } from "../../host/spawn.ts";
import { programOf } from "./self.ts";
import { chaddr, clientId, ip } from "./testing.ts";
import { orderToLine } from "./wire.ts";

const program = programOf({
  execPath: Deno.execPath(),
  standalone: false,
  mainModule: import.meta.resolve("../../main.ts"),
  env: (name) => Deno.env.get(name),
  isMissing: () => false,
});

const loopback = ip("127.0.0.1");
const client = { chaddr, clientId, requested: [1, 3], provided: new Map() };
/** Any port, and no way out of this machine. */
const base = { client, from: loopback, port: 0, within: 600_000 };

async function run(
  stdin: string,
  until?: AbortSignal,
): Promise<[code: number, stdout: string, stderr: string]> {
  const [path, ...args] = program.argv;
  const { code, stdout, stderr } = await spawn(path!, args, { stdin, until, env: program.env });
  return [code, stdout.replace(/"at":\d+/, '"at":0'), stderr];
}

Deno.test("a release is sent, and that is all", async () => {
  const order: Order = { ...base, goal: { kind: "release", address: loopback, server: loopback } };
  const open = new AbortController().signal;
  const finished = await run(`${orderToLine(order)}\n`, open);
  assertEquals(finished, [0, '{"kind":"sent","at":0}\n', ""]);
});

Deno.test("an exchange ends with its stdin, before an order and after it", async () => {
  assertEquals(await run(""), [1, "", ""]);
  const order: Order = { ...base, goal: { kind: "renew", address: loopback, server: loopback } };
  const line = orderToLine(order);
  assertEquals(await run(line), [1, "", ""]);
  assertEquals(await run(`${line}\n`), [1, "", ""]);
});
