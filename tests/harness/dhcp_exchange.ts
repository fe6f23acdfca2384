/**
 * Exchanges of a test with DHCP servers, run as the lease agent runs them.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Ip } from "../../host/ip.ts";
import type { RunExchangeOptions } from "../../ipam/dhcp/exchange/run_exchange.ts";
import type { ExchangeJob4, ExchangeResult4 } from "../../ipam/dhcp/exchange/run_exchange4.ts";
import type { Sandbox } from "./sandbox.ts";
import { formatIp, parseIp } from "../../host/ip.ts";
import { runExchange4 } from "../../ipam/dhcp/exchange/run_exchange4.ts";
import { exchangeProgramOf } from "../../ipam/dhcp/exchange/self_exec.ts";
import { Machine } from "../../ns/machine.ts";
import { subnet } from "./dhcp_server.ts";
import { assertSame, snapshot } from "./state.ts";

/** The program of an exchange, from the sources. */
export const program = exchangeProgramOf({
  execPath: Deno.execPath(),
  standalone: false,
  mainModule: new URL("../../main.ts", import.meta.url).href,
  env: (name) => Deno.env.get(name),
  isMissing: () => false,
});

/** A client. */
export const client = {
  clientId: new TextEncoder().encode("\0c1/net1/eth0"),
  requested: [3, 1],
  provided: new Map<number, Uint8Array>(),
};

/** Reads an address. */
export const ip = (text: string): Ip => parseIp(text)!;
/** The server's address. */
export const server = ip(subnet.server);
/** The first one that it gives. */
export const first = ip(subnet.first);

/** What an exchange is told; all of it has a default. */
export interface Options extends Partial<ExchangeJob4>, RunExchangeOptions {}

/** Runs an exchange on `eth0`: an acquisition, if nothing else is asked for. */
export function runExchange(
  path: string,
  { signal, ...rest }: Options = {},
): Promise<ExchangeResult4> {
  const job: ExchangeJob4 = {
    netns: { path },
    dev: "eth0",
    goal: { kind: "acquire" },
    client,
    within: 20_000,
    timeout: 1000,
    ...rest,
  };
  return runExchange4(new Machine(), job, { program: rest.program ?? program, signal });
}

/** Runs an exchange and fails when it leaves anything in the containers or on the disk. */
export async function runCleanly(
  sandbox: Sandbox,
  path: string,
  options: Options = {},
): Promise<ExchangeResult4> {
  const before = await snapshot(sandbox);
  const result = await runExchange(path, options);
  assertSame(before, await snapshot(sandbox), { only: /^(?!server|other|files)/ });
  assertEquals(locks(), []);
  return result;
}

/** Names of what the project keeps for a time. */
export function locks(): string[] {
  return [...Deno.readDirSync("/run/cni/denocni")].map(({ name }) => name);
}

/** The address of an acknowledgement. */
export function addressOf(result: ExchangeResult4): string {
  return result.kind === "acked" ? formatIp(result.ack.yiaddr) : JSON.stringify(result);
}

/** Gives the interface the address, as a plugin does with a lease. */
export async function configureLease(
  sandbox: Sandbox,
  netns: string,
  result: ExchangeResult4,
): Promise<void> {
  await sandbox.ip(netns, [`addr add ${addressOf(result)}/24 dev eth0`]);
}
