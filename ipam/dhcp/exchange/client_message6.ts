/**
 * The messages that a DHCPv6 client sends (RFC 8415 section 18.2).
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { OptionEntry6, Options6 } from "../codec/message6.ts";
import type { IaNa } from "../codec/options6.ts";
import type { Datagram } from "./exchange.ts";
import { encodeMessage6, messageType6 } from "../codec/message6.ts";
import { writeOption } from "../codec/option_format.ts";
import { option6 } from "../codec/options6.ts";

/** What an exchange is for. A server is named by its DUID. */
export type ExchangeGoal6 =
  /** A lease, of this address if the server agrees. */
  | { readonly kind: "acquire"; readonly address?: Ip | undefined }
  /** `reboot`: whether an address still belongs on the link (CONFIRM). `rebind`: its lease again, from any server that knows it. */
  | { readonly kind: "reboot" | "rebind"; readonly address: Ip }
  /** From the server itself. */
  | {
    readonly kind: "renew" | "release" | "decline";
    readonly address: Ip;
    readonly server: Uint8Array;
  };

/** What a client says of itself: the same in every exchange of an attachment. */
export interface Client6 {
  /** Value of option 1. */
  readonly duid: Uint8Array;
  /** Identifier of its IA_NA. */
  readonly iaid: number;
  /** Codes of option 6; 82 is always added. */
  readonly requested: readonly number[];
  /** Further options; those that the protocol sets itself are left out. */
  readonly provided: Options6;
  /** Whether a server may give a lease at once (section 5.1); true when absent. */
  readonly rapidCommit?: boolean | undefined;
}

/** A message that a client sends. */
export type ClientMessageKind6 =
  | "solicit"
  | "request"
  | "confirm"
  | "renew"
  | "rebind"
  | "release"
  | "decline";

/** What distinguishes the messages of one exchange. */
export interface MessageParts6 {
  readonly kind: ClientMessageKind6;
  readonly xid: number;
  /** The server and address to request, in answer to what the server has sent. */
  readonly offer?: { readonly server: Uint8Array; readonly address: Ip } | undefined;
  /** Milliseconds since the message was first sent. */
  readonly elapsed: number;
}

/** All_DHCP_Relay_Agents_and_Servers, `ff02::1:2` (section 7.1), port 547; answers come to port 546. */
export const allRelayAgentsAndServers: Ip = { family: 6, bits: 0xff02n << 112n | 0x1_0002n };

/** Messages with an Option Request option and the provided options. */
const withRequestedOptions: readonly ClientMessageKind6[] = [
  "solicit",
  "request",
  "renew",
  "rebind",
];

/** Codes that the protocol sets itself. */
const protocolOptions: readonly number[] = [
  option6.clientId.code,
  option6.serverId.code,
  option6.iaNa.code,
  option6.optionRequest.code,
  option6.elapsedTime.code,
  option6.rapidCommit.code,
];

/** Largest value of the Elapsed Time option, in hundredths of a second. */
const longestElapsed = 0xffff;

/** Makes the message of an exchange. */
export function clientMessage6(
  { goal, client }: { readonly goal: ExchangeGoal6; readonly client: Client6 },
  { kind, xid, offer, elapsed }: MessageParts6,
): Datagram {
  const { duid, rapidCommit = true, provided } = client;
  const server = offer?.server ?? serverOf(goal);
  const hundredths = Math.min(Math.max(Math.floor(elapsed / 10), 0), longestElapsed);
  const requests = withRequestedOptions.includes(kind);
  const options: OptionEntry6[] = [
    writeOption(option6.clientId, duid),
    ...(server ? [writeOption(option6.serverId, server)] : []),
    writeOption(option6.iaNa, iaNaOf(client.iaid, offer?.address ?? goal.address)),
    ...(requests ? [writeOption(option6.optionRequest, requestedOf(client))] : []),
    writeOption(option6.elapsedTime, hundredths),
    ...(kind === "solicit" && rapidCommit ? [writeOption(option6.rapidCommit, true)] : []),
    ...(requests ? provided.filter(([code]) => !protocolOptions.includes(code)) : []),
  ];
  const bytes = encodeMessage6({ type: messageType6[kind], xid, options });
  return { bytes, to: allRelayAgentsAndServers };
}

/** The server that a goal names; a goal of the other kinds is for every server. */
export function serverOf(goal: ExchangeGoal6): Uint8Array | undefined {
  const { kind } = goal;
  return kind === "renew" || kind === "release" || kind === "decline" ? goal.server : undefined;
}

/** Lifetimes are the server's to say: those of a client are 0. */
function iaNaOf(iaid: number, address: Ip | undefined): IaNa {
  const one = address && { address, preferred: 0, valid: 0, options: [] };
  return { iaid, t1: 0, t2: 0, options: one ? [writeOption(option6.iaAddress, one)] : [] };
}

function requestedOf({ requested }: Client6): readonly number[] {
  const { code } = option6.solMaxRt;
  return requested.includes(code) ? requested : [...requested, code];
}
