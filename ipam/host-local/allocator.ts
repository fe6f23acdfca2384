/**
 * Which address comes next: a pure function of the ranges, of what is taken and
 * of the address handed out last. It looks at each address once at most, so it
 * always ends.
 *
 * @module
 */
import type { Ip } from "../../host/ip.ts";
import type { Interval, Range, RangeSet } from "./range.ts";
import { inRange } from "./range.ts";

/** Consecutive addresses of a range that may be handed out. */
export interface Span {
  readonly range: Range;
  readonly first: bigint;
  readonly last: bigint;
}

/** An address that may be handed out. */
export interface Candidate {
  readonly ip: Ip;
  readonly range: Range;
}

/** Addresses that a set may hand out, in order: its ranges without gateways and excluded addresses. */
export function spansOf(set: RangeSet, exclude: readonly Interval[] = []): Span[] {
  return set.flatMap((range) => {
    const { family, bits } = range.gateway;
    const holes = [...exclude, { family, first: bits, last: bits }];
    const whole = { range, first: range.start.bits, last: range.end.bits };
    return holes.filter((hole) => hole.family === range.subnet.family).reduce(
      (spans, hole) => spans.flatMap((span) => without(span, hole)),
      [whole],
    );
  });
}

function without(span: Span, hole: Interval): Span[] {
  if (hole.last < span.first || hole.first > span.last) return [span];
  return [
    { ...span, last: hole.first - 1n },
    { ...span, first: hole.last + 1n },
  ].filter(({ first, last }) => first <= last);
}

/** The same spans in round-robin order: what follows `last` comes first, `last` itself at the end. */
export function startAfter(spans: readonly Span[], last: Ip | undefined): Span[] {
  const current = last && spans.find(({ range }) => inRange(range, last))?.range;
  if (!last || !current) return [...spans];
  const ranges = [...new Set(spans.map(({ range }) => range))];
  const place = ranges.indexOf(current);
  const after: Span[] = [];
  const before: Span[] = [];
  for (const span of spans) {
    const index = ranges.indexOf(span.range);
    const cut = index > place ? span.first : index < place ? span.last + 1n : last.bits + 1n;
    if (cut <= span.last) after.push({ ...span, first: cut > span.first ? cut : span.first });
    if (cut > span.first) before.push({ ...span, last: cut <= span.last ? cut - 1n : span.last });
  }
  return [...after, ...before];
}

/** How many addresses the spans hold. */
export function capacity(spans: readonly Span[]): bigint {
  return spans.reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
}

/** The first address that is not taken, among the first `limit` ones. */
export function next(
  spans: readonly Span[],
  isTaken: (ip: Ip) => boolean,
  limit = Infinity,
): Candidate | undefined {
  let looked = 0;
  for (const { range, first, last } of spans) {
    for (let bits = first; bits <= last; bits++) {
      if (looked++ >= limit) return undefined;
      const ip = { family: range.subnet.family, bits };
      if (!isTaken(ip)) return { ip, range };
    }
  }
  return undefined;
}
