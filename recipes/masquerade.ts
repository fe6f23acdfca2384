/**
 * `ipMasq`: traffic from a container's addresses to anything but its own subnets
 * and multicast leaves the host under the host's address. Rules are the
 * reference's, so that either's DEL removes what the other has added.
 *
 * @module
 */
import type { Decoder, Field } from "../cni/decode.ts";
import { expected, optional } from "../cni/decode.ts";
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Tool } from "../host/command.ts";
import type { Cidr } from "../host/ip.ts";
import { hasTool } from "../host/spawn.ts";
import type { Host } from "../ns/machine.ts";
import { addIptables, checkIptables, delIptables, gcIptables } from "./masquerade_iptables.ts";
import { addNft, checkNft, delNft, gcNft } from "./masquerade_nft.ts";
import type { Backend } from "./netfilter.ts";
import { removeTogether } from "./netfilter.ts";
import { requireTools } from "./status.ts";

const backends: readonly Backend[] = ["iptables", "nftables"];

const backendDecoder: Decoder<Backend> = {
  expects: backends.map((name) => `"${name}"`).join(" or "),
  decode(value, path, issues) {
    const backend = backends.find((name) => name === value);
    if (backend) return backend;
    const message = typeof value === "string"
      ? `unknown ipmasq backend "${value}"`
      : expected(this.expects, value);
    issues.push({ path, message });
    return undefined;
  },
};

/** The configuration key `ipMasqBackend`. */
export const masqueradeField: Field<Backend, false> = optional(
  backendDecoder,
  "Program that writes the masquerade rules; nftables where iptables is missing when absent.",
);

/** What masquerading needs of a request. */
export interface MasqueradeRequest {
  /** The machine. */
  readonly host: Host;
  /** Name of the network. */
  readonly network: string;
  /** Identifier of the container; empty for GC. */
  readonly containerId: string;
  /** Interface inside the container; empty for GC. */
  readonly ifName: string;
  /** The back end that the configuration names. */
  readonly conf: { readonly ipMasqBackend: Backend | undefined };
}

/** Masquerading, by verb. */
export interface Masquerade {
  /** Rules for these addresses; one process for each family, or one with nftables. */
  add(addresses: readonly Cidr[]): Promise<void>;
  /** A line for each rule that is missing. */
  check(addresses: readonly Cidr[]): Promise<string[]>;
  /**
   * Removes the rules of both back ends: the configuration may have changed.
   * Without addresses it removes what carries the attachment's name.
   */
  del(addresses: readonly Cidr[] | undefined): Promise<void>;
  /** Removes the network's rules that belong to none of these attachments. */
  gc(valid: readonly AttachmentKey[]): Promise<void>;
  /** Throws code 50 when the program for it is missing. */
  status(): void;
  /** Adds the rules if any of them is missing; gives a line for each that was. */
  repair(addresses: readonly Cidr[]): Promise<string[]>;
}

/** Masquerading of one attachment, or, for GC, of one network. */
export function masquerade(req: MasqueradeRequest): Masquerade {
  return {
    add: (addresses) => add(req, addresses),
    check: (addresses) => check(req, addresses),
    del: (addresses) => del(req, addresses),
    gc: (valid) => gc(req, valid),
    status: () => status(req.conf.ipMasqBackend),
    repair: (addresses) => repair(req, addresses),
  };
}

/** nftables takes over what iptables cannot do, unless the configuration names iptables. */
async function add(req: MasqueradeRequest, addresses: readonly Cidr[]): Promise<void> {
  const backend = req.conf.ipMasqBackend;
  const rest = backend === "nftables"
    ? addresses
    : await addIptables(req, addresses, { only: backend === "iptables" || !hasTool("nft") });
  if (rest.length > 0) await addNft(req, rest);
}

async function check(req: MasqueradeRequest, addresses: readonly Cidr[]): Promise<string[]> {
  const backend = req.conf.ipMasqBackend;
  if (backend === "nftables") return await checkNft(req, addresses);
  const problems = await checkIptables(req, addresses);
  if (backend === "iptables" || problems.length === 0 || !hasTool("nft")) return problems;
  const others = await checkNft(req, addresses);
  return others.length === 0 ? [] : problems;
}

async function del(
  req: MasqueradeRequest,
  addresses: readonly Cidr[] | undefined,
): Promise<void> {
  await removeTogether("remove masquerade rules", [
    () => delIptables(req, { family: 4, addresses }),
    () => delIptables(req, { family: 6, addresses }),
    () => delNft(req),
  ]);
}

async function gc(req: MasqueradeRequest, valid: readonly AttachmentKey[]): Promise<void> {
  await removeTogether("remove stale masquerade rules", [
    () => gcIptables(req, { family: 4, valid }),
    () => gcIptables(req, { family: 6, valid }),
    () => gcNft(req, valid),
  ]);
}

async function repair(req: MasqueradeRequest, addresses: readonly Cidr[]): Promise<string[]> {
  const problems = await check(req, addresses);
  if (problems.length > 0) await add(req, addresses);
  return problems;
}

function status(backend: Backend | undefined): void {
  const iptables: Tool = "iptables-restore";
  const either = hasTool("nft") && backend === undefined;
  requireTools([backend === "nftables" || (either && !hasTool(iptables)) ? "nft" : iptables]);
}
