/**
 * Holds DHCPv6 exchanges inside namespaces, as `hold.ts` does those of DHCPv4. Here
 * nothing has to be prepared but an interface that is up and has its link-local
 * address: a zone says which interface a packet is for.
 *
 * @module
 */
import type { CniError } from "../../../cni/error.ts";
import type { NetnsRef } from "../../../host/command.ts";
import type { Ip } from "../../../host/ip.ts";
import type { Host } from "../../../ns/machine.ts";
import type { Place, Unheld } from "./exchange_process.ts";
import type { Client, Goal, Outcome } from "./exchange6.ts";
import type { HoldOptions } from "./run_exchange4.ts";
import { codes } from "../../../cni/error.ts";
import { command, shellQuote } from "../../../host/command.ts";
import { parseIp } from "../../../host/ip.ts";
import { parseIpJson } from "../../../host/ip_json.ts";
import { inspectNetns } from "../../../ns/netns.ts";
import {
  cancelled,
  cannot,
  gone,
  isThere,
  lineOf,
  missing,
  runInside,
  silent,
} from "./exchange_process.ts";
import { ownProgram } from "./self_exec.ts";
import { orderToLine, reportFromLine } from "./ipc6.ts";

/** What an exchange is held for. */
export interface Holding6 {
  /** The container's namespace. */
  readonly netns: NetnsRef;
  /** Name of the interface inside. */
  readonly dev: string;
  readonly goal: Goal;
  readonly client: Client;
  /** When to give up, in milliseconds from the call. */
  readonly within: number;
}

/** How it ended. */
export type Held6 = Outcome | Unheld;

/**
 * Holds one exchange. Those of several interfaces do not disturb each other; two of one
 * interface at a time do. An interface that is down is set up before it asks for an
 * address, and stays up. Throws a `CniError` when it gets no link-local address, or
 * another program has the port.
 */
export async function holdExchange6(
  host: Host,
  holding: Holding6,
  options: HoldOptions = {},
): Promise<Held6> {
  const { goal, client, dev, netns } = holding;
  const { program = ownProgram(), signal } = options;
  const start = performance.now();
  const state = inspectNetns(netns.path);
  if (state.is !== "namespace") return gone;
  const place = { netns, identity: state.identity };
  const source = await sourceOf(host, { ...holding, ...place });
  if ("kind" in source) return source;
  if (signal?.aborted) return cancelled;
  const within = Math.max(holding.within - (performance.now() - start), 0);
  const line = orderToLine({ goal, client, within, ...source });
  const output = await runInside(place, { program, script: 'exec "$@"', line, within, signal });
  if (!output) return gone;
  const said = lineOf(output);
  if (said === undefined && signal?.aborted) return cancelled;
  if (said === undefined) throw silent(output, dev);
  const report = reportFromLine(said, Date.now());
  if (report.kind === "port taken") {
    throw cannot(codes.portConflict, dev, "another program in the container has UDP port 546");
  }
  if (report.kind !== "cut off") return report;
  const now = await sourceOf(host, { ...holding, ...place });
  if ("kind" in now) return now;
  return { ...report, kind: "failed", message: `no more tries: ${report.message}` };
}

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
  /** Whether the kernel has not made sure that nobody else has it. */
  readonly tentative?: boolean;
  /** Whether somebody else has it. */
  readonly dadfailed?: boolean;
}

/** What the exchange is spoken from, if the namespace and the link are there. */
async function sourceOf(
  host: Host,
  { netns, dev, goal, identity }: Holding6 & Place,
): Promise<Source | Held6> {
  const text = await host.query(command("sh", ["-c", lookScript6(goal, dev)], { netns }), {
    why: `look at "${dev}"`,
    tolerate: ["missing"],
  });
  if (text === undefined || !isThere({ netns, identity })) return gone;
  const link = parseIpJson<RawLink>(text).find(({ ifname }) => ifname === dev);
  if (!link) return missing;
  const addresses = link.addr_info?.filter(isLinkLocal) ?? [];
  const address = addresses.find(({ tentative }) => !tentative);
  if (!address) throw unusable(dev, addresses);
  return { from: parseIp(address.local)!, zone: `%${link.ifindex}` };
}

function isLinkLocal({ family, scope }: RawAddress): boolean {
  return family === "inet6" && scope === "link";
}

/** Why a link speaks no IPv6 by its link-local addresses. */
function unusable(dev: string, addresses: readonly RawAddress[]): CniError {
  if (addresses.length === 0) {
    const state = "its IPv6 is switched off, or gives it no link-local address";
    return cannot(codes.refused, dev, state);
  }
  if (addresses.every(({ dadfailed }) => dadfailed)) {
    return cannot(codes.refused, dev, "its link-local address is another host's, too");
  }
  const state = "the kernel still makes sure that nobody else has its link-local address";
  return cannot(codes.tryAgainLater, dev, state);
}

/**
 * A script that shows the interfaces once the one in question has its link-local address: the kernel
 * takes up to two seconds to make sure of it.
 */
function lookScript6({ kind }: Goal, dev: string): string {
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
