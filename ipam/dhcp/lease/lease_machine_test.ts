import { assert, assertEquals } from "@std/assert";
import type { Issue } from "../../../cni/decode.ts";
import type { Message4 } from "../codec/message4.ts";
import type { ExchangeGoal4 } from "../exchange/client_message4.ts";
import type { Lease4 } from "./lease4.ts";
import type { LeaseAction, LeaseEvent, LeaseSettings } from "./lease_machine.ts";
import type { DamagedLease, ScenarioLine, TimelessEvent } from "./testing_lease.ts";
import { formatIssue } from "../../../cni/decode.ts";
import { formatIp } from "../../../host/ip.ts";
import { Random, seedOf } from "../../../tests/harness/random.ts";
import { decodeMessage4, encodeMessage4 } from "../codec/message4.ts";
import { golden4, ip, messageOf4, optionsOf4 } from "../codec/testing_message4.ts";
import { isValidAt } from "./lease.ts";
import { lease4Decoder, lease4ToJson, leaseOf4, leaseProtocol4 } from "./lease4.ts";
import { advanceLease, bindLease, resumeLease } from "./lease_machine.ts";
import { damagedLeases, expectedOf, LeaseScenario, leaseStart } from "./testing_lease.ts";

const settings: LeaseSettings<Message4, ExchangeGoal4> = {
  protocol: leaseProtocol4,
  random: () => 0,
};

/** Seconds as the four bytes of an option. */
function u32(seconds: number): string {
  return (seconds >>> 0).toString(16).padStart(8, "0");
}

interface Times {
  readonly lease?: number;
  readonly t1?: number;
  readonly t2?: number;
}

function ackOf({ lease, t1, t2 }: Times = {}, parts: Partial<Message4> = {}): Message4 {
  const options = optionsOf4({
    1: "ffffff00",
    3: "c0a80101",
    53: "05",
    54: "c0a80101",
    ...(lease !== undefined && { 51: u32(lease) }),
    ...(t1 !== undefined && { 58: u32(t1) }),
    ...(t2 !== undefined && { 59: u32(t2) }),
  });
  return messageOf4({ yiaddr: ip("192.168.1.5"), options, ...parts });
}

/** An hour: T1 after 1800 s, T2 after 3150 s. */
const hourly = ackOf({ lease: 3600 });
const leaseAt = (now: number, ack = hourly) => leaseOf4(ack, { now, age: 0, random: () => 0 });

const never = 0xffff_ffff;
/** What a server gives, and when to renew, to rebind and to stop, all in seconds. */
const given: readonly (readonly [what: string, Times, times: [number, number, number]])[] = [
  ["nothing", {}, [1800, 3150, 3600]],
  ["a lease alone", { lease: 80 }, [40, 70, 80]],
  ["all times", { lease: 3600, t1: 600, t2: 1200 }, [600, 1200, 3600]],
  ["T1 alone", { lease: 3600, t1: 600 }, [600, 3150, 3600]],
  ["T2 alone", { lease: 3600, t2: 2800 }, [1800, 2800, 3600]],
  ["T2 alone, before half of the lease", { lease: 3600, t2: 700 }, [400, 700, 3600]],
  ["T1 after T2", { lease: 3600, t1: 1300, t2: 1200 }, [1200 * 4 / 7, 1200, 3600]],
  ["T1 at T2", { lease: 3600, t1: 2000, t2: 2000 }, [1800, 2000, 3600]],
  ["T1 after the lease", { lease: 3600, t1: 4000 }, [1800, 3150, 3600]],
  ["T2 at the end of the lease", { lease: 3600, t1: 600, t2: 3600 }, [600, 3150, 3600]],
  ["T2 after the lease", { lease: 3600, t2: 9999 }, [1800, 3150, 3600]],
  ["T1 and T2 of zero", { lease: 3600, t1: 0, t2: 0 }, [1800, 3150, 3600]],
  ["endless T1 and T2", { lease: 3600, t1: never, t2: never }, [1800, 3150, 3600]],
  ["a T1 that is too short", { lease: 3600, t1: 1 }, [1800, 3150, 3600]],
  ["the shortest times", { lease: 10, t1: 2, t2: 3 }, [2, 3, 10]],
  ["a T2 with no room for T1", { lease: 10, t2: 2 }, [5, 8.75, 10]],
  ["a lease of zero", { lease: 0 }, [1800, 3150, 3600]],
  ["a lease that is too short", { lease: 1 }, [2, 3.5, 4]],
  ["an endless lease", { lease: never, t1: 600, t2: 1200 }, [Infinity, Infinity, Infinity]],
  ["the longest lease", { lease: never - 1 }, [
    (never - 1) / 2,
    (never - 1) * 0.875,
    never - 1,
  ]],
];

const round = (times: readonly number[]) => times.map((time) => Math.round(time * 1000));

for (const [what, times, expected] of given) {
  Deno.test(`times of a lease, where the server gives ${what}`, () => {
    const lease = leaseAt(0, ackOf(times));
    assertEquals([lease.renewAt, lease.rebindAt, lease.expireAt], round(expected));
  });
}

Deno.test("times count from the request, and T1 and T2 come up to a twentieth earlier", () => {
  const lease = leaseOf4(ackOf({ lease: 1000 }), { now: leaseStart, age: 1500, random: () => 0.5 });
  assertEquals(lease.since, leaseStart - 1500);
  assertEquals(lease.renewAt, lease.since + 487_500);
  assertEquals(lease.rebindAt, lease.since + 853_125);
  assertEquals(lease.expireAt, lease.since + 1_000_000);
  assertEquals([isValidAt(lease, lease.expireAt - 1), isValidAt(lease, lease.expireAt)], [
    true,
    false,
  ]);
});

Deno.test("T1 never comes after T2, whatever the dice say", () => {
  const dice = [0.999, 0];
  const random = () => dice.shift()!;
  const lease = leaseOf4(ackOf({ lease: 1000, t1: 869, t2: 870 }), { now: 0, age: 0, random });
  assertEquals(lease.renewAt, lease.rebindAt);
});

const scenario = new LeaseScenario<Message4, ExchangeGoal4>(({ ack }) => formatIp(ack.yiaddr));

const acked = (ack = hourly, age = 0) => ({ kind: "acked", ack, age }) as const;
const other = ackOf({ lease: 3600 }, { yiaddr: ip("192.168.1.77") });
const without = (code: number, ack = hourly) => ({
  ...ack,
  options: new Map([...ack.options].filter(([key]) => key !== code)),
});
const wider = {
  ...hourly,
  options: new Map([...hourly.options, ...optionsOf4({ 1: "ffff0000" })]),
};
const short = ackOf({ lease: 80 });
const endless = ackOf({ lease: never });

interface Story {
  readonly what: string;
  readonly ack?: Message4;
  readonly settings?: Partial<LeaseSettings<Message4, ExchangeGoal4>>;
  /** What keeping it begins with. */
  readonly first: string;
  readonly lines: readonly ScenarioLine<Message4>[];
}

const stories: readonly Story[] = [
  {
    what: "a lease is renewed at T1, again and again",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, acked(hourly, 500), "store, wait 3600.5"],
      [3600.5, "timer", "renew 208"],
      [3601, acked(), "store, wait 5401"],
    ],
  },
  {
    what: "a renewal that fails is tried again after half of the time to T2, and a minute at least",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1870, "failed", "wait 2510"],
      [2510, "timer", "renew 208"],
      [2580, "failed", "wait 2865"],
      [2865, "timer", "renew 208"],
      [2935, "failed", "wait 3042.5"],
      [3042.5, "timer", "renew 107.5"],
      [3112.5, "failed", "wait 3150"],
      [3150, "timer", "rebind 208"],
      [3220, "failed", "wait 3410"],
      [3410, "timer", "rebind 190"],
      [3480, "failed", "wait 3540"],
      [3540, "timer", "rebind 60"],
      [3600, "failed", "acquire 60"],
      [3660, "failed", "end: expired"],
      [3661, "timer", ""],
      [3662, "stop", ""],
    ],
  },
  {
    what: "a renewal that lasts until T2 goes on with a rebinding at once",
    ack: short,
    first: "store, wait 40",
    lines: [
      [40, "timer", "renew 30"],
      [70, "failed", "rebind 10"],
      [75, acked(short), "store, wait 115"],
    ],
  },
  {
    what: "a rebinding gives new times",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [3150, "failed", "rebind 208"],
      [3151, acked(), "store, wait 4951"],
    ],
  },
  {
    what: "what every server has forgotten is acquired anew, if need be with another address",
    ack: short,
    first: "store, wait 40",
    lines: [
      [70, "timer", "rebind 10"],
      [80, "failed", "acquire 60"],
      [81, acked(other), "store, change 192.168.1.5 192.168.1.77, wait 1881"],
    ],
  },
  {
    what: "an exchange is never shorter than a second",
    ack: short,
    first: "store, wait 40",
    lines: [[69.9, "timer", "renew 1"], [79.5, "failed", "rebind 1"]],
  },
  {
    what: "the limit bounds every exchange",
    ack: short,
    settings: { limit: 5000 },
    first: "store, wait 40",
    lines: [
      [40, "timer", "renew 5"],
      [45, "failed", "wait 70"],
      [70, "timer", "rebind 5"],
      [75, "failed", "wait 80"],
      [80, "timer", "acquire 5"],
      [85, "failed", "end: expired"],
    ],
  },
  {
    what: "a refused renewal takes the address away and looks for another lease",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, "refused", "store, withdraw, acquire 208"],
      [2009, "failed", "wait 2069"],
      [2069, "timer", "acquire 208"],
      [2070, acked(other), "store, change 192.168.1.5 192.168.1.77, wait 3870"],
    ],
  },
  {
    what: "a refused lease ends when it would have, and is not released",
    ack: short,
    first: "store, wait 40",
    lines: [
      [40, "timer", "renew 30"],
      [41, "refused", "store, withdraw, acquire 60"],
      [79, "failed", "wait 80"],
      [80, "timer", "acquire 60"],
      [140, "failed", "end: expired"],
    ],
  },
  {
    what: "a refused lease that is not wanted any more is not released",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, "refused", "store, withdraw, acquire 208"],
      [1802, "stop", "cancel, end: stopped"],
    ],
  },
  {
    what: "an accepted lease after a refused one is given to the interface again, and released",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, "refused", "store, withdraw, acquire 208"],
      [1802, acked(), "store, change 192.168.1.5 192.168.1.5, wait 3602"],
      [1803, "stop", "release from container, end: stopped"],
    ],
  },
  {
    what: "stopping ends the exchange under way",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, "stop", "cancel, release from container, end: stopped"],
      [1802, acked(), ""],
      [1803, "stop", ""],
    ],
  },
  {
    what: "a lease whose namespace is gone is released from the host",
    first: "store, wait 1800",
    lines: [[5, "namespace gone", "release from host, end: namespace gone"]],
  },
  {
    what: "a namespace can go during an exchange",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, "namespace gone", "cancel, release from host, end: namespace gone"],
    ],
  },
  {
    what: "the lease of a link that is missing is released from the host",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1800.1, "link missing", "release from host, end: link missing"],
    ],
  },
  {
    what: "a link that cannot be looked up is looked up again, more and more slowly",
    settings: { limit: 60_000 },
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 60"],
      [1800, "link unknown", "wait 1801"],
      [1801, "timer", "renew 60"],
      [1801, "link unknown", "wait 1803"],
      [1803, "timer", "renew 60"],
      [1803, "link unknown", "wait 1807"],
      [1807, "timer", "renew 60"],
      [1807, "link unknown", "wait 1815"],
      [1815, "timer", "renew 60"],
      [1815, "link unknown", "wait 1831"],
      [1831, "timer", "renew 60"],
      [1831, "link unknown", "wait 1847"],
      [1847, "timer", "renew 60"],
      [1859, "link unknown", "wait 1875"],
      [1875, "timer", "renew 60"],
      [1876, "link unknown", "wait 2513"],
      [2513, "timer", "renew 60"],
      [2513, "link unknown", "wait 2514"],
    ],
  },
  {
    what:
      "a link that cannot be looked up takes no lease before its end, and then it ends as others",
    ack: short,
    settings: { limit: 20_000 },
    first: "store, wait 40",
    lines: [
      [40, "timer", "renew 20"],
      [40, "link unknown", "wait 41"],
      [60, "link unknown", ""],
      [60, "timer", "renew 10"],
      [61, "link unknown", "wait 70"],
      [70, "timer", "rebind 10"],
      [71, "link unknown", "wait 72"],
      [79.5, "timer", "rebind 1"],
      [80.5, "link unknown", "acquire 20"],
      [81, "link unknown", "wait 85"],
      [90, "timer", "acquire 20"],
      [101, "link unknown", "end: expired"],
    ],
  },
  {
    what: "a link that was found counts its looks from the start",
    settings: { limit: 60_000 },
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 60"],
      [1800, "link unknown", "wait 1801"],
      [1801, "timer", "renew 60"],
      [1861, "failed", "wait 2505.5"],
      [2505.5, "timer", "renew 60"],
      [2505.5, "link unknown", "wait 2506.5"],
    ],
  },
  {
    what: "a wait is an hour at most, and an endless lease asks nobody",
    ack: endless,
    first: "store, wait 3600",
    lines: [
      [3600, "timer", "wait 7200"],
      [7200, "timer", "wait 10800"],
      [7300, "look", "wait 10900"],
      [7400, "stop", "release from container, end: stopped"],
    ],
  },
  {
    what: "a look changes nothing before its time, nor during an exchange",
    first: "store, wait 1800",
    lines: [
      [900, "look", "wait 1800"],
      [1850, "look", "renew 208"],
      [1851, "look", ""],
      [1852, "timer", ""],
      [1853, "failed", "wait 2501.5"],
      [1900, "look", "wait 2501.5"],
    ],
  },
  {
    what: "an outcome without an exchange changes nothing",
    first: "store, wait 1800",
    lines: [
      [5, acked(other), ""],
      [6, "refused", ""],
      [7, "failed", ""],
      [8, "link missing", ""],
      [9, "link unknown", ""],
      [10, "look", "wait 1800"],
    ],
  },
  {
    what: "a timer that comes a little early waits again",
    first: "store, wait 1800",
    lines: [[1799.997, "timer", "wait 1800"]],
  },
  {
    what: "an answer without a mask keeps the one there was",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, acked(without(1)), "store, wait 3601"],
    ],
  },
  {
    what: "an answer with another mask changes it",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, acked(wider), "store, change 192.168.1.5 192.168.1.5, wait 3601"],
    ],
  },
  {
    what: "another address without a mask is no answer",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, acked(without(1, other)), "wait 2475.5"],
    ],
  },
  {
    what: "an answer without a server is no answer",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, acked(without(54)), "wait 2475.5"],
    ],
  },
  {
    what: "other routes are a change, too",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, acked(without(3)), "store, change 192.168.1.5 192.168.1.5, wait 3601"],
    ],
  },
  {
    what: "a clock that is set back an hour takes the lease along",
    first: "store, wait 1800",
    lines: [
      [-1800, "timer", "store, renew 208"],
      [-1799, acked(), "store, wait 1"],
    ],
  },
  {
    what: "a clock that is set back shows at any event",
    first: "store, wait 1800",
    lines: [
      [600, "look", "wait 1800"],
      [-3000, "look", "store, wait -1800"],
      [-1800, "timer", "renew 208"],
      [-5400, "failed", "store, wait -4725"],
      [-4725, "timer", "renew 208"],
    ],
  },
  {
    what: "a clock that is set back takes the next try along",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1870, "failed", "wait 2510"],
      [0, "look", "store, wait 640"],
      [640, "timer", "renew 208"],
    ],
  },
  {
    what: "a clock that is set back gives the looks for a link no more time",
    settings: { limit: 60_000 },
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 60"],
      [1800, "link unknown", "wait 1801"],
      [0, "timer", "store, renew 60"],
      [59, "link unknown", "wait 704"],
    ],
  },
  {
    what: "a clock that is set back by little is none",
    first: "store, wait 1800",
    lines: [[1798.5, "timer", "wait 1800"], [1797, "look", "wait 1800"]],
  },
  {
    what: "a clock that is set ahead past the end asks before it gives up",
    first: "store, wait 1800",
    lines: [
      [9000, "timer", "reboot 30"],
      [9001, acked(), "store, wait 10801"],
    ],
  },
  {
    what: "past the end, silence is followed by a discovery and by the end",
    first: "store, wait 1800",
    lines: [
      [9000, "timer", "reboot 30"],
      [9030, "failed", "acquire 60"],
      [9090, "failed", "end: expired"],
    ],
  },
  {
    what: "past the end, a refusal is followed by a discovery",
    first: "store, wait 1800",
    lines: [
      [9000, "timer", "reboot 30"],
      [9001, "refused", "store, withdraw, acquire 60"],
      [9002, acked(other), "store, change 192.168.1.5 192.168.1.77, wait 10802"],
    ],
  },
  {
    what: "past the end, a link that cannot be looked up delays the question",
    first: "store, wait 1800",
    lines: [
      [9000, "timer", "reboot 30"],
      [9000, "link unknown", "wait 9001"],
      [9001, "timer", "reboot 30"],
      [9031, "failed", "acquire 60"],
      [9031, "link unknown", "wait 9032"],
      [9032, "timer", "acquire 60"],
    ],
  },
];

for (const { what, ack = hourly, settings: parts, first, lines } of stories) {
  Deno.test(what, () => {
    const step = bindLease(leaseAt(leaseStart, ack), {
      now: leaseStart,
      settings: { ...settings, ...parts },
    });
    assertEquals(scenario.words(step), first);
    assertEquals(scenario.play(step, lines).outputs, expectedOf(lines));
  });
}

interface Restart {
  readonly what: string;
  readonly ack?: Message4;
  /** Seconds after the lease was asked for. */
  readonly at: number;
  readonly first: string;
  readonly lines: readonly ScenarioLine<Message4>[];
}

const restarts: readonly Restart[] = [
  { what: "before T1: it waits", at: 600, first: "wait 1800", lines: [] },
  { what: "after T1: it renews", at: 1900, first: "renew 208", lines: [] },
  { what: "after T2: it rebinds", at: 3200, first: "rebind 208", lines: [] },
  {
    what: "after the end: it asks for the same address",
    at: 4000,
    first: "reboot 30",
    lines: [[4001, acked(), "store, wait 5801"]],
  },
  {
    what: "long after the end, and nobody answers: the lease ends",
    at: 400_000,
    first: "reboot 30",
    lines: [[400_030, "failed", "acquire 60"], [400_090, "failed", "end: expired"]],
  },
  {
    what: "after the end, and the address is another's",
    at: 4000,
    first: "reboot 30",
    lines: [[4001, "refused", "store, withdraw, acquire 60"], [4061, "failed", "end: expired"]],
  },
  { what: "with an endless lease: it waits", ack: endless, at: 99, first: "wait 3699", lines: [] },
  {
    what: "a second before the lease was asked for: it waits",
    at: -1,
    first: "wait 1800",
    lines: [],
  },
  {
    what: "before the lease was asked for: it asks, and holds it from now on if nobody answers",
    at: -5000,
    first: "store, reboot 30",
    lines: [[-4970, "failed", "wait -3200"], [-3200, "timer", "renew 208"]],
  },
  {
    what: "before the lease was asked for, and the address is another's",
    at: -5000,
    first: "store, reboot 30",
    lines: [[-4999, "refused", "store, withdraw, acquire 208"]],
  },
];

for (const { what, ack = hourly, at, first, lines } of restarts) {
  Deno.test(`after a restart ${what}`, () => {
    const step = resumeLease(leaseAt(leaseStart, ack), { now: leaseStart + at * 1000, settings });
    assertEquals(scenario.words(step), first);
    assertEquals(scenario.play(step, lines).outputs, expectedOf(lines));
  });
}

Deno.test("exchanges name the address and the server of the lease", () => {
  const { state } = bindLease(leaseAt(leaseStart), { now: leaseStart, settings });
  const { actions } = advanceLease(state, { kind: "timer", now: leaseStart + 1_800_000 });
  assertEquals(actions, [{
    kind: "exchange",
    goal: { kind: "renew", address: ip("192.168.1.5"), server: ip("192.168.1.1") },
    within: 208_000,
  }]);
  const ended = advanceLease(state, { kind: "stop", now: leaseStart });
  assertEquals(ended.actions[0], {
    kind: "release",
    goal: { kind: "release", address: ip("192.168.1.5"), server: ip("192.168.1.1") },
    from: "container",
  });
});

Deno.test("a change names the lease before and the one after, and the state holds the latter", () => {
  const begun = bindLease(leaseAt(leaseStart), { now: leaseStart, settings }).state;
  const running = advanceLease(begun, { kind: "timer", now: leaseStart + 1_800_000 }).state;
  const step = advanceLease(running, { ...acked(other), now: leaseStart + 1_800_000 });
  assertEquals(step.actions[1], { kind: "change", before: begun.lease, after: step.state.lease });
  assertEquals(step.state.lease, leaseAt(leaseStart + 1_800_000, other));
});

Deno.test("a state is a value: the same event on it gives the same again", () => {
  const { state } = bindLease(leaseAt(leaseStart), { now: leaseStart, settings });
  const event: LeaseEvent<Message4> = { kind: "timer", now: leaseStart + 1_800_000 };
  assertEquals(advanceLease(state, event), advanceLease(state, event));
  assertEquals(advanceLease(state, event).state.running, true);
  assertEquals(state.running, false);
});

for (
  const [what, ack] of [["hourly", hourly], ["endless", endless], ["golden", golden4.ack]] as const
) {
  Deno.test(`the JSON of a lease gives the same lease: ${what}`, () => {
    const message = ack instanceof Uint8Array ? decodeMessage4(ack)! : ack;
    const lease = leaseOf4(message, { now: leaseStart, age: 1234.5, random: () => 0.123 });
    const issues: Issue[] = [];
    const again = lease4Decoder.decode(JSON.parse(JSON.stringify(lease4ToJson(lease))), "", issues);
    assertEquals([again, issues], [lease, []]);
  });
}

Deno.test("the JSON of a lease that a clock has moved gives the same lease", () => {
  const begun = bindLease(leaseAt(leaseStart), { now: leaseStart, settings });
  // The wait for the next try ends in the middle of a millisecond.
  const lines: ScenarioLine<Message4>[] = [
    [1800, "timer", "renew 208"],
    [1870.001, "failed", "wait 2510.0005"],
  ];
  const { outputs, state: waiting } = scenario.play(begun, lines);
  assertEquals(outputs, expectedOf(lines));
  const moved = advanceLease(waiting, { kind: "timer", now: leaseStart }).state.lease;
  assertEquals(moved.since, leaseStart - 2_510_000);
  assertEquals(lease4Decoder.decode(lease4ToJson(moved), "", []), moved);
});

Deno.test("the JSON of a refused lease says that it is one", () => {
  const lease = { ...leaseAt(leaseStart), refused: true } as const;
  assertEquals(lease4Decoder.decode(lease4ToJson(lease), "", []), lease);
  assertEquals(isValidAt(lease, leaseStart), false);
});

Deno.test("the JSON of a lease has readable times", () => {
  const { ack, ...times } = lease4ToJson(leaseOf4(decodeMessage4(golden4.ack)!, {
    now: leaseStart,
    age: 0,
    random: () => 0,
  }));
  assertEquals(ack, golden4.ack.toHex());
  assertEquals(times, {
    since: leaseStart,
    renewAt: leaseStart + 150_000,
    rebindAt: leaseStart + 262_000,
    expireAt: leaseStart + 300_000,
  });
  const { renewAt, rebindAt, expireAt } = lease4ToJson(leaseAt(leaseStart, endless));
  assertEquals([renewAt, rebindAt, expireAt], ["never", "never", "never"]);
});

const text = (parts: Partial<Record<keyof Lease4, unknown>>) => ({
  ...lease4ToJson(leaseAt(leaseStart)),
  ...parts,
});
const ackText = "ack: expected a DHCPACK in hexadecimal but received ";
const damaged: readonly DamagedLease[] = [
  ...damagedLeases(text, {
    times: {
      renewAt: leaseStart + 1_800_000,
      rebindAt: leaseStart + 3_150_000,
      expireAt: leaseStart + 3_600_000,
    },
    ackText,
  }),
  ...[
    ["a cut acknowledgement", golden4.ack.subarray(0, 270)],
    ["an offer", golden4.offer],
    ["an acknowledgement without a server", encodeMessage4(without(54))],
    ["an acknowledgement without a mask", encodeMessage4(without(1))],
  ].map(([what, bytes]) => {
    const ack = (bytes as Uint8Array).toHex();
    return [`${what}`, text({ ack }), `${ackText}"${ack.slice(0, 76)}…`] as const;
  }),
];

for (const [what, value, issue] of damaged) {
  Deno.test(`the JSON of a lease refuses ${what}`, () => {
    const issues: Issue[] = [];
    lease4Decoder.decode(value, "", issues);
    assertEquals(issues.map(formatIssue), [issue]);
  });
}

/** What servers do at some time. */
type World = "answers" | "silent" | "forgot" | "refuses";

/** How an exchange ends in that world, and after how many milliseconds. */
function outcomeOf(
  action: LeaseAction<Message4, ExchangeGoal4> & { kind: "exchange" },
  { random, world }: { random: Random; world: World },
): [TimelessEvent<Message4>, number] {
  const quick = random.integer(1, 300);
  const forgotten = world === "forgot" && action.goal.kind !== "acquire";
  if (random.oneIn(50)) return [{ kind: "link unknown" }, 5];
  if (world === "silent" || forgotten) return [{ kind: "failed" }, action.within];
  if (world === "refuses" && action.goal.kind !== "acquire") return [{ kind: "refused" }, quick];
  const ack = random.pick([hourly, short, other, ackOf({ lease: 10, t1: 3, t2: 8 })]);
  return [acked(ack, quick), quick];
}

Deno.test("whatever servers and clocks do, a lease is kept without a storm, or ends", () => {
  const random = new Random(seedOf(445));
  const seen = new Map<string, number>();
  const note = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
  for (let run = 0; run < 100; run++) {
    const about = `seed ${random.seed}, run ${run}`;
    const dice = {
      protocol: leaseProtocol4,
      random: () => random.next(),
      limit: random.pick([208_000, 10_000]),
    };
    // Real time, and how far the clock is off it.
    let [real, off, exchanges] = [leaseStart, 0, 0];
    let step = bindLease(leaseOf4(hourly, { now: leaseStart, age: 0, random: dice.random }), {
      now: leaseStart,
      settings: dice,
    });
    let world: World = "answers";
    while (
      step.state.phase !== "ended" && real < leaseStart + 100 * 3_600_000 && exchanges < 3000
    ) {
      const [next, ...more] = step.actions.filter(({ kind }) =>
        kind !== "store" && kind !== "change" && kind !== "withdraw"
      );
      assert(next !== undefined && more.length === 0, about);
      const now = real + off;
      if (random.oneIn(40)) world = random.pick(["silent", "forgot", "refuses"]);
      else if (random.oneIn(4)) world = "answers";
      if (next.kind === "exchange") {
        exchanges++;
        note(next.goal.kind);
        assert(next.within >= 1000 && next.within <= dice.limit, about);
        const [event, after] = outcomeOf(next, { random, world });
        real += after;
        step = advanceLease(step.state, { ...event, now: real + off } as LeaseEvent<Message4>);
      } else {
        assert(next.kind === "wait" && next.until > now && next.until <= now + 3_600_000, about);
        real = Math.ceil(next.until - off);
        if (random.oneIn(30)) off += random.integer(-7200, 7200) * 1000;
        step = advanceLease(step.state, { kind: "timer", now: real + off });
      }
      if (step.state.lease.expireAt < step.state.lease.rebindAt) throw new Error(about);
    }
    // A renewal in 2 s is the quickest there can be; failures wait, and looks for a link double.
    const seconds = (real - leaseStart) / 1000;
    assert(exchanges <= 5 + seconds, `${about}: ${exchanges} in ${seconds} s`);
    const last = step.actions.at(-1)!;
    note(last.kind === "end" ? last.reason : "kept");
  }
  for (const what of ["renew", "rebind", "reboot", "acquire", "expired", "kept"]) {
    assert(seen.has(what), `${what} never happened: ${JSON.stringify([...seen])}`);
  }
});

Deno.test("while servers answer, no clock that is set makes a lease end", () => {
  const random = new Random(seedOf(446));
  for (let run = 0; run < 200; run++) {
    let [real, off] = [leaseStart, 0];
    let step = bindLease(leaseAt(leaseStart), { now: leaseStart, settings });
    for (let steps = 0; steps < 200; steps++) {
      const next = step.actions.at(-1)!;
      if (next.kind === "exchange") {
        real += 20;
        step = advanceLease(step.state, { ...acked(hourly, 20), now: real + off });
      } else {
        assert(next.kind === "wait", `seed ${random.seed}, run ${run}: ${scenario.word(next)}`);
        real = next.until - off;
        if (random.oneIn(3)) off += random.integer(-10_000, 10_000) * 1000;
        step = advanceLease(step.state, { kind: "timer", now: real + off });
        // However the clock was set: the server's hour is never over before it is asked.
        const { lease } = step.state;
        assert(lease.expireAt - lease.since === 3_600_000);
      }
    }
  }
});

Deno.test("a lease is asked for again before the server's time is over, however a clock is set back", () => {
  const random = new Random(seedOf(447));
  for (let run = 0; run < 300; run++) {
    let [real, off, granted] = [leaseStart, 0, leaseStart];
    let step = bindLease(leaseAt(leaseStart), { now: leaseStart, settings });
    for (let steps = 0; steps < 60; steps++) {
      const next = step.actions.at(-1)!;
      if (next.kind === "exchange") {
        real += 20;
        assert(real - granted < 3_600_000, `seed ${random.seed}, run ${run}`);
        granted = real;
        step = advanceLease(step.state, { ...acked(hourly, 20), now: real + off });
      } else {
        assert(next.kind === "wait");
        real = next.until - off;
        if (random.oneIn(3)) off -= random.integer(0, 10_000) * 1000;
        step = advanceLease(step.state, { kind: "timer", now: real + off });
      }
    }
  }
});
