/**
 * dhcp's configuration.
 *
 * @module
 */
import type { Decoder, Infer } from "../../cni/decode.ts";
import type { Provided, Requested } from "./options.ts";
import type { Ask } from "./store.ts";
import type { Attachment } from "../../recipes/own.ts";
import {
  boolean,
  integer,
  list,
  map,
  object,
  optional,
  refine,
  required,
  stringThat,
  withDefault,
} from "../../cni/decode.ts";
import { failureOf } from "../../host/files.ts";
import { defaultSocket } from "./flags.ts";
import { clientIdentifier, parameterList, providedOptions } from "./options.ts";

/** dhcp's configuration, defaults filled in. */
export interface Conf {
  /** Socket of the agent, as the plugin reaches it. */
  readonly socket: string;
  readonly provide: readonly Provided[];
  readonly request: readonly Requested[];
  /** Metric of every route; 0 leaves it to the kernel. */
  readonly priority: number;
  /** The plugin asks servers itself, and nobody renews the lease. */
  readonly oneShot: boolean;
  /** Milliseconds for the whole of ADD, CHECK or DEL. */
  readonly timeout: number;
}

/** Runtimes give up after two minutes or more; whoever delegates to us after 100 s. */
const defaultTimeout = 90_000;

const anyText = stringThat("string", () => true);

const absolutePath = stringThat("absolute path", (text) => /^\/[^\0]*$/.test(text));

const ipam = object({
  daemonSocketPath: withDefault(
    absolutePath,
    defaultSocket,
    "Socket of the lease agent, used as it stands.",
  ),
  provide: withDefault(
    list(object({
      option: required(anyText, "Name or number of an option to send."),
      value: optional(anyText, "Its value, sent as the bytes of the text; nothing when empty."),
      fromArg: optional(anyText, "Key of `CNI_ARGS` whose value is sent instead."),
    })),
    [],
    "Options to send.",
    "empty",
  ),
  request: withDefault(
    list(object({
      skipDefault: optional(boolean(), "Ask for what is listed and for nothing else."),
      option: optional(anyText, "Name or number of an option to ask for."),
    })),
    [],
    "Options to ask for, before routers and subnet mask.",
    "empty",
  ),
  priority: withDefault(
    integer({ min: 0, max: 0xffff_ffff }),
    0,
    "Metric of every route; 0 leaves it to the kernel.",
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

/** Reads the configuration; what is missing of it has defaults for a removal. */
export const confDecoder: Decoder<Conf> = map(refine(shape, checkShape), toConf);

function checkShape({ ipam }: Shape, report: (path: string, message: string) => void): void {
  if (!ipam) return report("", "IPAM config missing 'ipam' key");
  for (const [index, entry] of ipam.provide.entries()) {
    const failure = failureOf(() => providedOptions([entry], ""));
    if (failure) report(`ipam.provide[${index}]`, failure.message);
  }
  const failure = failureOf(() => parameterList(ipam.request));
  if (failure) report("ipam.request", failure.message);
}

function toConf({ ipam }: Shape): Conf {
  return {
    socket: ipam?.daemonSocketPath ?? defaultSocket,
    provide: ipam?.provide ?? [],
    request: ipam?.request ?? [],
    priority: ipam?.priority ?? 0,
    oneShot: ipam?.oneShot ?? false,
    timeout: ipam?.timeout ?? defaultTimeout,
  };
}

/** What servers are asked for an attachment. Throws a `CniError` of code 7. */
export function askOf(
  { provide, request, priority }: Conf,
  { attachment, args, broadcast }: {
    readonly attachment: Attachment;
    /** `CNI_ARGS` */
    readonly args: string;
    readonly broadcast: boolean;
  },
): Ask {
  const { containerId, network, ifName } = attachment;
  return {
    clientId: clientIdentifier(`${containerId}/${network}/${ifName}`),
    requested: parameterList(request),
    provided: providedOptions(provide, args),
    broadcast,
    priority,
  };
}
