/**
 * host-local's configuration.
 *
 * @module
 */
import type { Decoder, Infer } from "../../cni/decode.ts";
import {
  boolean,
  integer,
  list,
  map,
  object,
  oneOf,
  optional,
  refine,
  string,
  stringThat,
  withDefault,
} from "../../cni/decode.ts";
import { routeDecoder } from "../../cni/sections.ts";
import type { Route } from "../../cni/types.ts";
import type { Ip } from "../../host/ip.ts";
import type { Interval, RangeSet } from "./range.ts";
import {
  checkRange,
  intervalDecoder,
  legacyKeys,
  rangeSetsDecoder,
  requestDecoder,
  setIssues,
  toRange,
} from "./range.ts";

/** Where reservations are kept unless the configuration says otherwise. */
const defaultDataDir = "/var/lib/cni/networks";
const defaultLockTimeout = 10_000;

/** host-local's configuration, defaults filled in. */
export interface Conf {
  /** One address is handed out from each set. */
  readonly sets: readonly RangeSet[];
  readonly exclude: readonly Interval[];
  /** Addresses asked for by `args.cni.ips`, then by the `ips` capability. */
  readonly requests: readonly Ip[];
  readonly routes: readonly Route[];
  readonly dataDir: string;
  /** Path of a `resolv.conf` to report as `dns`. */
  readonly resolvConf: string | undefined;
  readonly onDuplicate: "reuse" | "error";
  readonly keepAcrossReboot: boolean;
  /** Milliseconds to wait for the lock. */
  readonly lockTimeout: number;
}

const absolutePath = stringThat(
  "absolute path",
  // deno-lint-ignore no-control-regex
  (text) => /^\/[^\0-\x1f]*$/.test(text),
);

const ipam = object({
  ranges: withDefault(
    rangeSetsDecoder,
    [],
    "Range sets: one address is handed out from each, from the first of its ranges that has one.",
    "empty",
  ),
  ...legacyKeys,
  routes: withDefault(list(routeDecoder), [], "Routes to report.", "empty"),
  resolvConf: optional(string(), "Path of a `resolv.conf` whose content is reported as `dns`."),
  dataDir: withDefault(
    absolutePath,
    defaultDataDir,
    "Directory that holds a directory of reservation files for each network.",
  ),
  exclude: withDefault(
    list(intervalDecoder),
    [],
    "Addresses (`10.1.2.7`), subnets (`10.1.2.64/26`) and spans (`10.1.2.10-10.1.2.20`) that are handed out only to a request that names one.",
    "empty",
  ),
  onDuplicate: withDefault(
    oneOf(["reuse", "error"]),
    "reuse",
    "When a container and interface that hold addresses ask again: give the same ones, or fail as the reference does.",
  ),
  keepAcrossReboot: withDefault(
    boolean(),
    false,
    "Reservations made before the host was booted stay.",
  ),
  lockTimeout: withDefault(
    integer({ min: 1, max: 3_600_000 }),
    defaultLockTimeout,
    "Milliseconds to wait for other processes that work on the network's reservations.",
  ),
});

const requests = withDefault(
  list(requestDecoder),
  [],
  "Addresses asked for; a prefix length is ignored.",
  "empty",
);

const shape = object({
  cniVersion: withDefault(string(), "0.1.0", "Version of the specification."),
  ipam: optional(ipam, "The section of this plugin."),
  runtimeConfig: optional(
    object({
      ipRanges: withDefault(
        rangeSetsDecoder,
        [],
        "Capability `ipRanges`: range sets that come before those of `ipam`.",
        "empty",
      ),
      ips: requests,
    }),
    "Capabilities.",
  ),
  args: optional(
    object({ cni: optional(object({ ips: requests }), "Arguments.") }),
    "Metadata for plugins.",
  ),
});

type Shape = Infer<typeof shape>;

/** Decodes the request configuration. A removal needs `dataDir` only, and gets it in spite of issues. */
export const confDecoder: Decoder<Conf> = map(refine(shape, check), toConf);

function check(value: Shape, report: (path: string, message: string) => void): void {
  if (!value.ipam) return report("", "IPAM config missing 'ipam' key");
  const { subnet, ...bounds } = value.ipam;
  if (subnet) checkRange({ ...bounds, subnet }, (key, message) => report(`ipam.${key}`, message));
  for (const issue of setIssues(setsOf(value), value.cniVersion)) report("ipam", issue);
}

function toConf(value: Shape): Conf {
  const { ipam, args, runtimeConfig } = value;
  return {
    sets: setsOf(value),
    exclude: ipam?.exclude ?? [],
    requests: [...args?.cni?.ips ?? [], ...runtimeConfig?.ips ?? []],
    routes: ipam?.routes ?? [],
    dataDir: ipam?.dataDir ?? defaultDataDir,
    resolvConf: ipam?.resolvConf || undefined,
    onDuplicate: ipam?.onDuplicate ?? "reuse",
    keepAcrossReboot: ipam?.keepAcrossReboot ?? false,
    lockTimeout: ipam?.lockTimeout ?? defaultLockTimeout,
  };
}

/** The capability's sets come first, then the legacy range, then `ranges`. */
function setsOf({ runtimeConfig, ipam }: Shape): RangeSet[] {
  const { subnet, rangeStart, rangeEnd, gateway } = ipam ?? {};
  return [
    ...runtimeConfig?.ipRanges ?? [],
    ...subnet ? [[toRange({ subnet, rangeStart, rangeEnd, gateway })]] : [],
    ...ipam?.ranges ?? [],
  ];
}
