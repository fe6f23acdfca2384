/**
 * What an exchange with DHCPv4 servers has sent and received, and the texts made of it.
 *
 * @module
 */
import type { Options4 } from "../codec/message4.ts";
import type { IgnoredCounts } from "./counts.ts";
import type { GoalKind } from "./exchange.ts";
import { option4, readOption4 } from "../codec/options4.ts";
import { longestServerText, noMoreTries, noneIgnored } from "./counts.ts";

/** What was sent and received. */
export interface ExchangeCounts4 {
  readonly discover: number;
  readonly request: number;
  readonly offer: number;
  readonly ack: number;
  readonly nak: number;
  readonly ignored: IgnoredCounts;
}

/** The counts of an exchange that has not begun. */
export const zeroCounts4: ExchangeCounts4 = {
  discover: 0,
  request: 0,
  offer: 0,
  ack: 0,
  nak: 0,
  ignored: noneIgnored,
};

/** An exchange that has failed. */
interface FailedExchange {
  readonly goal: GoalKind;
  readonly counts: ExchangeCounts4;
  /** Text of the last DHCPNAK. */
  readonly refusal: string | undefined;
}

/** `no more tries: 3 DISCOVER sent, 0 OFFER received; is spanning tree forwarding?` */
export function noMoreTries4(exchange: FailedExchange): string {
  const { goal, counts: { discover, request, offer, ack, nak, ignored } } = exchange;
  const acquiring = goal === "acquire";
  return noMoreTries({
    sent: [acquiring && `${discover} DISCOVER`, request > 0 && `${request} REQUEST`],
    received: [
      acquiring && `${offer} OFFER`,
      request > 0 && `${ack} ACK`,
      nak > 0 && `${nak} NAK`,
    ],
    ignored,
    hint: hint(exchange),
  });
}

/** The most likely cause of a failure. */
function hint({ goal, counts: { offer, ignored }, refusal }: FailedExchange): string {
  if (refusal !== undefined) return refusal;
  if (ignored.unusable > 0) {
    return "answers do not fit: of another server, without its identifier, or with an address of no host";
  }
  if (offer > 0) {
    return "do requests reach the server that offers, and does it agree with the others?";
  }
  if (goal === "renew") return "does the server still run, and is the way to it open?";
  if (goal !== "acquire") return "does a server know this client?";
  if (ignored.malformed > 0) return "what answers is no DHCP server";
  if (ignored.foreign > 0) {
    return "a server answers others: does it know this client or have a free address?";
  }
  return "is spanning tree forwarding?";
}

/** `server rejected request with Nak (msg: address in use)`, of the options of a DHCPNAK. */
export function nakText(options: Options4): string {
  const words = readOption4(options, option4.message)?.slice(0, longestServerText).trim();
  return `server rejected request with Nak${words ? ` (msg: ${words})` : ""}`;
}
