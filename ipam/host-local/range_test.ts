import { assertEquals } from "@std/assert";
import type { Issue } from "../../cni/decode.ts";
import { formatIp, parseIp } from "../../host/ip.ts";
import type { Interval, Range, RangeSet } from "./range.ts";
import {
  formatSet,
  inRange,
  intervalDecoder,
  parseRequest,
  rangeDecoder,
  rangeOf,
  rangesOverlap,
  setIssues,
} from "./range.ts";

function decode(value: Record<string, string>): { range: Range | undefined; issues: Issue[] } {
  const issues: Issue[] = [];
  return { range: rangeDecoder.decode(value, "range", issues), issues };
}

function range(subnet: string, rangeStart = "", rangeEnd = ""): Range {
  const { range, issues } = decode({ subnet, rangeStart, rangeEnd });
  assertEquals(issues, []);
  return range!;
}

function bounds({ start, end, gateway }: Range): string[] {
  return [start, end, gateway].map(formatIp);
}

Deno.test("defaults: first and last address of the subnet, the broadcast address left out", () => {
  assertEquals(bounds(range("192.0.2.0/24")), ["192.0.2.1", "192.0.2.254", "192.0.2.1"]);
  assertEquals(bounds(range("192.0.2.0/25")), ["192.0.2.1", "192.0.2.126", "192.0.2.1"]);
  assertEquals(bounds(range("2001:db8:1::/64")), [
    "2001:db8:1::1",
    "2001:db8:1:0:ffff:ffff:ffff:ffff",
    "2001:db8:1::1",
  ]);
});

Deno.test("network and broadcast address may be given explicitly", () => {
  const whole = range("192.0.2.0/24", "192.0.2.0", "192.0.2.255");
  assertEquals(bounds(whole), ["192.0.2.0", "192.0.2.255", "192.0.2.1"]);
});

Deno.test("a gateway may lie anywhere and be of the other family", () => {
  const { range, issues } = decode({ subnet: "192.0.2.0/24", gateway: "2001:db8::1" });
  assertEquals([range && formatIp(range.gateway), issues], ["2001:db8::1", []]);
});

for (
  const [value, path, message] of [
    [
      { subnet: "192.0.2.12/24" },
      "subnet",
      "Network has host bits set. For a subnet mask of length 24 the network address is 192.0.2.0",
    ],
    [
      { subnet: "2001:DB8:1::24:19ff:fee1:c44a/64" },
      "subnet",
      "Network has host bits set. For a subnet mask of length 64 the network address is 2001:db8:1::",
    ],
    [
      { subnet: "2001:DB8:24:19ff::/63" },
      "subnet",
      "Network has host bits set. For a subnet mask of length 63 the network address is 2001:db8:24:19fe::",
    ],
    [
      { subnet: "192.168.127.0/23" },
      "subnet",
      "Network has host bits set. For a subnet mask of length 23 the network address is 192.168.126.0",
    ],
    [
      { subnet: "192.0.2.0/31" },
      "subnet",
      "Network 192.0.2.0/31 too small to allocate from",
    ],
    [
      { subnet: "2001:db8::/127" },
      "subnet",
      "Network 2001:db8::/127 too small to allocate from",
    ],
    [
      { subnet: "192.0.2.0/24", rangeStart: "192.0.3.0" },
      "rangeStart",
      "RangeStart 192.0.3.0 not in network 192.0.2.0/24",
    ],
    [
      { subnet: "192.0.2.0/24", rangeEnd: "192.0.4.0" },
      "rangeEnd",
      "RangeEnd 192.0.4.0 not in network 192.0.2.0/24",
    ],
    [
      { subnet: "192.0.2.0/24", rangeStart: "192.0.2.50", rangeEnd: "192.0.2.40" },
      "rangeStart",
      "RangeStart 192.0.2.50 not in network 192.0.2.0/24",
    ],
    [
      { subnet: "192.0.2.0/24", rangeEnd: "192.0.2.0" },
      "rangeEnd",
      "RangeEnd 192.0.2.0 not in network 192.0.2.0/24",
    ],
  ] as const
) {
  Deno.test(`refused: ${JSON.stringify(value)}`, () => {
    assertEquals(decode({ ...value }).issues, [{ path: `range.${path}`, message }]);
  });
}

Deno.test("a range holds what lies between its ends, of its own family", () => {
  const four = range("192.0.2.0/24", "192.0.2.40", "192.0.2.50");
  const six = range("2001:db8:1::/64", "2001:db8:1::40", "2001:db8:1::50");
  const holds = (one: Range, text: string) => inRange(one, parseIp(text)!);
  assertEquals([39, 40, 50, 51].map((n) => holds(four, `192.0.2.${n}`)), [
    false,
    true,
    true,
    false,
  ]);
  assertEquals(["3f", "40", "50", "51"].map((n) => holds(six, `2001:db8:1::${n}`)), [
    false,
    true,
    true,
    false,
  ]);
  assertEquals([holds(four, "192.0.4.45"), holds(four, "::c000:22d")], [false, false]);
});

for (
  const [a, b, shared] of [
    [range("10.0.0.0/20"), range("10.1.0.0/20"), false],
    [range("0.0.0.0/24"), range("::/24"), false],
    [range("10.0.0.0/20"), range("10.0.0.0/20"), true],
    [range("10.0.0.0/20"), range("10.0.2.0/24"), true],
    [range("10.0.0.0/24", "", "10.0.0.127"), range("10.0.0.0/24", "10.0.0.128"), false],
    [range("10.0.0.0/24", "", "10.0.0.127"), range("10.0.0.0/24", "10.0.0.127"), true],
  ] as const
) {
  Deno.test(`${formatSet([a])} and ${formatSet([b])} ${shared ? "overlap" : "do not overlap"}`, () => {
    assertEquals([rangesOverlap(a, b), rangesOverlap(b, a)], [shared, shared]);
  });
}

Deno.test("a set knows the range of an address, and is written as the reference does", () => {
  const set = [range("192.168.0.0/24"), range("172.16.1.0/24")];
  assertEquals(rangeOf(set, parseIp("172.16.1.7")!), set[1]);
  assertEquals(rangeOf(set, parseIp("192.168.99.99")!), undefined);
  assertEquals(formatSet(set), "192.168.0.1-192.168.0.254,172.16.1.1-172.16.1.254");
});

for (
  const [title, sets, version, expected] of [
    ["none", [], "1.1.0", ["no IP ranges specified"]],
    ["an empty one", [[]], "1.1.0", ["invalid range set 0: empty range set"]],
    [
      "overlapping sets",
      [[range("10.1.0.0/16")], [range("10.1.2.0/24")]],
      "1.1.0",
      ["range set 0 overlaps with 1"],
    ],
    [
      "overlapping ranges in one set",
      [[range("10.1.0.0/22"), range("10.1.2.0/24")]],
      "1.1.0",
      [
        "invalid range set 0: subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap",
      ],
    ],
    [
      "two families in one set",
      [[range("10.1.0.0/22"), range("2001:db8:5::/64")]],
      "1.1.0",
      ["invalid range set 0: mixed address families"],
    ],
    [
      "two IPv4 sets before 0.3.0",
      [[range("10.1.0.0/22")], [range("10.2.0.0/22")]],
      "0.2.0",
      ["CNI version 0.2.0 does not support more than 1 address per family"],
    ],
    [
      "one set of each family before 0.3.0",
      [[range("10.1.0.0/22")], [range("2001:db8:5::/64")]],
      "0.2.0",
      [],
    ],
    [
      "two IPv4 sets from 0.3.0 on",
      [[range("10.1.0.0/22")], [range("10.2.0.0/22")]],
      "0.3.0",
      [],
    ],
  ] as const
) {
  Deno.test(`range sets: ${title}`, () => {
    assertEquals(setIssues(sets as readonly RangeSet[], version), [...expected]);
  });
}

function interval(text: string): Interval | undefined {
  return intervalDecoder.decode(text, "", []);
}

Deno.test("excluded: an address, a subnet or a span", () => {
  const ten = (last: bigint) => 0x0a000000n + last;
  assertEquals(interval("10.0.0.7"), { family: 4, first: ten(7n), last: ten(7n) });
  assertEquals(interval("10.0.0.9/29"), { family: 4, first: ten(8n), last: ten(15n) });
  assertEquals(interval("10.0.0.3 - 10.0.0.9"), { family: 4, first: ten(3n), last: ten(9n) });
  assertEquals(interval("::1-::ffff"), { family: 6, first: 1n, last: 0xffffn });
});

Deno.test("excluded: anything else is refused", () => {
  for (
    const text of ["", "10.0.0.9-10.0.0.3", "10.0.0.1-::1", "10.0.0.1-2-3", "10.0.0.0/24-10.0.0.9"]
  ) {
    assertEquals(interval(text), undefined, text);
  }
});

Deno.test("a request may have a prefix length, which is ignored", () => {
  assertEquals(parseRequest("10.1.2.11/24"), parseRequest("10.1.2.11"));
  assertEquals(parseRequest(""), undefined);
  assertEquals(parseRequest("10.1.2"), undefined);
});
