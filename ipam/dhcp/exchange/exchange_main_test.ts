import { assertEquals } from "@std/assert";
import type { ExchangeOrder4 } from "./ipc4.ts";
import { spawn } from "../../../host/spawn.ts";
import { chaddr, clientId, ip } from "../codec/testing_message4.ts";
import { encodeOrder4 } from "./ipc4.ts";
import { encodeOrder6 } from "./ipc6.ts";
import { exchangeProgramOf } from "./self_exec.ts";

const program = exchangeProgramOf({
  execPath: Deno.execPath(),
  standalone: false,
  mainModule: import.meta.resolve("../../../main.ts"),
  env: (name) => Deno.env.get(name),
  isMissing: () => false,
});

const loopback = ip("127.0.0.1");
const client = { chaddr, clientId, requested: [1, 3], provided: new Map() };
/** Any port, and no way out of this machine. */
const base = { client, from: loopback, port: 0, within: 600_000 };

const order6 = {
  goal: { kind: "rebind", address: ip("2001:db8::5") },
  client: { duid: Uint8Array.of(0, 3, 0, 1, 2), iaid: 7, requested: [], provided: [] },
  from: ip("fe80::1"),
  within: 600_000,
} as const;

async function run(
  stdin: string,
  until?: AbortSignal,
): Promise<[code: number, stdout: string, stderr: string]> {
  const [path, ...args] = program.argv;
  const { code, stdout, stderr } = await spawn(path!, args, { stdin, until, env: program.env });
  return [code, stdout.replace(/"at":\d+/, '"at":0'), stderr];
}

Deno.test("a release is sent, and that is all", async () => {
  const order: ExchangeOrder4 = {
    ...base,
    goal: { kind: "release", address: loopback, server: loopback },
  };
  const open = new AbortController().signal;
  const finished = await run(`${encodeOrder4(order)}\n`, open);
  assertEquals(finished, [0, '{"kind":"sent","at":0}\n', ""]);
});

Deno.test("an exchange ends with its stdin, before an order and after it", async () => {
  assertEquals(await run(""), [1, "", ""]);
  const order: ExchangeOrder4 = {
    ...base,
    goal: { kind: "renew", address: loopback, server: loopback },
  };
  const line = encodeOrder4(order);
  assertEquals(await run(line), [1, "", ""]);
  assertEquals(await run(`${line}\n`), [1, "", ""]);
});

Deno.test("an address or a link that has just gone ends an exchange before it begins", async () => {
  const gone = ip("203.0.113.77");
  const goal = { kind: "rebind", address: gone } as const;
  const line = encodeOrder4({ ...base, from: gone, goal });
  const orders = [[line, "99"], [encodeOrder6({ ...order6, zone: "%2147483647" }), "19"]] as const;
  for (const [order, number] of orders) {
    const [code, stdout, stderr] = await run(`${order}\n`, new AbortController().signal);
    assertEquals([code, stderr], [0, ""]);
    const { kind, message, counts } = JSON.parse(stdout);
    assertEquals([kind, message.includes(`(os error ${number})`)], ["cut off", true], message);
    assertEquals([counts.request, counts.rebind ?? 0], [0, 0]);
  }
});
