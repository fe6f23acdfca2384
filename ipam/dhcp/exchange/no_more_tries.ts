/**
 * What an exchange that nobody answered has to say: what it sent and received.
 *
 * @module
 */
import type { Ignored } from "./exchange4.ts";

/** Numbers with their words: `3 DISCOVER`; false for what is not worth a word. */
type Parts = readonly (string | false)[];

/** `no more tries: 3 DISCOVER sent, 0 OFFER received; is spanning tree forwarding?` */
export function noMoreTries(
  { sent, received, ignored, hint }: {
    readonly sent: Parts;
    readonly received: Parts;
    readonly ignored: Ignored;
    /** What most likely lies behind the counts. */
    readonly hint: string;
  },
): string {
  const parts = [`${together(sent)} sent`, `${together(received)} received`, ignoredText(ignored)];
  return `no more tries: ${parts.filter((part) => part !== "").join(", ")}; ${hint}`;
}

/** `a`, `a and b`, or `a, b and c` of what is not false. */
function together(parts: Parts): string {
  const words = parts.filter((part) => part !== false);
  return [words.slice(0, -1).join(", "), ...words.slice(-1)].filter((part) => part !== "")
    .join(" and ");
}

function ignoredText({ malformed, foreign, unusable }: Ignored): string {
  const text = together([
    malformed > 0 && `${malformed} malformed`,
    foreign > 0 && `${foreign} for others`,
    unusable > 0 && `${unusable} unusable`,
  ]);
  return text && `${text} ignored`;
}
