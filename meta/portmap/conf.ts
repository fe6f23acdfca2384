/**
 * portmap's configuration: decoders, and what cannot be combined.
 *
 * @module
 */
import type { Decoder, Infer } from "../../cni/decode.ts";
import {
  boolean,
  expected,
  integer,
  list,
  map,
  object,
  optional,
  refine,
  required,
  scalar,
  string,
  stringThat,
  withDefault,
} from "../../cni/decode.ts";
import { CniError, codes } from "../../cni/error.ts";
import type { Family, Ip } from "../../host/ip.ts";
import { formatIp, parseIp } from "../../host/ip.ts";
import type { Backend } from "../../recipes/backend.ts";
import { backendDecoder } from "../../recipes/backend.ts";

/** Transport protocols that have ports to map. */
export const protocols = ["sctp", "tcp", "udp"] as const;

/** A transport protocol. */
export type Protocol = typeof protocols[number];

/** A range of ports, both ends included; a single port has equal ends. */
export interface Ports {
  readonly first: number;
  readonly last: number;
}

/** A port of the host, or a range of them, and the ports of the container behind it. */
export interface Mapping {
  readonly protocol: Protocol;
  readonly host: Ports;
  /** As many ports as the host's. */
  readonly container: Ports;
  /** Address of the host; absent: any. `0.0.0.0` and `::` mean any of their family. */
  readonly hostIp?: Ip;
}

const lastPort = 65535;

/** A port or `first-last`. The message for a wrong number is the reference's. */
function portsDecoder(what: "host" | "container"): Decoder<Ports> {
  const expects = "port 1–65535 or range of ports";
  return {
    expects,
    decode(value, path, issues) {
      const ports = readPorts(value);
      if (ports && ports.first >= 1 && ports.first <= ports.last && ports.last <= lastPort) {
        return ports;
      }
      const message = ports
        ? `Invalid ${what} port number: ${formatPorts(ports)}`
        : expected(expects, value);
      issues.push({ path, message });
      return undefined;
    },
  };
}

function readPorts(value: unknown): Ports | undefined {
  if (typeof value === "number" && Number.isInteger(value)) return { first: value, last: value };
  const range = typeof value === "string" ? /^(\d{1,5})-(\d{1,5})$/.exec(value) : null;
  return range ? { first: Number(range[1]), last: Number(range[2]) } : undefined;
}

/** `8080` or `30000-31000`, with the sign that a command wants between the ends. */
export function formatPorts({ first, last }: Ports, sign = "-"): string {
  return first === last ? String(first) : `${first}${sign}${last}`;
}

/** `8080/tcp`, `30000-31000/udp on 192.0.2.1` */
export function formatMapping({ host, protocol, hostIp }: Mapping): string {
  const address = hostIp && hostIp.bits !== 0n ? ` on ${formatIp(hostIp)}` : "";
  return `${formatPorts(host)}/${protocol}${address}`;
}

/** `map host port 8080/tcp to 10.0.0.2` */
export function describeMappings(all: readonly Mapping[], target: Ip): string {
  const own = mappingsOf(all, target.family).map(formatMapping).join(", ");
  return `map host port ${own} to ${formatIp(target)}`;
}

const protocolDecoder = scalar<Protocol>(
  protocols.map((word) => `"${word}"`).join(" or "),
  (value) => protocols.find((word) => word === String(value).toLowerCase()),
);

const hostIpDecoder: Decoder<Ip> = {
  expects: "IP address",
  decode(value, path, issues) {
    if (value === "") return undefined;
    const ip = typeof value === "string" ? parseIp(value) : undefined;
    if (!ip) issues.push({ path, message: expected(this.expects, value) });
    return ip;
  },
};

const rawMapping = refine(
  object({
    hostPort: required(portsDecoder("host"), "Port of the host, or a range `30000-31000`."),
    containerPort: required(
      portsDecoder("container"),
      "Port of the container; for a range its first port, or a range as long.",
    ),
    protocol: withDefault(protocolDecoder, "tcp", "Transport protocol, in any letter case."),
    hostIP: optional(hostIpDecoder, "Address of the host; `0.0.0.0` or `::` for all of a family."),
  }),
  ({ hostPort, containerPort }, report) => {
    const { first, last } = containerRange(hostPort, containerPort);
    const alone = containerPort.first === containerPort.last;
    if (!alone && last !== containerPort.last) {
      report(
        "containerPort",
        `expected as many ports as hostPort (${formatPorts(hostPort)}) but received ${
          formatPorts(containerPort)
        }`,
      );
    } else if (last > lastPort) {
      report("containerPort", `Invalid container port number: ${formatPorts({ first, last })}`);
    }
  },
);

function containerRange(host: Ports, container: Ports): Ports {
  return { first: container.first, last: container.first + host.last - host.first };
}

const mapping: Decoder<Mapping> = map(
  rawMapping,
  ({ hostPort, containerPort, protocol, hostIP }) => ({
    protocol,
    host: hostPort,
    container: containerRange(hostPort, containerPort),
    ...(hostIP && { hostIp: hostIP }),
  }),
);

/** All mappings. It refuses two of one host port. */
const mappings = refine(list(mapping), (all, report) => {
  all.forEach((one, index) => {
    const twin = all.slice(0, index).findIndex((other) => collide(one, other));
    if (twin < 0) return;
    report(`[${index}]`, `host port ${formatMapping(one)} is mapped by [${twin}] already`);
  });
});

/** Whether two mappings want the same port of the same address. */
export function collide(a: Mapping, b: Mapping): boolean {
  return portsOverlap(a, b) && ([4, 6] as const).some((family) => {
    const [x, y] = [hostKey(a, family), hostKey(b, family)];
    return x !== undefined && x === y;
  });
}

/** Whether two mappings have a port and the protocol in common. */
export function portsOverlap(a: Mapping, b: Mapping): boolean {
  return a.protocol === b.protocol && a.host.first <= b.host.last && b.host.first <= a.host.last;
}

/** `any` or the host's address, in a family that a mapping is for. */
export function hostKey({ hostIp }: Mapping, family: Family): string | undefined {
  if (!hostIp) return "any";
  if (hostIp.family !== family) return undefined;
  return hostIp.bits === 0n ? "any" : formatIp(hostIp);
}

/** Whether a mapping names one address of the host. */
export function hasHostAddress({ hostIp }: Mapping): boolean {
  return hostIp !== undefined && hostIp.bits !== 0n;
}

/** The mappings that are for a family. */
export function mappingsOf(all: readonly Mapping[], family: Family): Mapping[] {
  return all.filter((one) => hostKey(one, family) !== undefined);
}

const conditions = list(string());

/** The whole configuration. */
export const conf = refine(
  object({
    backend: optional(
      backendDecoder((name) => `unrecognized backend "${name}"`),
      "Program that writes the rules; nftables where iptables is missing when absent.",
    ),
    snat: withDefault(
      boolean(),
      true,
      "Masquerade what the container and its subnet send to a mapped port, and `127.0.0.1`.",
    ),
    masqAll: withDefault(boolean(), false, "Masquerade whatever comes through a mapped port."),
    markMasqBit: optional(
      integer({ min: 0, max: 31, message: () => "MasqMarkBit must be between 0 and 31" }),
      "Bit of the packet mark that asks for masquerade; 13 when absent. iptables only.",
    ),
    externalSetMarkChain: optional(
      stringThat("name of a chain", (name) => /^[^\s"'\\!-][^\s"'\\]{0,27}$/.test(name)),
      "Chain that marks packets for masquerade, made by others. iptables only.",
    ),
    conditionsV4: optional(conditions, "Further matches for IPv4, in words of the back end."),
    conditionsV6: optional(conditions, "Further matches for IPv6, in words of the back end."),
    runtimeConfig: withDefault(
      object({ portMappings: withDefault(mappings, [], "Ports to map.") }),
      { portMappings: [] },
      "What the runtime gives for the capability `portMappings`.",
      "none",
    ),
  }),
  (value, report) => {
    if (value.externalSetMarkChain !== undefined && value.markMasqBit !== undefined) {
      report("", "Cannot specify externalSetMarkChain and markMasqBit");
    }
    const mixed = value.backend && foreignOptions(value, value.backend);
    if (mixed) report("", mixed);
  },
);

/** The configuration, decoded. */
export type Conf = Infer<typeof conf>;

/** Matches that the configuration adds for a family; none where the list starts with an empty word. */
export function conditionsOf(value: Conf, family: Family): readonly string[] {
  const words = family === 4 ? value.conditionsV4 : value.conditionsV6;
  return words?.[0] ? words : [];
}

/** The reference's message for options of the other back end. */
function foreignOptions(value: Conf, backend: Backend): string | undefined {
  const other = backend === "iptables" ? "nftables" : "iptables";
  const styleOf = (words: readonly string[]) =>
    words.length === 0 ? undefined : /^[-!]/.test(words[0]!) ? "iptables" : "nftables";
  const options = [
    ...(other === "iptables" && value.externalSetMarkChain ? ["externalSetMarkChain"] : []),
    ...(styleOf(conditionsOf(value, 4)) === other ? ["conditionsV4"] : []),
    ...(styleOf(conditionsOf(value, 6)) === other ? ["conditionsV6"] : []),
  ];
  if (options.length === 0) return undefined;
  return `${backend} backend was requested but configuration contains ${other}-specific options [${
    options.join(" ")
  }]`;
}

/** Throws code 7 for options that a back end does not understand. */
export function requireOptionsFor(backend: Backend, value: Conf): void {
  const mixed = foreignOptions(value, backend);
  if (mixed) {
    throw new CniError(
      codes.invalidNetworkConfig,
      `Cannot use network configuration: ${mixed}`,
    );
  }
}
