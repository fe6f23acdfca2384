/**
 * flannel's configuration, the file that flanneld writes, and the configuration
 * that the delegate gets from both.
 *
 * @module
 */
import type { Infer } from "../../cni/decode.ts";
import type { JsonObject, Route } from "../../cni/types.ts";
import type { Cidr, Family } from "../../host/ip.ts";
import {
  anyObject,
  expected,
  map,
  object,
  optional,
  refine,
  string,
  withDefault,
} from "../../cni/decode.ts";
import { CniError, codes } from "../../cni/error.ts";
import { isPluginType } from "../../cni/names.ts";
import { formatCidr, network, parseCidr } from "../../host/ip.ts";
import { readNamedFile } from "../../recipes/files.ts";

/** Keys that flannel sets itself. */
const reserved = ["name", "ipam"] as const;

const jsonObject = map(anyObject(), (value) => value as JsonObject);

const delegate = refine(jsonObject, ({ type, ...rest }, report) => {
  if (type !== undefined && (typeof type !== "string" || !isPluginType(type))) {
    report("type", expected("type of a plugin", type));
  }
  for (const key of reserved.filter((key) => key in rest)) {
    report(key, "expected nothing: flannel sets it itself");
  }
});

/** The configuration of the flannel plugin. */
export const conf = object({
  subnetFile: withDefault(
    string(),
    "/run/flannel/subnet.env",
    "File in which flanneld writes the host's subnet.",
  ),
  dataDir: withDefault(
    string(),
    "/var/lib/cni/flannel",
    "Where the delegate's configurations are kept for DEL.",
  ),
  delegate: withDefault(
    delegate,
    {},
    "Configuration of the plugin that does the work, without `name` and `ipam`; `type` is `bridge` when absent.",
  ),
  ipam: withDefault(
    jsonObject,
    {},
    "Basis of the delegate's `ipam`: `type` is `host-local` when absent, `ranges` are flannel's, its networks are added to `routes`.",
  ),
  runtimeConfig: optional(jsonObject, "Passed on to the delegate as it is."),
});

/** The decoded configuration. */
export type Conf = Infer<typeof conf>;

/** What flanneld knows of this host. */
export interface SubnetEnv {
  /** Networks of all hosts, each once. */
  readonly networks: readonly Cidr[];
  /** This host's subnets, at most one a family. */
  readonly subnets: readonly Cidr[];
  /** Bytes. */
  readonly mtu: number;
  /** Whether flanneld masquerades itself. */
  readonly ipMasq: boolean;
}

/**
 * Reads the file that flanneld writes (`KEY=VALUE` lines). Throws code 11 when
 * there is none yet, 7 when it lacks something.
 */
export function readSubnetEnv(path: string): SubnetEnv {
  const text = readNamedFile(path);
  if (text !== undefined) return parseSubnetEnv(path, text);
  throw new CniError(
    codes.tryAgainLater,
    `Cannot read "${path}": no such file: does flanneld run on this host?`,
  );
}

const families = [4, 6] as const;

function parseSubnetEnv(path: string, text: string): SubnetEnv {
  const values = new Map(
    text.split("\n").map((line): [string, string] => {
      const [key = "", ...value] = line.split("=");
      return [key.trim(), value.join("=").trim()];
    }),
  );
  const refuse = (what: string) =>
    new CniError(codes.invalidNetworkConfig, `Cannot use "${path}": ${what}`);
  const read = (name: string, family: Family) =>
    (values.get(keyOf(name, family)) ?? "").split(",").filter(Boolean).map((text) => {
      const cidr = parseCidr(text);
      if (cidr?.family === family) return network(cidr);
      throw refuse(`${keyOf(name, family)}: ${expected(`IPv${family} prefix`, text)}`);
    });
  const networks = distinct(families.flatMap((family) => read("NETWORK", family)));
  const subnets = families.flatMap((family) => read("SUBNET", family).slice(0, 1));
  const missing = [
    ...lackingPairs({ networks, subnets }),
    ...["FLANNEL_MTU", "FLANNEL_IPMASQ"].filter((key) => !values.has(key)),
  ];
  if (missing.length > 0) throw refuse(`it lacks ${missing.join(", ")}`);
  const mtu = values.get("FLANNEL_MTU")!;
  if (!/^\d{1,9}$/.test(mtu)) throw refuse(`FLANNEL_MTU: ${expected("number of bytes", mtu)}`);
  const ipMasq = values.get("FLANNEL_IPMASQ") === "true";
  return { networks, subnets, mtu: Number(mtu), ipMasq };
}

/** Keys that are missing: there is a network and a subnet for each family, and one pair at least. */
function lackingPairs({ networks, subnets }: Pick<SubnetEnv, "networks" | "subnets">): string[] {
  const lists = { NETWORK: networks, SUBNET: subnets };
  const empty = Object.entries(lists).filter(([, list]) => list.length === 0);
  if (empty.length > 0) {
    return empty.flatMap(([name]) => families.map((family) => keyOf(name, family)));
  }
  return families.flatMap((family) => {
    const has = (list: readonly Cidr[]) => list.some((cidr) => cidr.family === family);
    if (has(networks) === has(subnets)) return [];
    return [keyOf(has(networks) ? "SUBNET" : "NETWORK", family)];
  });
}

function keyOf(name: string, family: Family): string {
  return `FLANNEL_${family === 6 ? "IPV6_" : ""}${name}`;
}

function distinct(cidrs: readonly Cidr[]): Cidr[] {
  return [...new Map(cidrs.map((cidr) => [formatCidr(cidr), cidr])).values()];
}

/** What belongs to the network and not to the plugin. */
export interface NetworkKeys {
  readonly name: string;
  readonly cniVersion?: string;
}

/**
 * The delegate's configuration, keys that it already has kept. Without flanneld's
 * file it is good for a removal.
 */
export function delegateConf(
  { delegate, ipam, runtimeConfig }: Conf,
  { name, cniVersion, env }: NetworkKeys & { readonly env: SubnetEnv | undefined },
): JsonObject & { readonly type: string } {
  const type = typeof delegate["type"] === "string" ? delegate["type"] : "bridge";
  return {
    ...(env && { ipMasq: !env.ipMasq, mtu: env.mtu }),
    ...(type === "bridge" && { isGateway: true }),
    ...delegate,
    name,
    type,
    ...(cniVersion !== undefined && { cniVersion }),
    ...(runtimeConfig && { runtimeConfig }),
    ipam: { type: "host-local", ...(env ? addressed(ipam, env) : ipam) },
  };
}

/** Keys by which a configuration names one range without `ranges`, in lower case. */
const rangeKeys = ["subnet", "rangestart", "rangeend", "gateway"];

/** flannel's ranges in place of any other, and its networks after the configured routes. */
function addressed(ipam: JsonObject, { subnets, networks }: SubnetEnv): JsonObject {
  const kept = Object.entries(ipam).filter(([key]) => !rangeKeys.includes(key.toLowerCase()));
  const routes = Array.isArray(ipam["routes"]) ? ipam["routes"] : [];
  const own = networks.map((cidr): Route => ({ dst: formatCidr(cidr) }));
  return {
    ...Object.fromEntries(kept),
    ranges: subnets.map((cidr) => [{ subnet: formatCidr(cidr) }]),
    routes: [...routes, ...own.map((route) => ({ ...route }))],
  };
}
