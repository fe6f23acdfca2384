/**
 * firewall's configuration: decoders, and what cannot be combined.
 *
 * @module
 */
import type { Decoder, Infer } from "../../cni/decode.ts";
import {
  integer,
  list,
  object,
  oneOf,
  optional,
  refine,
  required,
  stringThat,
  withDefault,
} from "../../cni/decode.ts";
import type { TableName } from "../../host/nft.ts";
import type { Backend } from "../../recipes/backend.ts";

/** A program that lets packets pass. */
export type FirewallBackend = Backend | "firewalld";

/** Every back end; removals without a record go through all. */
export const firewallBackends: readonly FirewallBackend[] = ["iptables", "firewalld", "nftables"];

/** Who may talk to a container from a bridge. */
export type IngressPolicy = "open" | "same-bridge" | "isolated";

const policies: readonly IngressPolicy[] = ["open", "same-bridge", "isolated"];

/** Empty text counts as an absent key. */
function unlessEmpty<T>(decoder: Decoder<T>): Decoder<T> {
  return {
    ...decoder,
    decode: (value, path, issues) => value === "" ? undefined : decoder.decode(value, path, issues),
  };
}

/** Targets of iptables itself, and chains that must not lead to themselves. */
const reserved =
  /^(ACCEPT|DROP|QUEUE|RETURN|PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING|CNI-FORWARD|CNI-ISOLATION-STAGE-[12])$/;

const chainName = stringThat(
  "name of a chain",
  (name) => /^[^\s"'\\!-][^\s"'\\]{0,27}$/.test(name) && !reserved.test(name),
);

/** A name that nft takes without quotes; words of its own language are for nft to refuse. */
const nftName = (what: string) => stringThat(what, (name) => /^[A-Za-z_][\w./-]{0,63}$/.test(name));

/** A chain by its full name, as {@linkcode TableName} is a table's. */
export interface ChainName {
  readonly family: "inet" | "ip" | "ip6";
  readonly table: string;
  readonly chain: string;
}

/** The table of a chain. */
export function tableOf({ family, table }: ChainName): TableName {
  return { family, name: table };
}

const chain = object({
  family: required(oneOf(["inet", "ip", "ip6"]), "Family of the table."),
  table: required(nftName("name of a table"), "Name of the table, which must exist."),
  chain: required(nftName("name of a chain"), "Name of the chain, which must exist."),
});

/** A list, or its only element. */
function oneOrMore<T>(element: Decoder<T>): Decoder<T[]> {
  const all = list(element);
  return {
    ...all,
    expects: `object or ${all.expects}`,
    decode: (value, path, issues) =>
      Array.isArray(value)
        ? all.decode(value, path, issues)
        : [element.decode(value, path, issues)].filter((one) => one !== undefined) as T[],
  };
}

/** The whole configuration. */
export const conf = refine(
  object({
    backend: optional(
      unlessEmpty(
        oneOf(firewallBackends, (text) => `unknown backend: ${JSON.stringify(text)}`),
      ),
      "What lets the packets pass; when absent firewalld if it runs, else iptables, else nftables.",
    ),
    ingressPolicy: withDefault(
      unlessEmpty(
        oneOf(policies, (text) => `unknown ingress policy: ${JSON.stringify(text)}`),
      ),
      "open",
      "Who may talk to the containers of the bridge: everybody, nobody on another bridge with a policy, or no container at all.",
    ),
    iptablesAdminChainName: withDefault(
      unlessEmpty(chainName),
      "CNI-ADMIN",
      "Chain for your own rules, which come first. iptables only.",
    ),
    firewalldZone: withDefault(
      unlessEmpty(stringThat("name of a zone", (name) => /^[\w][\w-]{0,62}$/.test(name))),
      "trusted",
      "Zone that gets the container's addresses as sources. firewalld only.",
    ),
    mark: optional(
      integer({ min: 1, max: 0xffff_ffff }),
      "Bits to set in the mark of the containers' packets, for a rule of yours to accept. nftables only.",
    ),
    insertInto: withDefault(
      oneOrMore(chain),
      [],
      "Chains of yours that get a jump to the containers' rules. nftables only.",
      "none",
    ),
  }),
  ({ backend, mark, insertInto }, report) => {
    if (backend === undefined || backend === "nftables") return;
    const message = `only backend "nftables" understands it, and backend is "${backend}"`;
    if (mark !== undefined) report("mark", message);
    if (insertInto.length > 0) report("insertInto", message);
  },
);

/** The configuration, decoded. */
export type Conf = Infer<typeof conf>;
