import { assertEquals } from "@std/assert";
import type { Issue } from "../../../cni/decode.ts";
import type { Message6 } from "../codec/message6.ts";
import type { ExchangeGoal6 } from "../exchange/client_message6.ts";
import type { Lease6 } from "./lease6.ts";
import type { LeaseSettings } from "./lease_machine.ts";
import type { DamagedLease, ScenarioLine } from "./testing_lease.ts";
import { formatIssue } from "../../../cni/decode.ts";
import { formatIp } from "../../../host/ip.ts";
import { Random, seedOf } from "../../../tests/harness/random.ts";
import { decodeMessage6, encodeMessage6 } from "../codec/message6.ts";
import { option6 } from "../codec/options6.ts";
import { serverAnswer6 } from "../codec/server_answer6.ts";
import { hex, ip, mutate } from "../codec/testing_message4.ts";
import { duid, golden6, messageOf6, optionsOf6, serverDuid } from "../codec/testing_message6.ts";
import {
  completedReply6,
  deprecatedAt,
  goalOf6,
  lease6Decoder,
  lease6ToJson,
  leaseOf6,
  leaseParameters6,
  leaseProtocol6,
} from "./lease6.ts";
import { bindLease, resumeLease } from "./lease_machine.ts";
import { sameParameters } from "./parameters4.ts";
import { damagedLeases, expectedOf, LeaseScenario, leaseStart } from "./testing_lease.ts";

const never = 0xffff_ffff;
const reply = decodeMessage6(golden6.reply)!;

interface Times {
  readonly t1?: number;
  readonly t2?: number;
  readonly preferred: number;
  readonly valid: number;
}

const u32 = (seconds: number) => seconds.toString(16).padStart(8, "0");

/** A REPLY with these times, in seconds. */
function ackOf({ t1 = 0, t2 = 0, preferred, valid }: Times) {
  const address = `0005 0018 20010db8 00*11 05 ${u32(preferred)} ${u32(valid)}`;
  return messageOf6(
    7,
    1,
    optionsOf6(
      [1, duid.toHex()],
      [2, serverDuid.toHex()],
      [3, `0a0b0c0d ${u32(t1)} ${u32(t2)} ${address}`],
    ),
  );
}

const hourly = { preferred: 3600, valid: 7200 };
/** What a server gives, and when to renew, to rebind and to stop, all in seconds. */
const given: readonly (readonly [what: string, Times, times: [number, number, number]])[] = [
  ["no T1 or T2", hourly, [1800, 2880, 7200]],
  ["all times", { ...hourly, t1: 600, t2: 1200 }, [600, 1200, 7200]],
  ["T1 alone", { ...hourly, t1: 600 }, [600, 2880, 7200]],
  ["T1 alone, after our T2", { ...hourly, t1: 3000 }, [1800, 2880, 7200]],
  ["T2 alone", { ...hourly, t2: 2000 }, [1800, 2000, 7200]],
  ["T2 alone, before our T1", { ...hourly, t2: 1000 }, [1000, 1000, 7200]],
  ["T1 at T2", { ...hourly, t1: 1000, t2: 1000 }, [1000, 1000, 7200]],
  ["T1 at a late T2", { ...hourly, t1: 2500, t2: 2500 }, [2500, 2500, 7200]],
  ["T2 after the preferred lifetime", { ...hourly, t1: 600, t2: 7199 }, [600, 7199, 7200]],
  ["T2 at the end", { ...hourly, t1: 600, t2: 7200 }, [600, 2880, 7200]],
  ["T2 after the end", { ...hourly, t1: 7300, t2: 7400 }, [1800, 2880, 7200]],
  ["a T1 that is too short", { ...hourly, t1: 1, t2: 1200 }, [1200, 1200, 7200]],
  ["a T2 that is too short", { ...hourly, t1: 2, t2: 2 }, [2, 2880, 7200]],
  ["the shortest times", { t1: 2, t2: 3, preferred: 10, valid: 10 }, [2, 3, 10]],
  ["a T1 that never comes", { ...hourly, t1: never, t2: never }, [1800, 2880, 7200]],
  ["a preferred lifetime that is over", { preferred: 0, valid: 100 }, [50, 80, 100]],
  ["a short preferred lifetime", { preferred: 1, valid: 100 }, [2, 3, 100]],
  ["a lease that is too short", { preferred: 1, valid: 1 }, [2, 3, 4]],
  ["a lease of a few seconds", { preferred: 10, valid: 10 }, [5, 8, 10]],
  ["a preferred lifetime of 4 s, but no T2", { preferred: 4, valid: 100 }, [2, 3.2, 100]],
  ["an endless lease", { preferred: never, valid: never }, [Infinity, Infinity, Infinity]],
  [
    "an endless lease and T1 and T2 that never come",
    { t1: never, t2: never, preferred: never, valid: never },
    [Infinity, Infinity, Infinity],
  ],
  [
    "an endless lease to renew",
    { t1: 600, t2: 1200, preferred: never, valid: never },
    [600, 1200, Infinity],
  ],
  [
    "an endless lease to renew but never to rebind",
    { t1: 600, t2: never, preferred: never, valid: never },
    [600, Infinity, Infinity],
  ],
  [
    "an endless lease that ends to be preferred",
    { preferred: 3600, valid: never },
    [1800, 2880, Infinity],
  ],
  ["the longest lease", { preferred: never - 1, valid: never - 1 }, [
    (never - 1) * 0.5,
    (never - 1) * 0.8,
    never - 1,
  ]],
];

const round = (times: readonly number[]) => times.map((time) => Math.round(time * 1000));
const exact = () => 0;

for (const [what, times, expected] of given) {
  Deno.test(`times of a lease, where the server gives ${what}`, () => {
    const lease = leaseOf6(ackOf(times), { now: 0, age: 0, random: exact });
    assertEquals([lease.renewAt, lease.rebindAt, lease.expireAt], round(expected));
  });
}

Deno.test("times count from the request, and T1 and T2 come up to a twentieth earlier", () => {
  const ack = ackOf({ preferred: 1000, valid: 2000 });
  const lease = leaseOf6(ack, { now: leaseStart, age: 1500.4, random: () => 0.5 });
  assertEquals(lease.ack, ack);
  assertEquals(lease.since, leaseStart - 1500);
  assertEquals(lease.renewAt, lease.since + 487_500);
  assertEquals(lease.rebindAt, lease.since + 780_000);
  assertEquals(lease.expireAt, lease.since + 2_000_000);
});

Deno.test("T1 never comes after T2, whatever the dice say", () => {
  const dice = [0.999, 0];
  const random = () => dice.shift()!;
  const ack = ackOf({ t1: 999, t2: 1000, preferred: 1000, valid: 2000 });
  const lease = leaseOf6(ack, { now: 0, age: 0, random });
  assertEquals(lease.renewAt, lease.rebindAt);
});

Deno.test("an address is deprecated when its preferred lifetime ends", () => {
  const at = (times: Times) =>
    deprecatedAt(leaseOf6(ackOf(times), { now: leaseStart, age: 500, random: exact }));
  assertEquals(at(hourly), leaseStart - 500 + 3_600_000);
  assertEquals(at({ preferred: 0, valid: 7200 }), leaseStart - 500);
  assertEquals(at({ preferred: never, valid: never }), Infinity);
});

const without = (code: number, bytes = golden6.reply) => {
  const plain = decodeMessage6(bytes)!;
  return { ...plain, options: plain.options.filter(([found]) => found !== code) };
};

Deno.test("a lease is made of a whole REPLY alone", () => {
  assertEquals(completedReply6(reply), reply);
  assertEquals(
    completedReply6(decodeMessage6(golden6.rapidReply)!),
    decodeMessage6(golden6.rapidReply)!,
  );
  for (
    const other of [
      decodeMessage6(golden6.advertise)!,
      decodeMessage6(golden6.noAddresses)!,
      without(option6.serverId.code),
      without(option6.iaNa.code),
      ackOf({ preferred: 0, valid: 0 }),
    ]
  ) assertEquals(completedReply6(other), undefined);
});

Deno.test("exchanges about a lease name its address and its server", () => {
  const about = { address: ip("2001:db8::5"), server: serverDuid };
  for (const kind of ["acquire", "renew", "rebind", "release", "decline"] as const) {
    assertEquals(goalOf6(kind, reply), { kind, ...about });
  }
  assertEquals(goalOf6("reboot", reply), { kind: "rebind", ...about });
});

Deno.test("a lease gives an address of its own, no routes, and name servers", () => {
  assertEquals(leaseParameters6(reply), {
    ip: { address: "2001:db8::5/128" },
    routes: [],
    dns: {
      nameservers: ["2001:db8::53", "2001:db8::54"],
      search: ["example.org", "a.example.eu"],
    },
  });
  assertEquals(leaseParameters6(ackOf(hourly)), {
    ip: { address: "2001:db8::5/128" },
    routes: [],
    dns: {},
  });
});

Deno.test("name servers that a result cannot name are left out", () => {
  const servers = hex("fe80 00*13 53 00*16 ff02 00*13 53");
  const { options } = ackOf(hourly);
  const all = [...options, [23, servers] as const];
  assertEquals(leaseParameters6(messageOf6(7, 1, all)).dns, {});
  const more = [...options, [23, hex(`${servers.toHex()} fd00 00*13 53`)] as const];
  assertEquals(leaseParameters6(messageOf6(7, 1, more)).dns, { nameservers: ["fd00::53"] });
});

Deno.test("leases that differ in times alone give the same", () => {
  const grant = leaseParameters6(ackOf(hourly));
  assertEquals(sameParameters(grant, leaseParameters6(ackOf({ preferred: 1, valid: 2 }))), true);
  assertEquals(sameParameters(grant, leaseParameters6(reply)), false);
});

const fromJson = (value: unknown): [Lease6 | undefined, string[]] => {
  const issues: Issue[] = [];
  const lease = lease6Decoder.decode(value, "", issues);
  return [lease, issues.map(formatIssue)];
};

Deno.test("a lease is read from its JSON as it was", () => {
  const acks = [reply, ackOf(hourly), ackOf({ preferred: never, valid: never })];
  for (const ack of acks) {
    const lease = leaseOf6(ack, { now: leaseStart, age: 7, random: exact });
    assertEquals(fromJson(JSON.parse(JSON.stringify(lease6ToJson(lease)))), [lease, []]);
  }
  const first = leaseOf6(reply, { now: 0, age: 0, random: exact });
  assertEquals(fromJson(lease6ToJson(first)), [first, []]);
  const { ack, ...times } = lease6ToJson(
    leaseOf6(reply, { now: leaseStart, age: 0, random: exact }),
  );
  assertEquals(ack, golden6.reply.toHex());
  assertEquals(times, {
    since: leaseStart,
    renewAt: leaseStart + 150_000,
    rebindAt: leaseStart + 240_000,
    expireAt: leaseStart + 600_000,
  });
  const endless = leaseOf6(acks[2]!, { now: leaseStart, age: 0, random: exact });
  const { renewAt, rebindAt, expireAt } = lease6ToJson(endless);
  assertEquals([renewAt, rebindAt, expireAt], ["never", "never", "never"]);
});

const text = (parts: Partial<Record<keyof Lease6, unknown>>) => ({
  ...lease6ToJson(leaseOf6(reply, { now: leaseStart, age: 0, random: exact })),
  ...parts,
});
const ackText = "ack: expected a REPLY with a lease in hexadecimal but received ";
const damaged: readonly DamagedLease[] = [
  ...damagedLeases(text, {
    times: {
      renewAt: leaseStart + 150_000,
      rebindAt: leaseStart + 240_000,
      expireAt: leaseStart + 600_000,
    },
    ackText,
  }),
  ...[
    ["a cut REPLY", golden6.reply.subarray(0, 100)],
    ["an advertisement", golden6.advertise],
    ["a REPLY without a server", encodeMessage6(without(2))],
    ["a REPLY without a lease", golden6.noAddresses],
  ].map(([what, bytes]) => {
    const ack = (bytes as Uint8Array).toHex();
    const cut = ack.length > 78 ? `${ack.slice(0, 76)}…` : `${ack}"`;
    return [`${what}`, text({ ack }), `${ackText}"${cut}`] as const;
  }),
];

for (const [what, value, issue] of damaged) {
  Deno.test(`the JSON of a lease refuses ${what}`, () => assertEquals(fromJson(value)[1], [issue]));
}

Deno.test("every lease that can be made of a damaged REPLY can be kept", () => {
  const random = new Random(seedOf(8415));
  let leases = 0;
  for (let run = 0; run < 20_000; run++) {
    const found = decodeMessage6(mutate(random, golden6.reply));
    const ack = found && completedReply6(found);
    if (!ack) continue;
    leases++;
    const lease = leaseOf6(ack, {
      now: leaseStart,
      age: random.integer(0, 3000),
      random: () => random.next(),
    });
    assertEquals(fromJson(lease6ToJson(lease)), [lease, []], `seed ${random.seed}, run ${run}`);
    leaseParameters6(ack);
    goalOf6("renew", ack);
  }
  assertEquals(leases > 1000, true, `${leases} leases`);
});

const settings: LeaseSettings<Message6, ExchangeGoal6> = {
  protocol: leaseProtocol6,
  random: exact,
};
const scenario = new LeaseScenario<Message6, ExchangeGoal6>(({ ack }) =>
  formatIp(serverAnswer6(ack).leased!.address)
);

const acked = (ack = ackOf(hourly), age = 0) => ({ kind: "acked", ack, age }) as const;
const other = (() => {
  const ack = ackOf(hourly);
  const address = `0005 0018 20010db8 00*11 77 ${u32(3600)} ${u32(7200)}`;
  const ia = optionsOf6([3, `0a0b0c0d 00*8 ${address}`]);
  return { ...ack, options: [...ack.options.filter(([code]) => code !== 3), ...ia] };
})();
const endless = ackOf({ preferred: never, valid: never });

interface Story {
  readonly what: string;
  readonly ack?: Message6;
  /** Seconds since the start at which the agent starts again. */
  readonly resumed?: number;
  readonly first: string;
  readonly lines: readonly ScenarioLine<Message6>[];
}

const stories: readonly Story[] = [
  {
    what: "a lease is renewed at T1, again and again, and the interface told of its times",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, acked(undefined, 500), "store, change 2001:db8::5 2001:db8::5, wait 3600.5"],
      [3600.5, "timer", "renew 208"],
    ],
  },
  {
    what: "renewals that fail go on with rebindings until the valid lifetime ends",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [2008, "failed", "wait 2444"],
      [2444, "timer", "renew 208"],
      [2652, "failed", "wait 2766"],
      [2766, "timer", "renew 114"],
      [2880, "failed", "rebind 208"],
      [3088, "failed", "wait 5144"],
      [5144, "timer", "rebind 208"],
      [5352, "failed", "wait 6276"],
      [6276, "timer", "rebind 208"],
      [7200, "failed", "acquire 60"],
      [7260, "failed", "end: expired"],
    ],
  },
  {
    what: "a refused renewal takes the address away and looks for another lease",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1801, "refused", "store, withdraw, acquire 208"],
      [1803, acked(other), "store, change 2001:db8::5 2001:db8::77, wait 3603"],
    ],
  },
  {
    what: "a REPLY without a lease is no answer",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1800, acked(decodeMessage6(golden6.noAddresses)!), "wait 2340"],
    ],
  },
  {
    what: "an endless lease that is given again changes nothing",
    ack: endless,
    resumed: -60,
    first: "store, rebind 30",
    lines: [[-59, acked(endless), "store, wait 3541"]],
  },
  {
    what: "other name servers are a change, too",
    first: "store, wait 1800",
    lines: [
      [1800, "timer", "renew 208"],
      [1800, acked(reply), "store, change 2001:db8::5 2001:db8::5, wait 1950"],
    ],
  },
  {
    what: "an endless lease asks nobody, and is given back",
    ack: endless,
    first: "store, wait 3600",
    lines: [
      [3600, "timer", "wait 7200"],
      [7300, "stop", "release from container, end: stopped"],
    ],
  },
  {
    what: "a clock that is set back takes the lease along",
    first: "store, wait 1800",
    lines: [[-1800, "timer", "store, renew 208"], [
      -1799,
      acked(),
      "store, change 2001:db8::5 2001:db8::5, wait 1",
    ]],
  },
  {
    what: "a clock that is set ahead past the end asks every server before it gives up",
    first: "store, wait 1800",
    lines: [
      [90_000, "timer", "rebind 30"],
      [90_001, acked(), "store, change 2001:db8::5 2001:db8::5, wait 91801"],
    ],
  },
  {
    what: "a restart changes nothing while the lease lasts",
    resumed: 1000,
    first: "wait 1800",
    lines: [[1800, "timer", "renew 208"]],
  },
  {
    what: "a lease that ended during a restart is bound anew or given up",
    resumed: 9000,
    first: "rebind 30",
    lines: [[9030, "failed", "acquire 60"], [9090, "failed", "end: expired"]],
  },
  {
    what: "a lease from the future is bound anew",
    resumed: -5000,
    first: "store, rebind 30",
    lines: [[-4970, "failed", "wait -3200"]],
  },
];

for (const { what, ack = ackOf(hourly), resumed, first, lines } of stories) {
  Deno.test(`kept: ${what}`, () => {
    const lease = leaseOf6(ack, { now: leaseStart, age: 0, random: exact });
    const using = { now: leaseStart + (resumed ?? 0) * 1000, settings };
    const step = resumed === undefined ? bindLease(lease, using) : resumeLease(lease, using);
    assertEquals(scenario.words(step), first);
    assertEquals(scenario.play(step, lines).outputs, expectedOf(lines));
  });
}
