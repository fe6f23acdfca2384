/**
 * Runs exchanges with DHCPv6 servers inside namespaces, each in a short-lived process of its own.
 * Nothing has to be prepared but an interface that is up and has its link-local address: a zone says
 * which interface a packet is for.
 *
 * @module
 */
import type { CniError } from "../../../cni/error.ts";
import type { NetnsRef } from "../../../host/command.ts";
import type { Ip } from "../../../host/ip.ts";
import type { Host } from "../../../ns/machine.ts";
import type { Client6, ExchangeGoal6 } from "./client_message6.ts";
import type { ExchangeOutcome6 } from "./exchange6.ts";
import type { KnownNetns } from "./exchange_process.ts";
import type { ExchangeNotRun, RunExchangeOptions } from "./run_exchange.ts";
import { codes } from "../../../cni/error.ts";
import { command, shellQuote } from "../../../host/command.ts";
import { parseIp } from "../../../host/ip.ts";
import { parseIpJson } from "../../../host/ip_json.ts";
import { inspectNetns } from "../../../ns/netns.ts";
import { isStillThere, runInNetns } from "./exchange_process.ts";
import { decodeReport6, encodeOrder6 } from "./ipc6.ts";
import {
  cancelled,
  exchangeError,
  linkMissing,
  namespaceGone,
  noReportError,
  resultOfProcess,
} from "./run_exchange.ts";
import { exchangeProgram } from "./self_exec.ts";

/** An exchange to run. */
export interface ExchangeJob6 {
  /** The container's namespace. */
  readonly netns: NetnsRef;
  /** Name of the interface inside. */
  readonly dev: string;
  readonly goal: ExchangeGoal6;
  readonly client: Client6;
  /** When to give up, in milliseconds from the call. */
  readonly within: number;
}

/** How an exchange has ended. */
export type ExchangeResult6 = ExchangeOutcome6 | ExchangeNotRun;

/** UDP port of clients. */
const clientPort = 546;

/**
 * Runs one exchange. Exchanges of several interfaces do not disturb each other; two of one interface
 * at a time do. An interface that is down is set up before it asks for an address, and stays up.
 * Throws a `CniError` when it gets no link-local address, or another program has the port.
 */
export async function runExchange6(
  host: Host,
  job: ExchangeJob6,
  options: RunExchangeOptions = {},
): Promise<ExchangeResult6> {
  const { goal, client, dev, netns } = job;
  const { program = exchangeProgram(), signal } = options;
  const start = performance.now();
  const state = inspectNetns(netns.path);
  if (state.is !== "namespace") return namespaceGone;
  const place = { netns, identity: state.identity };
  const source = await sourceOf(host, { ...job, ...place });
  if ("kind" in source) return source;
  if (signal?.aborted) return cancelled;
  const within = Math.max(job.within - (performance.now() - start), 0);
  const line = encodeOrder6({ goal, client, within, ...source });
  const output = await runInNetns(place, { program, script: 'exec "$@"', line, within, signal });
  return await resultOfProcess(output, {
    dev,
    port: clientPort,
    signal,
    decode: decodeReport6,
    lookAgain: async () => {
      const now = await sourceOf(host, { ...job, ...place });
      return "kind" in now ? now : undefined;
    },
    explainSilence: (output) => Promise.reject(noReportError(output, dev)),
  });
}

/** Where packets are sent from. */
interface Source {
  readonly from: Ip;
  readonly zone: string;
}

interface RawLink {
  readonly ifname?: string;
  readonly ifindex: number;
  readonly addr_info?: readonly RawAddress[];
}

interface RawAddress {
  readonly family: string;
  readonly local: string;
  readonly scope: string;
  /** Whether duplicate address detection has not ended. */
  readonly tentative?: boolean;
  /** Whether another host has it. */
  readonly dadfailed?: boolean;
}

/** Finds the source of packets, if the namespace and the link are there. */
async function sourceOf(
  host: Host,
  { netns, dev, goal, identity }: ExchangeJob6 & KnownNetns,
): Promise<Source | ExchangeNotRun> {
  const text = await host.query(command("sh", ["-c", sourceScript(goal, dev)], { netns }), {
    why: `look at "${dev}"`,
    tolerate: ["missing"],
  });
  if (text === undefined || !isStillThere({ netns, identity })) return namespaceGone;
  const link = parseIpJson<RawLink>(text).find(({ ifname }) => ifname === dev);
  if (!link) return linkMissing;
  const addresses = link.addr_info?.filter(isLinkLocal) ?? [];
  const address = addresses.find(({ tentative }) => !tentative);
  if (!address) throw sourceError(dev, addresses);
  return { from: parseIp(address.local)!, zone: `%${link.ifindex}` };
}

function isLinkLocal({ family, scope }: RawAddress): boolean {
  return family === "inet6" && scope === "link";
}

/** Makes the error of a link that has no usable link-local address. */
function sourceError(dev: string, addresses: readonly RawAddress[]): CniError {
  if (addresses.length === 0) {
    const state = "its IPv6 is switched off, or gives it no link-local address";
    return exchangeError(codes.refused, dev, state);
  }
  if (addresses.every(({ dadfailed }) => dadfailed)) {
    return exchangeError(codes.refused, dev, "its link-local address is another host's, too");
  }
  const state = "the kernel still makes sure that nobody else has its link-local address";
  return exchangeError(codes.tryAgainLater, dev, state);
}

/**
 * Makes a script that shows the interfaces once the one in question has its link-local address: the
 * kernel takes up to two seconds for duplicate address detection.
 */
function sourceScript({ kind }: ExchangeGoal6, dev: string): string {
  const name = shellQuote(dev);
  return [
    ...(kind === "acquire" || kind === "reboot" ? [`ip link set dev ${name} up 2>/dev/null`] : []),
    "n=0",
    `until [ -n "$(ip -6 address show dev ${name} scope link -tentative 2>/dev/null)" ]; do`,
    `[ $n -lt 40 ] && ip link show dev ${name} >/dev/null 2>&1 || break`,
    "n=$((n + 1))",
    "sleep 0.1",
    "done",
    "exec ip -j address show",
  ].join("\n");
}
