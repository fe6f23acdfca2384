/**
 * What an exchange has sent and received, and the text of one that nobody has answered.
 *
 * @module
 */

/** Packets that answered nothing, by the reason why. */
export interface IgnoredCounts {
  /** No DHCP message. */
  readonly malformed: number;
  /** For another client, or another exchange. */
  readonly foreign: number;
  /** For this exchange, but of a server or kind that cannot answer it. */
  readonly unusable: number;
}

/** No packet was ignored. */
export const noneIgnored: IgnoredCounts = { malformed: 0, foreign: 0, unusable: 0 };

/** Longest text of a server that is passed on, in characters. */
export const longestServerText = 200;

/** Numbers with their words: `3 DISCOVER`; false for what is not worth a word. */
type Parts = readonly (string | false)[];

/** `no more tries: 3 DISCOVER sent, 0 OFFER received; is spanning tree forwarding?` */
export function noMoreTries(
  { sent, received, ignored, hint }: {
    readonly sent: Parts;
    readonly received: Parts;
    readonly ignored: IgnoredCounts;
    /** The most likely cause. */
    readonly hint: string;
  },
): string {
  const parts = [
    `${enumerate(sent)} sent`,
    `${enumerate(received)} received`,
    ignoredText(ignored),
  ];
  return `no more tries: ${parts.filter((part) => part !== "").join(", ")}; ${hint}`;
}

/** `a`, `a and b`, or `a, b and c` of what is not false. */
function enumerate(parts: Parts): string {
  const words = parts.filter((part) => part !== false);
  return [words.slice(0, -1).join(", "), ...words.slice(-1)].filter((part) => part !== "")
    .join(" and ");
}

function ignoredText({ malformed, foreign, unusable }: IgnoredCounts): string {
  const text = enumerate([
    malformed > 0 && `${malformed} malformed`,
    foreign > 0 && `${foreign} for others`,
    unusable > 0 && `${unusable} unusable`,
  ]);
  return text && `${text} ignored`;
}
