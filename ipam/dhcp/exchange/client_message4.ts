/**
 * The messages that a DHCPv4 client sends (RFC 2131 section 4.4.1, table 5).
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Message4, Options4 } from "../codec/message4.ts";
import type { Datagram } from "./exchange.ts";
import { bootRequest, broadcastFlag, encodeMessage4, unspecified } from "../codec/message4.ts";
import { writeOption } from "../codec/option_format.ts";
import { messageType4, option4 } from "../codec/options4.ts";

/** What an exchange is for. */
export type ExchangeGoal4 =
  /** A lease, of this address if the server agrees. */
  | { readonly kind: "acquire"; readonly address?: Ip | undefined }
  /** The lease of an address again, from any server that knows it; `reboot` is INIT-REBOOT. */
  | { readonly kind: "reboot" | "rebind"; readonly address: Ip }
  /** `renew` asks the server itself; `release` and `decline` expect no answer. */
  | { readonly kind: "renew" | "release" | "decline"; readonly address: Ip; readonly server: Ip };

/** What a client says of itself: the same in every exchange of an attachment. */
export interface Client4 {
  /** Hardware address of the interface. */
  readonly chaddr: Uint8Array;
  /** Value of option 61. */
  readonly clientId: Uint8Array;
  /** Codes of option 55. */
  readonly requested: readonly number[];
  /** Further options; a 61 or 57 among them replaces the client's own. */
  readonly provided: Options4;
  /** Wants broadcast answers even where the interface has its address. */
  readonly broadcast?: boolean | undefined;
}

/** An offer that was taken. */
export interface Offer4 {
  readonly address: Ip;
  readonly server: Ip;
}

/** What distinguishes the messages of one exchange. */
export interface MessageParts4 {
  readonly xid: number;
  /** Seconds since the exchange began. */
  readonly secs: number;
  /** The offer to request. */
  readonly offer?: Offer4 | undefined;
  /** Whether it is a DHCPDISCOVER. */
  readonly discover?: boolean | undefined;
}

/** The limited broadcast address. */
export const limitedBroadcast: Ip = { family: 4, bits: 0xffff_ffffn };

/** Largest message that the client takes, in bytes; the reference's. */
const maxMessageSize = 1500;

/** Makes the message of an exchange. */
export function clientMessage4(
  { goal, client }: { readonly goal: ExchangeGoal4; readonly client: Client4 },
  parts: MessageParts4,
): Datagram {
  const { kind } = goal;
  const configured = kind === "renew" || kind === "rebind" || kind === "release";
  const answered = kind !== "release" && kind !== "decline";
  const broadcast = answered && (!configured || client.broadcast);
  const unicast = kind === "renew" || kind === "release";
  const message: Message4 = {
    op: bootRequest,
    htype: 1,
    hops: 0,
    xid: parts.xid,
    secs: parts.secs,
    flags: broadcast ? broadcastFlag : 0,
    ciaddr: configured ? goal.address : unspecified,
    yiaddr: unspecified,
    siaddr: unspecified,
    giaddr: unspecified,
    chaddr: client.chaddr,
    sname: new Uint8Array(),
    file: new Uint8Array(),
    options: new Map([...clientOptions(client, answered), ...goalOptions(goal, parts)]),
  };
  return { bytes: encodeMessage4(message), to: unicast ? goal.server : limitedBroadcast };
}

/** Options about the client; a message that expects no answer has its identifier alone. */
function clientOptions(client: Client4, answered: boolean): [number, Uint8Array][] {
  const { clientId, requested, provided } = client;
  const id = provided.get(option4.clientId.code) ?? clientId;
  if (!answered) return [[option4.clientId.code, id]];
  const given = new Map([
    writeOption(option4.parameterRequestList, requested),
    writeOption(option4.maxMessageSize, maxMessageSize),
    ...provided,
    [option4.clientId.code, id],
  ]);
  return [...given];
}

/** Type of the message, and the address and server where no field of the header holds them. */
function goalOptions(
  goal: ExchangeGoal4,
  { offer, discover }: MessageParts4,
): (readonly [number, Uint8Array])[] {
  const type = goal.kind === "release" || goal.kind === "decline"
    ? messageType4[goal.kind]
    : discover
    ? messageType4.discover
    : messageType4.request;
  const address = offer?.address ??
    (goal.kind === "acquire" || goal.kind === "reboot" || goal.kind === "decline"
      ? goal.address
      : undefined);
  const server = offer?.server ??
    (goal.kind === "release" || goal.kind === "decline" ? goal.server : undefined);
  return [
    writeOption(option4.messageType, type),
    ...(address ? [writeOption(option4.requestedAddress, address)] : []),
    ...(server ? [writeOption(option4.serverId, server)] : []),
  ];
}
