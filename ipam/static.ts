/**
 * static: gives the addresses, routes and name servers that the configuration or
 * the arguments name. It keeps no state, so nothing stops two attachments from
 * having the same address.
 *
 * Owns: nothing. Runs: nothing.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "net", "type": "bridge",
 *   "ipam": { "type": "static", "addresses": [{ "address": "10.10.0.1/24" }] }
 * }
 * ```
 *
 * @module
 */
import type { Decoder, Infer } from "../cni/decode.ts";
import type { Request } from "../cni/plugin.ts";
import type { Dns, IpConfig, Result, Route } from "../cni/types.ts";
import { parseCniArgs } from "../cni/args.ts";
import {
  formatIssue,
  list,
  map,
  object,
  optional,
  refine,
  required,
  string,
  withDefault,
} from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { addressCountIssues, dnsDecoder, ipOrEmpty, routeDecoder } from "../cni/sections.ts";
import { serve } from "../cni/serve.ts";
import { contains, formatCidr, formatIp, parseCidr, parseIp, sameIp } from "../host/ip.ts";

/** static's configuration, defaults filled in. */
export interface Conf {
  /** From `ipam.addresses`; nothing when a list of higher rank replaces them. */
  readonly addresses: readonly IpConfig[];
  /** From `runtimeConfig.ips` or else `args.cni.ips`: in place of all others. */
  readonly instead: readonly IpConfig[];
  readonly routes: readonly Route[];
  readonly dns: Dns;
}

const ips = withDefault(
  list(string()),
  [],
  "Addresses (`10.10.0.1/24`) in place of all others, without gateways.",
  "empty",
);

const ipam = object({
  addresses: withDefault(
    list(object({
      address: required(string(), "Address and prefix length, `10.10.0.1/24`."),
      gateway: optional(ipOrEmpty(), "Gateway to report with the address."),
    })),
    [],
    "Addresses to give.",
    "empty",
  ),
  routes: withDefault(list(routeDecoder), [], "Routes to report; equal ones are kept.", "empty"),
  dns: withDefault(dnsDecoder, {}, "Name resolution to report.", "empty"),
});

const shape = object({
  ipam: optional(ipam, "The section of this plugin."),
  args: optional(object({ cni: optional(object({ ips }), "Arguments.") }), "Metadata for plugins."),
  runtimeConfig: optional(object({ ips }), "Capability `ips`; it outranks `args`."),
});

type Shape = Infer<typeof shape>;

/** The static plugin. */
export const plugin = definePlugin<Conf>({
  type: "static",
  about: "gives the configured addresses",
  needs: "nothing",
  permissions: { run: [], read: [], write: [] },
  conf: map(refine(shape, checkShape), toConf) satisfies Decoder<Conf>,
  ipam: { needsInterface: false, releaseFirst: false, needsBroadcast: false },
  add,
  check,
  del: () => Promise.resolve(),
  gc: () => Promise.resolve(),
  status: () => Promise.resolve(),
});

/** Addresses that a list of higher rank replaces may be anything, as in the reference. */
function checkShape(value: Shape, report: (path: string, message: string) => void): void {
  if (!value.ipam) return report("", "IPAM config missing 'ipam' key");
  const lists = {
    "runtimeConfig.ips": value.runtimeConfig?.ips,
    "args.cni.ips": value.args?.cni?.ips,
  };
  for (const [path, texts] of Object.entries(lists)) {
    for (const [i, text] of texts?.entries() ?? []) {
      if (!parseCidr(text)) {
        report(`${path}[${i}]`, notCidr("an entry in the 'ips' field is NOT", text));
      }
    }
  }
  if (insteadOf(value).length > 0) return;
  for (const [i, { address }] of value.ipam.addresses.entries()) {
    const path = `ipam.addresses[${i}].address`;
    if (!parseCidr(address)) {
      report(path, notCidr("the 'address' field is expected to be", address));
    }
  }
}

function notCidr(start: string, text: string): string {
  return `${start} in CIDR notation, got: '${text}'`;
}

function insteadOf({ runtimeConfig, args }: Shape): readonly string[] {
  return runtimeConfig?.ips.length ? runtimeConfig.ips : args?.cni?.ips ?? [];
}

function toConf(value: Shape): Conf {
  const instead = insteadOf(value).flatMap((text) => addressOf(text));
  const addresses = value.ipam?.addresses ?? [];
  return {
    instead,
    addresses: instead.length > 0
      ? []
      : addresses.flatMap(({ address, gateway }) => addressOf(address, gateway)),
    routes: value.ipam?.routes ?? [],
    dns: value.ipam?.dns ?? {},
  };
}

/** Nothing when the text is no address, which has been reported. */
function addressOf(text: string, gateway?: string): IpConfig[] {
  const cidr = parseCidr(text);
  return cidr ? [{ address: formatCidr(cidr), ...(gateway !== undefined && { gateway }) }] : [];
}

function add(req: Request<Conf>): Promise<Result> {
  const { routes, dns } = req.conf;
  return Promise.resolve({ interfaces: [], ips: addresses(req), routes: [...routes], dns });
}

function check(req: Request<Conf>): Promise<void> {
  if (!req.prevResult) {
    throw new CniError(codes.invalidNetworkConfig, "Required prevResult missing");
  }
  const problems = problemsOf(addresses(req), req.prevResult.ips);
  if (problems.length === 0) return Promise.resolve();
  throw new CniError(
    codes.checkFailed,
    `Cannot find what static gave to interface "${req.ifName}": ${problems.join("; ")}`,
  );
}

function problemsOf(given: readonly IpConfig[], reported: readonly IpConfig[]): string[] {
  return given.flatMap(({ address, gateway }) => {
    const ip = parseCidr(address)!;
    const found = reported.find((one) => sameIp(parseCidr(one.address)!, ip));
    if (!found) return [`the result of ADD has no address ${formatIp(ip)}`];
    if (gateway === undefined || gateway === found.gateway) return [];
    return [`gateway of ${formatIp(ip)} is ${found.gateway ?? "not set"} instead of ${gateway}`];
  });
}

/**
 * The addresses by rank, the highest last: `ipam.addresses` and those of
 * `CNI_ARGS` after them, `args.cni.ips` in place of both, `runtimeConfig.ips` in
 * place of all. Throws codes 4 and 7.
 */
function addresses({ conf, args, cniVersion }: Request<Conf>): IpConfig[] {
  const inArgs = addressesInArgs(args);
  const chosen = conf.instead.length > 0 ? conf.instead : [...conf.addresses, ...inArgs];
  const families = chosen.map(({ address }) => parseCidr(address)!.family);
  const issues = addressCountIssues(families, cniVersion);
  if (issues.length === 0) return [...chosen];
  throw new CniError(
    codes.invalidNetworkConfig,
    `Cannot use network configuration: ${
      issues.map((message) => formatIssue({ path: "ipam", message })).join("; ")
    }`,
  );
}

/** `IP` and `GATEWAY`, both lists; a gateway belongs to every address whose subnet it lies in. */
function addressesInArgs(args: string): IpConfig[] {
  const { IP = "", GATEWAY = "" } = parseCniArgs(args, ["IP", "GATEWAY"]);
  const gateways = split(GATEWAY).map((text) =>
    parseIp(text) ?? invalidArgs(`invalid gateway address: ${text}`)
  );
  return split(IP).map((text) => {
    const cidr = parseCidr(text) ?? invalidArgs(notCidr("the 'ip' field is expected to be", text));
    const gateway = gateways.findLast((ip) => contains(cidr, ip));
    return { address: formatCidr(cidr), ...(gateway && { gateway: formatIp(gateway) }) };
  });
}

function split(text: string): string[] {
  return text === "" ? [] : text.split(",").map((part) => part.trim());
}

function invalidArgs(problem: string): never {
  throw new CniError(codes.invalidEnvironment, `Cannot use CNI_ARGS: ${problem}`);
}

if (import.meta.main) await serve(plugin);
