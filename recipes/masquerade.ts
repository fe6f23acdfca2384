/**
 * `ipMasq`: traffic from a container's addresses to anything but its own subnets
 * and multicast leaves the host under the host's address. Rules are the
 * reference's, so that either's DEL removes what the other has added.
 *
 * @module
 */
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Field } from "../cni/decode.ts";
import { optional } from "../cni/decode.ts";
import type { Cidr } from "../host/ip.ts";
import type { Backend } from "./backend.ts";
import { addByChoice, backendDecoder, backends, checkByChoice, chooseBackend } from "./backend.ts";
import type { MasqueradeDriver, MasqueradeOwner } from "./masquerade/driver.ts";
import { masqueradeByIptables } from "./masquerade/iptables.ts";
import { masqueradeByNftables } from "./masquerade/nftables.ts";
import { removeTogether } from "./netfilter.ts";

/** The configuration key `ipMasqBackend`. */
export const masqueradeField: Field<Backend, false> = optional(
  backendDecoder((name) => `unknown ipmasq backend "${name}"`),
  "Program that writes the masquerade rules; nftables where iptables is missing when absent.",
);

const drivers: Readonly<Record<Backend, MasqueradeDriver>> = {
  iptables: masqueradeByIptables,
  nftables: masqueradeByNftables,
};

/** The part of a request that masquerading needs. */
export interface MasqueradeRequest extends MasqueradeOwner {
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
    status: () => drivers[choose(req).backend].status(),
    repair: (addresses) => repair(req, addresses),
  };
}

function choose({ conf }: MasqueradeRequest) {
  return chooseBackend(conf.ipMasqBackend);
}

async function add(req: MasqueradeRequest, addresses: readonly Cidr[]): Promise<void> {
  await addByChoice(choose(req), {
    addresses,
    add: (backend, request) => drivers[backend].add(req, request),
  });
}

async function check(req: MasqueradeRequest, addresses: readonly Cidr[]): Promise<string[]> {
  return await checkByChoice(choose(req), (backend) => drivers[backend].check(req, addresses));
}

async function del(
  req: MasqueradeRequest,
  addresses: readonly Cidr[] | undefined,
): Promise<void> {
  const tasks = backends.map((backend) => () => drivers[backend].del(req, addresses));
  await removeTogether("remove masquerade rules", tasks);
}

async function gc(
  { host, network }: MasqueradeRequest,
  valid: readonly AttachmentKey[],
): Promise<void> {
  const tasks = backends.map((backend) => () => drivers[backend].gc(host, { network, valid }));
  await removeTogether("remove stale masquerade rules", tasks);
}

async function repair(req: MasqueradeRequest, addresses: readonly Cidr[]): Promise<string[]> {
  const problems = await check(req, addresses);
  if (problems.length > 0) await add(req, addresses);
  return problems;
}
