/**
 * The program that writes netfilter rules: how a configuration names it, which
 * one serves where none is named, and which one takes over where it cannot.
 *
 * @module
 */
import type { Decoder } from "../cni/decode.ts";
import { oneOf } from "../cni/decode.ts";
import type { Tool } from "../host/command.ts";
import type { ActionError } from "../host/error.ts";
import type { Cidr, Family } from "../host/ip.ts";
import { restoreTool } from "../host/iptables.ts";
import { hasTool } from "../host/spawn.ts";
import type { Step } from "../host/step.ts";
import type { Host } from "../ns/machine.ts";
import { applyAssuming } from "./netfilter.ts";
import { requireTools } from "./status.ts";

/** A program that writes rules. */
export type Backend = "iptables" | "nftables";

/** Every back end; removals go through all, because a configuration may have changed. */
export const backends: readonly Backend[] = ["iptables", "nftables"];

/** Reads the name of a back end; `unknown` gives the message for any other name. */
export function backendDecoder(unknown: (name: string) => string): Decoder<Backend> {
  return oneOf(backends, unknown);
}

/** The back end that ADD asks first. */
export interface BackendChoice<B extends string = Backend> {
  readonly backend: B;
  /** Takes over what `backend` cannot do on this host; absent: that is an error. */
  readonly fallback?: B;
}

/** The configured back end, or the best that this host has. `has` tells which programs it has. */
export function chooseBackend(
  configured: Backend | undefined,
  has: (tool: Tool) => boolean = hasTool,
): BackendChoice {
  // Whoever names a back end wants that one or an error.
  if (configured) return { backend: configured };
  // Nothing can take over: iptables is tried, and its error names what is missing.
  if (!has("nft")) return { backend: "iptables" };
  if (!has("iptables-restore")) return { backend: "nftables" };
  // The kernel may still lack a table of iptables, or the host ip6tables.
  return { backend: "iptables", fallback: "nftables" };
}

/** Throws code 50 when the program of a back end is missing. Starts nothing. */
export function requireBackend(backend: Backend): void {
  requireTools([backend === "nftables" ? "nft" : "iptables-restore"]);
}

/** A request of ADD to one back end. */
export interface AddRequest {
  /** The container's addresses. */
  readonly addresses: readonly Cidr[];
  /** Another back end serves the addresses that this one cannot; otherwise that is an error. */
  readonly giveWay: boolean;
}

/**
 * Adds rules by the chosen back end, and by the fallback for the addresses that
 * the first one leaves: `add` gives those.
 */
export async function addByChoice<B extends string>(
  { backend, fallback }: BackendChoice<B>,
  { addresses, add }: {
    readonly addresses: readonly Cidr[];
    readonly add: (backend: B, request: AddRequest) => Promise<readonly Cidr[]>;
  },
): Promise<void> {
  const left = await add(backend, { addresses, giveWay: fallback !== undefined });
  if (fallback && left.length > 0) await add(fallback, { addresses: left, giveWay: false });
}

/** Problems in the chosen back end; none when the fallback has everything. */
export async function checkByChoice(
  { backend, fallback }: BackendChoice,
  check: (backend: Backend) => Promise<string[]>,
): Promise<string[]> {
  const problems = await check(backend);
  if (!fallback || problems.length === 0) return problems;
  return (await check(fallback)).length === 0 ? [] : problems;
}

/**
 * Applies rules of iptables as {@linkcode applyAssuming} does. `otherwise` gives
 * `undefined` where iptables does not work on this host. That is an error, or
 * false if another back end takes over.
 */
export async function applyIptables(
  host: Host,
  { family, giveWay, assumed, otherwise }: {
    readonly family: Family;
    readonly giveWay: boolean;
    readonly assumed: readonly Step[];
    readonly otherwise: () => Promise<string | undefined>;
  },
): Promise<boolean> {
  if (giveWay && !hasTool(restoreTool(family))) return false;
  let works = true;
  const look = async (failure: ActionError) => {
    const printed = await otherwise();
    if (printed === undefined && !giveWay) throw failure;
    works = printed !== undefined;
    return printed ?? "";
  };
  await applyAssuming(host, { assumed, otherwise: look });
  return works;
}
