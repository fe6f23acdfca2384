/**
 * Why a program failed, read from the first line of its stderr. One table for
 * all tools; `reason_test.ts` holds recorded samples.
 *
 * @module
 */

/** Class of a failure that callers may want to tolerate. */
export type Reason =
  | "missing"
  | "exists"
  | "busy"
  | "denied"
  | "unsupported"
  | "full"
  | "invalid"
  | "other";

const table: readonly (readonly [RegExp, Reason])[] = [
  // A missing target's message may also say "does not exist": most specific first.
  [
    /Operation not permitted|Permission denied|Read-only file system/i,
    "denied",
  ],
  // `ip tuntap add` asks for a new device: the name is taken.
  [/TUNSETIFF\): Device or resource busy/, "exists"],
  [
    /Unknown device type|qdisc kind is unknown|TC classifier not found|Failed to load TC (action|classifier)|Operation not supported|Protocol not supported|not supported|Extension .* revision .* not supported|Couldn't load (match|target)|No such device or address|^open: No such (file|device)|Address family not supported|do you need to insmod|(generation id|cache initialization failed): Invalid argument/i,
    "unsupported",
  ],
  [
    /Device or resource busy|Text file busy|another app is currently holding|Resource temporarily unavailable/i,
    "busy",
  ],
  [/Exchange full|No space left on device/i, "full"],
  // The kernel does not want this of this link, and says no more.
  [/^RTNETLINK answers: Invalid argument/, "invalid"],
  [
    /File exists|already assigned|already exists|exists in the target netns|ZONE_ALREADY_SET|Address already in use|NLM_F_REPLACE needed|Exclusivity flag on/i,
    "exists",
  ],
  [
    /No such file|No such process|does not exist|Directory nonexistent|nonexistent directory|Cannot find (bridge )?device|Cannot find specified qdisc|Cannot delete qdisc with handle of zero|No such device|Address not found|Cannot assign requested address|No chain\/target\/match|Bad rule|UNKNOWN_SOURCE|INVALID_ZONE|Invalid "netns" value|0 flow entries have been deleted/i,
    "missing",
  ],
];

/** Classifies the first line of a program's stderr. */
export function classify(stderr: string): Reason {
  const line = firstLine(stderr);
  return table.find(([pattern]) => pattern.test(line))?.[1] ?? "other";
}

/**
 * A warning, iptables saying who it is before it says what is wrong, iproute2 whose
 * list of links changed while it was looking a name up, or a step of a script that
 * did not matter (`fold.ts`).
 */
const empty =
  /^(warning:|# Warning:|Dump was interrupted|Step skipped \d+$|\S+ v[\d.]+ \(\w+\):$)/i;

/** First line that says something: warnings and blank lines before it are passed over. */
export function firstLine(stderr: string): string {
  const lines = stderr.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.find((line) => !empty.test(line)) ?? lines[0] ?? "";
}
