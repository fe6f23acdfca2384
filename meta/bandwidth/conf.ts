/**
 * bandwidth's configuration: decoders, which of its two places counts, and what
 * of a rate and a burst cannot be.
 *
 * @module
 */
import type { Decoder, Infer } from "../../cni/decode.ts";
import {
  expected,
  integer,
  list,
  object,
  oneOf,
  optional,
  refine,
  withDefault,
} from "../../cni/decode.ts";
import type { Cidr } from "../../host/ip.ts";
import { parseCidr } from "../../host/ip.ts";

const subnet: Decoder<Cidr> = {
  expects: "IP address with prefix length",
  decode(value, path, issues) {
    const cidr = typeof value === "string" ? parseCidr(value) : undefined;
    if (cidr) return cidr;
    const message = typeof value === "string"
      ? `bad subnet "${value}" provided, details invalid CIDR address: ${value}`
      : expected(this.expects, value);
    issues.push({ path, message });
    return undefined;
  },
};

const number = integer({ min: 0 });

const settings = {
  ingressRate: optional(number, "Bits a second to the container, 8 or more; no limit when 0."),
  ingressBurst: optional(number, "Bits to the container that may go at once; see below when 0."),
  egressRate: optional(number, "Bits a second from the container, 8 or more; no limit when 0."),
  egressBurst: optional(number, "Bits from the container that may go at once; see below when 0."),
  shapedSubnets: optional(list(subnet), "Shape what goes to and comes from these alone."),
  unshapedSubnets: optional(
    list(subnet),
    "Shape everything but what goes to and comes from these.",
  ),
};

const settingsDecoder = object(settings);

/** Rates, bursts and subnets as they are configured. */
export type BandwidthSettings = Infer<typeof settingsDecoder>;

/** Policies for a burst that is missing or a placeholder: a default in its place, or as the reference takes it. */
export const burstPolicies = ["sane", "reference"] as const;

/** What packets wait in. */
export const queues = ["fifo", "fq_codel"] as const;

const options = object({
  ...settings,
  burstPolicy: withDefault(
    oneOf(burstPolicies),
    "sane",
    "Whether a burst that is missing or a placeholder gets a default, or is taken as it is.",
  ),
  latency: withDefault(
    integer({ min: 1, max: 10_000 }),
    25,
    "Milliseconds that a packet waits at most once the burst is used up.",
  ),
  queue: withDefault(
    oneOf(queues),
    "fifo",
    "What packets wait in: one line, or one for each flow, with `fq_codel`.",
  ),
  runtimeConfig: withDefault(
    object({ bandwidth: optional(settingsDecoder, "Rates, bursts and subnets, as above.") }),
    { bandwidth: undefined },
    "What the runtime gives for the capability `bandwidth`.",
    "none",
  ),
});

type Options = Infer<typeof options>;

/** The configuration. */
export const conf: Decoder<Options> = refine(options, (value, report) => {
  const { at, settings } = chosen(value);
  for (const direction of ["ingress", "egress"] as const) {
    for (const [key, message] of problemsOf(settings, { direction, policy: value.burstPolicy })) {
      report(`${at}${key}`, message);
    }
  }
  if (settings.shapedSubnets?.length && settings.unshapedSubnets?.length) {
    report(
      at.slice(0, -1),
      "unshapedSubnets and shapedSubnets cannot be both specified, one of them should be discarded",
    );
  }
});

/** The configuration, decoded. */
export type Conf = Options;

/** A key at the top level, even with the value 0, overrides everything that the runtime gives. */
function chosen(value: Options): { readonly at: string; readonly settings: BandwidthSettings } {
  const keys = Object.keys(settings) as (keyof BandwidthSettings)[];
  const { bandwidth } = value.runtimeConfig;
  return !bandwidth || keys.some((key) => value[key] !== undefined)
    ? { at: "", settings: value }
    : { at: "runtimeConfig.bandwidth.", settings: bandwidth };
}

/** Bits of a whole byte. */
const fewestBits = 8;

/** The kernel counts a bucket's bytes in 32 bits. */
export const maxBytes = 2 ** 32 - 1;

function problemsOf(
  settings: BandwidthSettings,
  { direction, policy }: { direction: "ingress" | "egress"; policy: Options["burstPolicy"] },
): [key: string, message: string][] {
  const { [`${direction}Rate` as const]: rate = 0, [`${direction}Burst` as const]: burst = 0 } =
    settings;
  const [rateKey, burstKey] = [`${direction}Rate`, `${direction}Burst`];
  if (rate > 0 && burst === 0 && policy === "reference") {
    return [[burstKey, "if rate is set, burst must also be set"]];
  }
  if (burst > 0 && rate === 0) return [[rateKey, "if burst is set, rate must also be set"]];
  if (Math.floor(burst / 8) >= maxBytes) return [[burstKey, "burst cannot be more than 4GB"]];
  return ([[rateKey, rate], [burstKey, burst]] as const)
    .filter(([, bits]) => bits > 0 && bits < fewestBits)
    .map(([key, bits]) => [key, expected(`at least ${fewestBits} bits`, bits)]);
}

/** The limit of one direction. */
export interface Bucket {
  /** Bytes a second. */
  readonly rate: number;
  /** Bytes; absent where a default is wanted. */
  readonly burst: number | undefined;
}

/** The limits of both directions, and how packets wait. */
export interface Limits extends Pick<Conf, "latency" | "queue"> {
  /** What goes to the container. */
  readonly to: Bucket | undefined;
  /** What comes from it. */
  readonly from: Bucket | undefined;
  /** Absent: all of it. */
  readonly subnets: Subnets | undefined;
}

/** Remote networks for which there is, or is not, a limit. */
export interface Subnets {
  readonly shaped: boolean;
  readonly list: readonly Cidr[];
}

/** The limits that the configuration asks for. */
export function requestedLimits(value: Conf): Limits {
  const { settings } = chosen(value);
  const { ingressRate, ingressBurst, egressRate, egressBurst } = settings;
  const policy = value.burstPolicy;
  return {
    to: bucketOf(ingressRate, { burst: ingressBurst, policy }),
    from: bucketOf(egressRate, { burst: egressBurst, policy }),
    subnets: subnetsOf(settings),
    latency: value.latency,
    queue: value.queue,
  };
}

/** The burst in bits that Kubernetes gives where nobody named one: it would let 256 MiB pass at once. */
const placeholder = 2 ** 31 - 1;

function bucketOf(
  rate = 0,
  { burst = 0, policy }: { burst: number | undefined; policy: Options["burstPolicy"] },
): Bucket | undefined {
  if (rate === 0) return undefined;
  const isNone = burst === 0 || policy === "sane" && burst >= placeholder;
  return {
    rate: Math.floor(rate / 8),
    burst: isNone ? undefined : Math.floor(burst / 8),
  };
}

function subnetsOf(
  { shapedSubnets = [], unshapedSubnets = [] }: BandwidthSettings,
): Subnets | undefined {
  if (shapedSubnets.length > 0) return { shaped: true, list: shapedSubnets };
  return unshapedSubnets.length > 0 ? { shaped: false, list: unshapedSubnets } : undefined;
}

/** Whether anything is to be shaped. */
export function hasLimits({ to, from }: Limits): boolean {
  return to !== undefined || from !== undefined;
}

/** A line for each burst of the configuration that a default replaces. */
export function replacedBursts(value: Conf): string[] {
  if (value.burstPolicy !== "sane") return [];
  const { settings } = chosen(value);
  return (["ingressBurst", "egressBurst"] as const)
    .filter((key) => (settings[key] ?? 0) >= placeholder)
    .map((key) => `${key} ${settings[key]} is a placeholder: replaced by the default`);
}
