/**
 * What a client says of itself to the servers of either family: the same for an attachment each time.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { Family } from "../../../host/ip.ts";
import type { Options4 } from "../codec/message4.ts";
import type { Conf } from "./conf.ts";
import { machineId } from "../../../host/machine_id.ts";
import { option6 } from "../codec/options6.ts";
import { clientIdentifier, parameterRequestList, providedOptions } from "./client_options.ts";
import { clientIdentity6 } from "./duid.ts";

/** Settings of a DHCPv4 client. */
export interface ClientSettings4 {
  /** Value of option 61. */
  readonly clientId: Uint8Array;
  /** Codes of option 55. */
  readonly requested: readonly number[];
  /** Further options. */
  readonly provided: Options4;
  /** Wants broadcast answers. */
  readonly broadcast: boolean;
  /** Metric of every route; 0 leaves it to the kernel. */
  readonly priority: number;
}

/** Settings of a DHCPv6 client. */
export interface ClientSettings6 {
  /** Value of option 1. */
  readonly duid: Uint8Array;
  /** Identifier of its IA_NA; 32 bits. */
  readonly iaid: number;
  /** Codes of option 6. */
  readonly requested: readonly number[];
}

/** Whose client it is. */
export interface ClientContext {
  readonly attachment: AttachmentKey;
  /** `CNI_ARGS` */
  readonly args: string;
  /** Wants broadcast answers of DHCPv4 servers. */
  readonly broadcast: boolean;
}

/** Makes the settings of a family's client. Throws a `CniError` of code 7. */
export async function clientSettings(
  conf: Conf,
  { family, ...context }: ClientContext & { readonly family: Family },
): Promise<ClientSettings4 | ClientSettings6> {
  return family === 4 ? clientSettings4(conf, context) : await clientSettings6(context);
}

/** Makes the settings of a DHCPv4 client. Throws a `CniError` of code 7. */
export function clientSettings4(
  { provide, request, priority }: Conf,
  { attachment, args, broadcast }: ClientContext,
): ClientSettings4 {
  const { containerId, network, ifName } = attachment;
  return {
    clientId: clientIdentifier(`${containerId}/${network}/${ifName}`),
    requested: parameterRequestList(request),
    provided: providedOptions(provide, args),
    broadcast,
    priority,
  };
}

/** The reference has no DHCPv6 to follow: the client always requests what a result can hold. */
async function clientSettings6(
  { attachment }: Pick<ClientContext, "attachment">,
): Promise<ClientSettings6> {
  return {
    ...await clientIdentity6(attachment, { host: machineId() }),
    requested: [option6.nameServers.code, option6.searchList.code],
  };
}
