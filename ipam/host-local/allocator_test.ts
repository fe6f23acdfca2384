import { assert, assertEquals } from "@std/assert";
import type { Ip } from "../../host/ip.ts";
import { formatIp, network, parseCidr, parseIp } from "../../host/ip.ts";
import { Random, seedOf } from "../../tests/harness/random.ts";
import { capacity, next, spansOf, startAfter } from "./allocator.ts";
import type { Interval, Range, RangeSet } from "./range.ts";
import { inRange, toRange } from "./range.ts";

function range(subnet: string, from?: string, to?: string, gateway?: string): Range {
  const ip = (text?: string) => text === undefined ? undefined : parseIp(text)!;
  return toRange({
    subnet: parseCidr(subnet)!,
    rangeStart: ip(from),
    rangeEnd: ip(to),
    gateway: ip(gateway),
  });
}

/** Every candidate in turn. */
function order(set: RangeSet, last?: string): string[] {
  const spans = startAfter(spansOf(set), last === undefined ? undefined : parseIp(last)!);
  const seen: string[] = [];
  next(spans, (ip) => seen.push(formatIp(ip)) > 0);
  return seen;
}

function after(set: RangeSet, { last, taken }: { last?: string; taken?: string[] }): string {
  const spans = startAfter(spansOf(set), last === undefined ? undefined : parseIp(last)!);
  const found = next(spans, (ip) => taken?.includes(formatIp(ip)) ?? false);
  return found ? formatIp(found.ip) : "none";
}

const digits = (...last: number[]) => last.map((digit) => `192.168.1.${digit}`);

Deno.test("a fresh /29 gives .2 to .6 and ends", () => {
  assertEquals(order([range("192.168.1.0/29")]), digits(2, 3, 4, 5, 6));
});

Deno.test("after the last address it goes round, that one at the end", () => {
  assertEquals(order([range("192.168.1.0/29")], "192.168.1.6"), digits(2, 3, 4, 5, 6));
  assertEquals(order([range("192.168.1.0/29")], "192.168.1.3"), digits(4, 5, 6, 2, 3));
});

const two = [range("10.0.0.0/30"), range("10.0.1.0/30")];
const three = [...two, range("10.0.2.0/30")];
const eight = [range("10.0.0.0/29")];

for (
  const [title, set, facts, expected] of [
    ["empty", eight, {}, "10.0.0.2"],
    ["empty, IPv6", [range("2001:db8:1::/64")], {}, "2001:db8:1::2"],
    ["empty /30", [range("10.0.0.0/30")], {}, "10.0.0.2"],
    ["first one taken", eight, { taken: ["10.0.0.2"] }, "10.0.0.3"],
    ["after the last one", eight, { last: "10.0.0.5" }, "10.0.0.6"],
    [
      "taken ones after the last one",
      eight,
      { last: "10.0.0.3", taken: ["10.0.0.4", "10.0.0.5"] },
      "10.0.0.6",
    ],
    ["round", eight, { last: "10.0.0.5", taken: ["10.0.0.6"] }, "10.0.0.2"],
    ["last one outside", eight, { last: "10.0.0.128", taken: ["10.0.0.2"] }, "10.0.0.3"],
    [
      "only the last one free",
      eight,
      { last: "10.0.0.3", taken: ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"] },
      "10.0.0.3",
    ],
    ["two ranges", two, {}, "10.0.0.2"],
    ["on to the second range", two, { last: "10.0.0.2" }, "10.0.1.2"],
    ["round from the third range", three, { last: "10.0.2.2" }, "10.0.0.2"],
    ["all taken", two, { taken: ["10.0.0.2", "10.0.1.2"] }, "none"],
  ] as const
) {
  Deno.test(`round robin: ${title}`, () => {
    const { last, taken } = facts as { last?: string; taken?: readonly string[] };
    assertEquals(
      after(set, { ...(last && { last }), ...(taken && { taken: [...taken] }) }),
      expected,
    );
  });
}

Deno.test("a range may begin with its network address", () => {
  const set = [
    range("192.168.1.0/29", "192.168.1.0", "192.168.1.3", "192.168.1.7"),
    range("192.168.2.0/29", "192.168.2.0", "192.168.2.3", "192.168.2.7"),
  ];
  assertEquals(order(set)[0], "192.168.1.0");
  assertEquals(order(set, "192.168.1.3")[0], "192.168.2.0");
});

Deno.test("a gateway is passed over in its own range alone", () => {
  const set = [
    range("10.0.0.0/29", "10.0.0.1", "10.0.0.3", "10.0.0.2"),
    range("10.0.1.0/29", "10.0.1.1", "10.0.1.2", "10.0.0.3"),
  ];
  assertEquals(order(set), ["10.0.0.1", "10.0.0.3", "10.0.1.1", "10.0.1.2"]);
});

Deno.test("excluded addresses are passed over and not counted", () => {
  const exclude: Interval[] = [
    { family: 4, first: parseIp("10.0.0.3")!.bits, last: parseIp("10.0.0.5")!.bits },
    { family: 6, first: 0n, last: 2n ** 128n - 1n },
  ];
  const spans = spansOf(eight, exclude);
  assertEquals(spans.map(({ first, last }) => last - first), [0n, 0n]);
  assertEquals(capacity(spans), 2n);
  const everything = { family: 4, first: 0n, last: 2n ** 32n - 1n } as const;
  assertEquals(capacity(spansOf(eight, [everything])), 0n);
});

Deno.test("a limit ends the search", () => {
  assertEquals(next(spansOf(eight), () => true, 2), undefined);
  assertEquals(next(spansOf([range("2001:db8::/32")]), () => true, 1000), undefined);
});

/** A set of up to three disjoint ranges below 10.0.0.0/16. */
function randomSet(random: Random): Range[] {
  return Array.from({ length: random.integer(1, 3) }, (_, third) => {
    const subnet = network(parseCidr(`10.0.${third}.0/${random.integer(26, 30)}`)!);
    const { start, end } = toRange({
      subnet,
      rangeStart: undefined,
      rangeEnd: undefined,
      gateway: undefined,
    });
    const size = Number(end.bits - start.bits);
    const [a, b] = [random.integer(0, size), random.integer(0, size)];
    const at = (distance: number): Ip => ({ family: 4, bits: start.bits + BigInt(distance) });
    return toRange({
      subnet,
      rangeStart: random.oneIn(2) ? at(Math.min(a, b)) : undefined,
      rangeEnd: random.oneIn(2) ? at(Math.max(a, b)) : undefined,
      gateway: random.oneIn(2) ? at(random.integer(0, size)) : undefined,
    });
  });
}

Deno.test("every address comes once, whatever the ranges, the excluded ones and the last one", () => {
  const random = new Random(seedOf(579));
  for (let run = 0; run < 3000; run++) {
    const set = randomSet(random);
    const some = () => parseIp(`10.0.${random.integer(0, 3)}.${random.integer(0, 70)}`)!;
    const exclude = Array.from({ length: random.integer(0, 2) }, (): Interval => {
      const [a, b] = [some().bits, some().bits];
      return { family: 4, first: a < b ? a : b, last: a < b ? b : a };
    });
    const last = random.oneIn(4) ? undefined : some();
    const spans = spansOf(set, exclude);
    const seen: string[] = [];
    assertEquals(next(startAfter(spans, last), (ip) => seen.push(formatIp(ip)) > 0), undefined);
    const expected = set.flatMap((one) => {
      const all: string[] = [];
      for (let bits = one.start.bits; bits <= one.end.bits; bits++) {
        const ip: Ip = { family: 4, bits };
        const out = exclude.some((hole) => hole.first <= bits && bits <= hole.last);
        if (bits !== one.gateway.bits && !out) all.push(formatIp(ip));
      }
      return all;
    });
    const about = `seed ${random.seed}, run ${run}`;
    assertEquals([...seen].sort(), [...expected].sort(), about);
    assertEquals(capacity(spans), BigInt(expected.length), about);
    if (last && seen.includes(formatIp(last))) assertEquals(seen.at(-1), formatIp(last), about);
    assert(!last || seen.length < 2 || !inOrderBreaks(set, seen), about);
  }
});

/** Whether the addresses of one range come otherwise than in one turn. */
function inOrderBreaks(set: readonly Range[], seen: readonly string[]): boolean {
  const bits = seen.map((text) => parseIp(text)!);
  return set.some((one) => {
    const own = bits.filter((ip) => inRange(one, ip)).map((ip) => ip.bits);
    const drops = own.filter((value, i) => i > 0 && value < own[i - 1]!).length;
    return drops > 1;
  });
}

Deno.test("getting, releasing and getting again goes on to the next address", () => {
  const taken = new Set<string>();
  let last: Ip | undefined;
  const get = () => {
    const found = next(
      startAfter(spansOf(eight), last),
      (ip) => taken.has(formatIp(ip)),
    );
    last = found?.ip;
    if (last) taken.add(formatIp(last));
    return last ? formatIp(last) : "none";
  };
  assertEquals(get(), "10.0.0.2");
  taken.delete("10.0.0.2");
  assertEquals(get(), "10.0.0.3");
  assertEquals([get(), get(), get(), get(), get()], [
    "10.0.0.4",
    "10.0.0.5",
    "10.0.0.6",
    "10.0.0.2",
    "none",
  ]);
});
