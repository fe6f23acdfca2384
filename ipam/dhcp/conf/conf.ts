/**
 * The configuration of dhcp.
 *
 * @module
 */
import type { Decoder, Infer } from "../../../cni/decode.ts";
import type { Family } from "../../../host/ip.ts";
import type { ProvideEntry, RequestEntry } from "./client_options.ts";
import {
  boolean,
  integer,
  list,
  map,
  object,
  oneOf,
  optional,
  refine,
  required,
  stringThat,
  withDefault,
} from "../../../cni/decode.ts";
import { failureOf } from "../../../host/files.ts";
import { parameterRequestList, providedOptions } from "./client_options.ts";

/** The configuration of dhcp, with its defaults. */
export interface Conf {
  /** Socket of the agent, as the plugin reaches it. */
  readonly socket: string;
  readonly ipv4: "dhcp" | "none";
  readonly ipv6: "none" | "dhcp" | "slaac";
  readonly provide: readonly ProvideEntry[];
  readonly request: readonly RequestEntry[];
  /** Metric of every route; 0 leaves it to the kernel. */
  readonly priority: number;
  /** The plugin asks servers itself, and nobody renews the lease. */
  readonly oneShot: boolean;
  /** Milliseconds for the whole of ADD, CHECK or DEL. */
  readonly timeout: number;
}

/** Socket of the agent where the configuration names none. */
export const defaultSocket = "/run/cni/dhcp.sock";

/** Milliseconds. Runtimes give up after two minutes or more, a delegating plugin after 100 s. */
const defaultTimeout = 90_000;

const anyText = stringThat("string", () => true);

const absolutePath = stringThat("absolute path", (text) => /^\/[^\0]*$/.test(text));

const ipam = object({
  daemonSocketPath: withDefault(
    absolutePath,
    defaultSocket,
    "Socket of the lease agent, used as it stands.",
  ),
  ipv4: withDefault(
    oneOf(["dhcp", "none"]),
    "dhcp",
    "Where an IPv4 address comes from; `none` for no IPv4.",
  ),
  ipv6: withDefault(
    oneOf(["none", "dhcp", "slaac"]),
    "none",
    "Where an IPv6 address comes from: `dhcp` for DHCPv6, `slaac` for what routers advertise.",
  ),
  provide: withDefault(
    list(object({
      option: required(anyText, "Name or number of an option to send."),
      value: optional(anyText, "Its value, sent as the bytes of the text; nothing when empty."),
      fromArg: optional(anyText, "Key of `CNI_ARGS` whose value is sent instead."),
    })),
    [],
    "Options to send to DHCPv4 servers.",
    "empty",
  ),
  request: withDefault(
    list(object({
      skipDefault: optional(boolean(), "Ask for what is listed and for nothing else."),
      option: optional(anyText, "Name or number of an option to ask for."),
    })),
    [],
    "Options to ask DHCPv4 servers for, before routers and subnet mask.",
    "empty",
  ),
  priority: withDefault(
    integer({ min: 0, max: 0xffff_ffff }),
    0,
    "Metric of every IPv4 route; 0 leaves it to the kernel.",
  ),
  oneShot: withDefault(
    boolean(),
    false,
    "Get the lease without an agent: nobody renews it. For containers that live shorter.",
  ),
  timeout: withDefault(
    integer({ min: 1000, max: 3_600_000 }),
    defaultTimeout,
    "Milliseconds for a whole ADD; less than the runtime allows.",
  ),
});

const shape = object({ ipam: optional(ipam, "The section of this plugin.") });

type Shape = Infer<typeof shape>;

/** Reads the configuration. Without the section of this plugin, a removal gets the defaults. */
export const confDecoder: Decoder<Conf> = map(refine(shape, checkShape), toConf);

function checkShape({ ipam }: Shape, report: (path: string, message: string) => void): void {
  if (!ipam) return report("", "IPAM config missing 'ipam' key");
  if (ipam.ipv4 === "none" && ipam.ipv6 === "none") {
    report("ipam.ipv6", "expected dhcp or slaac where ipv4 is none: no address would be left");
  }
  for (const [index, entry] of ipam.provide.entries()) {
    const failure = failureOf(() => providedOptions([entry], ""));
    if (failure) report(`ipam.provide[${index}]`, failure.message);
  }
  const failure = failureOf(() => parameterRequestList(ipam.request));
  if (failure) report("ipam.request", failure.message);
}

function toConf({ ipam }: Shape): Conf {
  return {
    socket: ipam?.daemonSocketPath ?? defaultSocket,
    ipv4: ipam?.ipv4 ?? "dhcp",
    ipv6: ipam?.ipv6 ?? "none",
    provide: ipam?.provide ?? [],
    request: ipam?.request ?? [],
    priority: ipam?.priority ?? 0,
    oneShot: ipam?.oneShot ?? false,
    timeout: ipam?.timeout ?? defaultTimeout,
  };
}

/** Both families of addresses. */
export const families: readonly Family[] = [4, 6];

/** A family that DHCP servers are asked for. */
export interface DhcpFamily {
  readonly family: Family;
  /** Errors about it begin with this; empty where IPv4 is the only family. */
  readonly label: string;
}

/** Lists the families that DHCP servers are asked for. */
export function dhcpFamilies({ ipv4, ipv6 }: Pick<Conf, "ipv4" | "ipv6">): DhcpFamily[] {
  const label = ipv6 === "none" ? "" : "IPv4";
  return [
    ...(ipv4 === "dhcp" ? [{ family: 4, label } as const] : []),
    ...(ipv6 === "dhcp" ? [{ family: 6, label: "IPv6" } as const] : []),
  ];
}
