/**
 * What an exchange with DHCPv6 servers has sent and received, and the texts made of it.
 *
 * @module
 */
import type { Status6 } from "../codec/options6.ts";
import type { IgnoredCounts } from "./counts.ts";
import type { GoalKind } from "./exchange.ts";
import { statusCode } from "../codec/options6.ts";
import { longestServerText, noMoreTries, noneIgnored } from "./counts.ts";

/** What was sent and received. */
export interface ExchangeCounts6 {
  readonly solicit: number;
  readonly request: number;
  readonly confirm: number;
  readonly renew: number;
  readonly rebind: number;
  readonly release: number;
  readonly decline: number;
  readonly advertise: number;
  readonly reply: number;
  readonly ignored: IgnoredCounts;
}

/** The counts of an exchange that has not begun. */
export const zeroCounts6: ExchangeCounts6 = {
  solicit: 0,
  request: 0,
  confirm: 0,
  renew: 0,
  rebind: 0,
  release: 0,
  decline: 0,
  advertise: 0,
  reply: 0,
  ignored: noneIgnored,
};

/** An exchange that has failed. */
interface FailedExchange {
  readonly goal: GoalKind;
  readonly counts: ExchangeCounts6;
  /** Text of the last refusal. */
  readonly refusal: string | undefined;
}

/** `no more tries: 3 SOLICIT sent, 0 ADVERTISE received; does a DHCPv6 server serve this link?` */
export function noMoreTries6(exchange: FailedExchange): string {
  const { advertise, reply, ignored, ...sent } = exchange.counts;
  const messages = Object.entries(sent).filter(([, times]) => times > 0);
  const others = messages.some(([kind]) => kind !== "solicit");
  return noMoreTries({
    sent: messages.map(([kind, times]) => `${times} ${kind.toUpperCase()}`),
    received: [
      sent.solicit > 0 && `${advertise} ADVERTISE`,
      (others || reply > 0) && `${reply} REPLY`,
    ],
    ignored,
    hint: hint(exchange),
  });
}

/** The most likely cause of a failure. */
function hint({ goal, counts: { advertise, ignored }, refusal }: FailedExchange): string {
  if (refusal !== undefined) return refusal;
  if (ignored.unusable > 0) {
    return "answers do not fit: of another server, without its identifier, or without a usable address";
  }
  if (advertise > 0) return "do requests reach the server that advertises?";
  if (ignored.malformed > 0) return "what answers is no DHCPv6 server";
  if (ignored.foreign > 0) return "a server answers others: does it know this client?";
  return goal === "acquire" || goal === "rebind" || goal === "reboot"
    ? "does a DHCPv6 server serve this link?"
    : "does the server still run, and is it still on this link?";
}

/** Names of statuses (RFC 8415 section 21.13) and what they mean here. */
const meanings: Readonly<Record<number, readonly [name: string, meaning: string]>> = {
  [statusCode.unspecFail]: ["UnspecFail", "it could not, and does not say why"],
  [statusCode.noAddrsAvail]: ["NoAddrsAvail", "it has no address to give"],
  [statusCode.noBinding]: ["NoBinding", "it knows of no such lease"],
  [statusCode.notOnLink]: ["NotOnLink", "the address does not belong on this link"],
  [statusCode.useMulticast]: ["UseMulticast", "it got by unicast what was sent by multicast"],
};

/** `server answered NotOnLink: the address does not belong on this link (msg: moved)` */
export function statusText({ code, message }: Status6): string {
  const [name, meaning] = meanings[code] ?? [`status ${code}`, "which is not known here"];
  const words = message.slice(0, longestServerText).trim();
  return `server answered ${name}: ${meaning}${words ? ` (msg: ${words})` : ""}`;
}
