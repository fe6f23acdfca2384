import { assert, assertEquals } from "@std/assert";
import type { Message6, OptionEntry6 } from "../codec/message6.ts";
import type { Client6, ExchangeGoal6 } from "./client_message6.ts";
import type { ExchangeCounts6 } from "./counts6.ts";
import type {
  ExchangeOutcome6,
  ExchangeSetup6,
  ExchangeState6,
  ExchangeStep6,
} from "./exchange6.ts";
import { formatIp } from "../../../host/ip.ts";
import { Random, seedOf } from "../../../tests/harness/random.ts";
import { decodeMessage6, encodeMessage6 } from "../codec/message6.ts";
import { option6, readOption6 } from "../codec/options6.ts";
import { hex, ip, mutate, randomBytes } from "../codec/testing_message4.ts";
import {
  duid,
  golden6,
  iaid,
  messageOf6,
  optionsOf6,
  serverDuid,
} from "../codec/testing_message6.ts";
import { allRelayAgentsAndServers } from "./client_message6.ts";
import { beginExchange6, receive6, tick6 } from "./exchange6.ts";

const client: Client6 = { duid, iaid, requested: [23, 24], provided: [] };
const address = ip("2001:db8::5");
const goals = {
  acquire: { kind: "acquire" },
  reboot: { kind: "reboot", address },
  renew: { kind: "renew", address, server: serverDuid },
  rebind: { kind: "rebind", address },
  release: { kind: "release", address, server: serverDuid },
  decline: { kind: "decline", address, server: serverDuid },
} as const satisfies Record<ExchangeGoal6["kind"], ExchangeGoal6>;

/** Draws the `xid` of the golden packets for each message, and the middle for each wait. */
function dice(): () => number {
  let draws = 0;
  return () => draws++ % 2 === 0 ? 0x123456 / 2 ** 24 : 0.5;
}

function setup(goal: ExchangeGoal6, parts: Partial<ExchangeSetup6> = {}): ExchangeSetup6 {
  return { goal, client, now: 0, deadline: 208_000, random: () => 0.5, ...parts };
}

function open(turn: ExchangeStep6): ExchangeStep6 & { done: false } {
  if (turn.done) throw new Error(`over: ${JSON.stringify(turn.outcome)}`);
  return turn;
}

function over(turn: ExchangeStep6): ExchangeOutcome6 {
  if (!turn.done) throw new Error("not over");
  return turn.outcome;
}

function sentBy(turn: ExchangeStep6): Message6 | undefined {
  return turn.send && decodeMessage6(turn.send.bytes);
}

const serverA = "0003 0001 020000000099";
const serverB = "0003 0001 0200000000bb";
/** What a server says: a lease of 300 s and 600 s unless it is told otherwise. */
interface Says {
  readonly server?: string;
  readonly client?: string;
  readonly xid?: number;
  /** What is in the association; none of it at all when `false`. */
  readonly ia?: string | false;
  readonly iaid?: string;
  readonly more?: readonly (readonly [code: number, text: string])[];
}

const leased = "0005 0018 20010db8 00*11 05 0000012c 00000258";
const none: Says = { ia: "000d 0006 0002 66756c6c" };

function say(type: 2 | 7, turn: ExchangeStep6, says: Says = {}): Uint8Array {
  const { server = serverA, client = duid.toHex(), ia = leased, more = [] } = says;
  const { solicited, xid } = open(turn).state;
  const iaOption = [3, `${says.iaid ?? "0a0b0c0d"} 00000096 000000f0 ${ia}`] as const;
  return encodeMessage6(messageOf6(
    type,
    // Between two attempts nothing answers.
    says.xid ?? Math.max(type === 2 ? solicited : xid, 0),
    optionsOf6(
      ...(client ? [[1, client] as const] : []),
      ...(server ? [[2, server] as const] : []),
      ...(ia === false ? [] : [iaOption]),
      ...more,
    ),
  ));
}

const advertise = (turn: ExchangeStep6, says?: Says) => say(2, turn, says);
const reply = (turn: ExchangeStep6, says?: Says) => say(7, turn, says);
const rapid: Says = { more: [[14, ""]] };
const preference = (text: string) => ({ more: [[7, text]] } as const);
const status = (code: number): Says => ({ more: [[13, `000${code}`]] });

/** Hands in a packet at some time. */
function hand(turn: ExchangeStep6, packet: Uint8Array, now = open(turn).until - 1): ExchangeStep6 {
  return receive6(open(turn).state, { packet, now });
}

/** Lets time pass until something happens. */
function pass(turn: ExchangeStep6, times = 1): ExchangeStep6 {
  return times === 0 ? turn : pass(tick6(open(turn).state, open(turn).until), times - 1);
}

function counts(
  { malformed = 0, foreign = 0, unusable = 0, ...rest }:
    & Partial<Omit<ExchangeCounts6, "ignored">>
    & Partial<ExchangeCounts6["ignored"]>,
): ExchangeCounts6 {
  const ignored = { malformed, foreign, unusable };
  const sent = { solicit: 0, request: 0, confirm: 0, renew: 0, rebind: 0, release: 0, decline: 0 };
  return { ...sent, advertise: 0, reply: 0, ...rest, ignored };
}

const sentFirst: readonly (readonly [keyof typeof goals, keyof typeof golden6])[] = [
  ["acquire", "solicit"],
  ["reboot", "confirm"],
  ["renew", "renew"],
  ["release", "release"],
  ["decline", "decline"],
];

for (const [kind, packet] of sentFirst) {
  Deno.test(`${kind} sends the golden packet at once, to all servers`, () => {
    const { send, done } = beginExchange6(setup(goals[kind], { random: dice() }));
    assertEquals(send!.bytes.toHex(), golden6[packet].toHex());
    assertEquals([send!.to, done], [ip("ff02::1:2"), false]);
    assertEquals(send!.to, allRelayAgentsAndServers);
  });
}

Deno.test("acquire wishes for an address with the golden packet", () => {
  const { send } = beginExchange6(setup({ kind: "acquire", address }, { random: dice() }));
  assertEquals(send!.bytes.toHex(), golden6.solicitAddress.toHex());
});

Deno.test("rebind sends the golden packet, later with the time since", () => {
  const first = beginExchange6(setup(goals.rebind, { random: dice() }));
  assertEquals(readOption6(sentBy(first)!.options, option6.elapsedTime), 0);
  const second = pass(first);
  assertEquals(second.send!.bytes.toHex(), golden6.rebind.toHex());
  assertEquals(formatIp(second.send!.to), "ff02::1:2");
});

Deno.test("acquire requests the golden advertisement and takes the golden reply", () => {
  const solicit = beginExchange6(setup(goals.acquire, { random: dice() }));
  const heard = receive6(open(solicit).state, { packet: golden6.advertise, now: 20 });
  assertEquals([heard.send, open(heard).until], [undefined, 1050]);
  const request = tick6(open(heard).state, 1050);
  assertEquals(request.send!.bytes.toHex(), golden6.request.toHex());
  assertEquals(formatIp(request.send!.to), "ff02::1:2");
  const outcome = over(receive6(open(request).state, { packet: golden6.reply, now: 1075 }));
  assertEquals(outcome, {
    kind: "acked",
    ack: decodeMessage6(golden6.reply)!,
    age: 25,
    counts: counts({ solicit: 1, request: 1, advertise: 1, reply: 1 }),
  });
});

Deno.test("acquire takes a lease that is given at once", () => {
  const solicit = beginExchange6(setup(goals.acquire, { random: dice() }));
  assertEquals(over(receive6(open(solicit).state, { packet: golden6.rapidReply, now: 7 })), {
    kind: "acked",
    ack: decodeMessage6(golden6.rapidReply)!,
    age: 7,
    counts: counts({ solicit: 1, reply: 1 }),
  });
});

for (const kind of ["renew", "rebind"] as const) {
  Deno.test(`${kind} takes the golden reply`, () => {
    const { state } = open(beginExchange6(setup(goals[kind], { random: dice() })));
    assertEquals(over(receive6(state, { packet: golden6.reply, now: 7 })), {
      kind: "acked",
      ack: decodeMessage6(golden6.reply)!,
      age: 7,
      counts: counts({ [kind]: 1, reply: 1 }),
    });
  });
}

for (const kind of ["release", "decline"] as const) {
  for (
    const [what, says] of [["success", status(0)], ["NoBinding", status(3)], ["nothing", {
      ia: false,
    }]] as const
  ) {
    Deno.test(`${kind} ends with a reply that says ${what}`, () => {
      const turn = beginExchange6(setup(goals[kind]));
      assertEquals(over(hand(turn, reply(turn, says))), {
        kind: "sent",
        counts: counts({ [kind]: 1, reply: 1 }),
      });
    });
  }
}

for (const [what, says] of [["success", status(0)], ["nothing", {}]] as const) {
  Deno.test(`reboot is confirmed by a reply that says ${what}`, () => {
    const turn = beginExchange6(setup(goals.reboot));
    assertEquals(over(hand(turn, reply(turn, { ia: false, ...says }))), {
      kind: "confirmed",
      counts: counts({ confirm: 1, reply: 1 }),
    });
  });
}

/** Lets time pass until the end: when what was sent, and how it ended. */
function run(
  first: ExchangeStep6,
  start = 0,
): { sent: [number, number][]; end: number; outcome: ExchangeOutcome6 } {
  const sent: [number, number][] = [];
  let [turn, now] = [first, start];
  for (let steps = 0; steps < 200; steps++) {
    const type = sentBy(turn)?.type;
    if (type) sent.push([now, type]);
    if (turn.done) return { sent, end: now, outcome: turn.outcome };
    now = turn.until;
    turn = tick6(turn.state, now);
  }
  throw new Error("no end");
}

interface Timeline {
  readonly what: string;
  readonly goal: ExchangeGoal6;
  readonly parts: Partial<ExchangeSetup6>;
  /** Milliseconds. */
  readonly sent: readonly number[];
  /** Milliseconds. */
  readonly end: number;
}

const timelines: readonly Timeline[] = [
  {
    what: "1.05 s and its doubles up to the deadline for SOLICIT",
    goal: goals.acquire,
    parts: {},
    sent: [0, 1050, 3150, 7350, 15_750, 32_550, 66_150, 133_350],
    end: 208_000,
  },
  {
    what: "3600 s at most between two SOLICIT",
    goal: goals.acquire,
    parts: { deadline: 20_000_000 },
    sent: [
      ...[0, 1050, 3150, 7350, 15_750, 32_550, 66_150, 133_350, 267_750, 536_550, 1_074_150],
      ...[2_149_350, 4_299_750, 7_899_750, 11_499_750, 15_099_750, 18_699_750],
    ],
    end: 20_000_000,
  },
  {
    what: "10 s and its doubles for RENEW",
    goal: goals.renew,
    parts: {},
    sent: [0, 10_000, 30_000, 70_000, 150_000],
    end: 208_000,
  },
  {
    what: "600 s at most between two RENEW",
    goal: goals.renew,
    parts: { deadline: 2_500_000 },
    sent: [0, 10_000, 30_000, 70_000, 150_000, 310_000, 630_000, 1_230_000, 1_830_000, 2_430_000],
    end: 2_500_000,
  },
  {
    what: "600 s at most between two REBIND",
    goal: goals.rebind,
    parts: { deadline: 1_900_000 },
    sent: [0, 10_000, 30_000, 70_000, 150_000, 310_000, 630_000, 1_230_000, 1_830_000],
    end: 1_900_000,
  },
  {
    what: "a quarter of the time there is for RENEW, where that is less",
    goal: goals.renew,
    parts: { deadline: 12_000 },
    sent: [0, 3000, 9000],
    end: 12_000,
  },
  {
    what: "a quarter, whatever the clock says",
    goal: goals.rebind,
    parts: { now: 100_000, deadline: 112_000 },
    sent: [100_000, 103_000, 109_000],
    end: 112_000,
  },
  {
    what: "but no less than a second",
    goal: goals.rebind,
    parts: { deadline: 2500 },
    sent: [0, 1000],
    end: 2500,
  },
  {
    what: "10 s in all for CONFIRM, 4 s at most between two",
    goal: goals.reboot,
    parts: {},
    sent: [0, 1000, 3000, 7000],
    end: 10_000,
  },
  {
    what: "four times RELEASE",
    goal: goals.release,
    parts: {},
    sent: [0, 1000, 3000, 7000],
    end: 15_000,
  },
  {
    what: "four times DECLINE",
    goal: goals.decline,
    parts: {},
    sent: [0, 1000, 3000, 7000],
    end: 15_000,
  },
  {
    what: "not after the deadline",
    goal: goals.release,
    parts: { now: 5000, deadline: 6500 },
    sent: [5000, 6000],
    end: 6500,
  },
  {
    what: "one packet at least, however late it is",
    goal: goals.acquire,
    parts: { deadline: -1 },
    sent: [0],
    end: -1,
  },
];

for (const { what, goal, parts, sent, end } of timelines) {
  Deno.test(`without an answer: ${what}`, () => {
    const found = run(beginExchange6(setup(goal, parts)), parts.now);
    assertEquals(found.sent.map(([at]) => at), [...sent]);
    assertEquals(found.end, end);
    assertEquals(found.outcome.kind, "failed");
  });
}

const requests: readonly Timeline[] = [
  {
    what: "ten times, and then it is looked for a server again after a second",
    goal: goals.acquire,
    parts: { deadline: 3_000_000 },
    sent: [0, 1000, 3000, 7000, 15_000, 31_000, 61_000, 91_000, 121_000, 151_000],
    end: 182_000,
  },
  {
    what: "for a third of the time there is, and then it is looked for a server again",
    goal: goals.acquire,
    parts: { deadline: 31_050 },
    sent: [0, 1000, 3000, 7000],
    end: 11_000,
  },
];

for (const { what, goal, parts, sent, end } of requests) {
  Deno.test(`a REQUEST that nobody answers goes ${what}`, () => {
    const solicit = beginExchange6(setup(goal, parts));
    const request = pass(hand(solicit, advertise(solicit)));
    const found = run(request, 1050).sent;
    const expected = sent.map((at): [number, number] => [1050 + at, 3]);
    assertEquals(found.slice(0, sent.length + 1), [...expected, [1050 + end, 1]]);
  });
}

/** The first waits of an exchange in milliseconds. */
function waits(goal: ExchangeGoal6, random: () => number): number[] {
  let turn = beginExchange6(setup(goal, { deadline: 1e9, random }));
  let now = 0;
  return Array.from({ length: 4 }, () => {
    const { until, state } = open(turn);
    const wait = until - now;
    [now, turn] = [until, tick6(state, until)];
    return Math.round(wait);
  });
}

const varied: readonly (readonly [keyof typeof goals, dice: number, waits: number[]])[] = [
  // Never less than IRT at first.
  ["acquire", 0, [1100, 2090, 3971, 7545]],
  ["acquire", 0.75, [1025, 2101, 4308, 8831]],
  ["acquire", 1 - 2 ** -32, [1000, 2100, 4410, 9261]],
  ["renew", 0, [9000, 17_100, 32_490, 61_731]],
  ["renew", 0.75, [10_500, 21_525, 44_126, 90_459]],
  ["reboot", 0, [900, 1710, 3249, 3600]],
  ["reboot", 0.75, [1050, 2153, 4200, 2598]],
];

for (const [kind, value, expected] of varied) {
  Deno.test(`waits of ${kind} vary by a tenth with the dice, here ${value}`, () => {
    assertEquals(waits(goals[kind], () => value).slice(0, expected.length), expected);
  });
}

Deno.test("every sending says the hundredths of a second since the message first went", () => {
  const elapsed = (turn: ExchangeStep6) => readOption6(sentBy(turn)!.options, option6.elapsedTime);
  const first = beginExchange6(setup(goals.acquire, { now: 1_000_000, deadline: 1e9 }));
  const second = tick6(open(first).state, 1_010_999);
  assertEquals([elapsed(first), elapsed(second)], [0, 1099]);
  const request = hand(second, advertise(second), 1_015_000);
  assertEquals(elapsed(request), 0);
  assertEquals(elapsed(tick6(open(request).state, 1_016_500)), 150);
  assertEquals(elapsed(tick6(open(first).state, 1_655_350)), 65_535);
  assertEquals(elapsed(tick6(open(first).state, 1_655_360)), 65_535);
  assertEquals(elapsed(tick6({ ...open(first).state, until: 0 }, 999_000)), 0);
});

Deno.test("all sendings of one message have one xid, the next message another", () => {
  const random = new Random(seedOf(6));
  let turn = beginExchange6(setup(goals.acquire, { random: () => random.next() }));
  const found = [sentBy(turn)!.xid];
  turn = pass(turn);
  found.push(sentBy(turn)!.xid);
  turn = hand(turn, advertise(turn));
  found.push(sentBy(turn)!.xid);
  turn = pass(turn);
  found.push(sentBy(turn)!.xid);
  assertEquals([found[0] === found[1], found[1] === found[2], found[2] === found[3]], [
    true,
    false,
    true,
  ]);
});

Deno.test("before its time nothing happens", () => {
  const first = open(beginExchange6(setup(goals.acquire)));
  assertEquals(tick6(first.state, 1049), { done: false, until: 1050, state: first.state });
});

/** The server that is asked after the first wait. */
function asked(turn: ExchangeStep6): string | undefined {
  return readOption6(sentBy(turn)?.options ?? [], option6.serverId)?.toHex();
}

const a = hex(serverA).toHex();
const b = hex(serverB).toHex();

Deno.test("the highest preference is taken, after the first wait", () => {
  let turn = beginExchange6(setup(goals.acquire));
  turn = hand(turn, advertise(turn), 10);
  turn = hand(turn, advertise(turn, { server: serverB, ...preference("01") }), 20);
  turn = hand(turn, advertise(turn, { server: "0003 07", ...preference("00") }), 30);
  assertEquals([turn.send, open(turn).until], [undefined, 1050]);
  assertEquals(asked(pass(turn)), b);
});

Deno.test("the first of equal preferences is taken", () => {
  let turn = beginExchange6(setup(goals.acquire));
  turn = hand(turn, advertise(turn, { server: serverB }), 10);
  turn = hand(turn, advertise(turn, { server: serverA, ...preference("00") }), 20);
  assertEquals(asked(pass(turn)), b);
});

Deno.test("the preference 255 ends the wait at once, 254 does not", () => {
  let turn = beginExchange6(setup(goals.acquire));
  turn = hand(turn, advertise(turn, preference("fe")), 10);
  assertEquals(turn.send, undefined);
  turn = hand(turn, advertise(turn, { server: serverB, ...preference("ff") }), 20);
  assertEquals(asked(turn), b);
  assertEquals(open(turn).until, 1020);
});

Deno.test("a malformed preference is none", () => {
  let turn = beginExchange6(setup(goals.acquire));
  turn = hand(turn, advertise(turn, preference("ff00")), 10);
  turn = hand(turn, advertise(turn, { server: serverB, ...preference("01") }), 20);
  assertEquals(asked(pass(turn)), b);
});

Deno.test("after the first wait the first advertisement is taken at once", () => {
  const turn = pass(beginExchange6(setup(goals.acquire)));
  assertEquals(asked(hand(turn, advertise(turn), 1100)), a);
});

Deno.test("a server that does not answer is left for the next best", () => {
  let turn = beginExchange6(setup(goals.acquire, { deadline: 31_050 }));
  turn = hand(turn, advertise(turn, { server: serverB }), 10);
  turn = pass(hand(turn, advertise(turn, preference("02")), 20));
  assertEquals(asked(turn), a);
  // An advertisement that comes late counts, too.
  turn = hand(turn, advertise(turn, { server: "0003 07", ...preference("01") }), 1060);
  assertEquals(turn.send, undefined);
  turn = pass(turn, 4);
  assertEquals([open(turn).state.sentAt, asked(turn)], [11_050, "000307"]);
  turn = pass(turn, 3);
  assertEquals([sentBy(turn)!.type, asked(turn)], [3, b]);
  assertEquals(open(turn).state.counts, counts({ solicit: 1, request: 8, advertise: 3 }));
});

const refusals: readonly (readonly [what: string, Says])[] = [
  ["NoAddrsAvail of the association", none],
  ["NoAddrsAvail of the whole", status(2)],
  ["NoBinding", status(3)],
  ["NotOnLink", status(4)],
  ["a status that nobody knows", status(9)],
  ["an address that has ended", { ia: "0005 0018 20010db8 00*11 05 00*8" }],
];

for (const [what, says] of refusals) {
  Deno.test(`a server that answers REQUEST with ${what} is left for the next`, () => {
    let turn = beginExchange6(setup(goals.acquire));
    turn = hand(turn, advertise(turn, { server: serverB }), 10);
    turn = pass(hand(turn, advertise(turn, preference("02")), 20));
    turn = hand(turn, reply(turn, says), 1100);
    assertEquals([asked(turn), open(turn).state.counts.reply], [b, 1]);
    assertEquals(open(turn).state.refusal, undefined);
  });

  Deno.test(`after ${what} of the last server it is looked for one again`, () => {
    let turn = beginExchange6(setup(goals.acquire));
    turn = pass(hand(turn, advertise(turn)));
    const request = turn;
    turn = hand(turn, reply(turn, says), 1100);
    assertEquals([turn.send, open(turn).until], [undefined, 2100]);
    for (const late of [advertise(request, { server: serverB }), reply(request)]) {
      turn = hand(turn, late, 1200);
    }
    assertEquals(open(turn).state.counts.ignored.foreign, 2);
    turn = pass(turn);
    assertEquals([sentBy(turn)!.type, open(turn).state.sentAt], [1, 2100]);
    // The second time it waits twice as long.
    turn = pass(hand(turn, advertise(turn)));
    assertEquals(asked(turn), a);
    const { sentAt } = open(turn).state;
    turn = hand(turn, reply(turn, says), sentAt);
    assertEquals(open(turn).until, sentAt + 2000);
  });
}

Deno.test("pauses double up to 64 s", () => {
  let turn = beginExchange6(setup(goals.acquire, { deadline: 1e9 }));
  const found: number[] = [];
  while (found.length < 9) {
    turn = pass(hand(turn, advertise(turn)));
    const { sentAt } = open(turn).state;
    turn = hand(turn, reply(turn, none), sentAt);
    found.push(open(turn).until - sentAt);
    turn = pass(turn);
  }
  assertEquals(found, [1, 2, 4, 8, 16, 32, 64, 64, 64].map((seconds) => seconds * 1000));
});

for (const [what, says] of [["UnspecFail", status(1)], ["UseMulticast", status(5)]] as const) {
  Deno.test(`${what} changes nothing but the words: the message goes again in its time`, () => {
    for (const goal of [goals.renew, goals.rebind, goals.release, goals.decline, goals.reboot]) {
      const turn = open(beginExchange6(setup(goal)));
      const told = open(hand(turn, reply(turn, says)));
      assertEquals([told.send, told.until], [undefined, turn.until]);
      assertEquals(told.state.counts.reply, 1);
      assert(told.state.refusal!.startsWith(`server answered ${what}: `), told.state.refusal);
      if (goal.kind !== "reboot") assertEquals(sentBy(pass(told))!.type, sentBy(turn)!.type);
    }
    const solicit = beginExchange6(setup(goals.acquire));
    const request = open(pass(hand(solicit, advertise(solicit))));
    const told = open(hand(request, reply(request, says)));
    assertEquals([told.send, told.until], [undefined, request.until]);
    assertEquals(asked(pass(told)), a);
  });
}

const withdrawn: Says = { ia: "0005 0018 20010db8 00*11 05 00*8" };
const refusing: readonly (readonly [keyof typeof goals, Says, message: string])[] = [
  ["renew", status(4), "server answered NotOnLink: the address does not belong on this link"],
  ["rebind", status(4), "server answered NotOnLink: the address does not belong on this link"],
  ["renew", withdrawn, "server withdrew the address"],
  ["rebind", withdrawn, "server withdrew the address"],
  [
    "rebind",
    { ...withdrawn, more: [[13, "0002"]] },
    "server answered NoAddrsAvail: it has no address to give",
  ],
  [
    "renew",
    { more: [[13, "0009 6e6f"]] },
    "server answered status 9: which is not known here (msg: no)",
  ],
];

for (const [kind, says, text] of refusing) {
  Deno.test(`${kind} is refused: ${text}`, () => {
    const turn = beginExchange6(setup(goals[kind]));
    assertEquals(over(hand(turn, reply(turn, says))), {
      kind: "refused",
      message: text,
      counts: counts({ [kind]: 1, reply: 1 }),
    });
  });
}

for (const kind of ["renew", "rebind"] as const) {
  Deno.test(`${kind} requests the address anew of a server that does not know the lease`, () => {
    const turn = beginExchange6(setup(goals[kind], { random: dice() }));
    const request = hand(turn, reply(turn, { ia: "000d 0002 0003" }), 100);
    assertEquals(request.send!.bytes.toHex(), golden6.request.toHex());
    assertEquals(over(receive6(open(request).state, { packet: golden6.reply, now: 130 })), {
      kind: "acked",
      ack: decodeMessage6(golden6.reply)!,
      age: 30,
      counts: counts({ [kind]: 1, request: 1, reply: 2 }),
    });
    const other = hand(request, reply(request, { server: serverB }));
    assertEquals(open(other).state.counts.ignored.unusable, 1);
    const refused = over(hand(request, reply(request, none)));
    assertEquals(
      "message" in refused && [refused.kind, refused.message],
      ["refused", "server answered NoAddrsAvail: it has no address to give (msg: full)"],
    );
    const unanswered = run(request, 100);
    // A third of the time that is left.
    assertEquals([unanswered.sent.length, unanswered.end], [7, 100 + 207_900 / 3]);
    assertEquals(unanswered.outcome, {
      kind: "refused",
      message: "server answered NoBinding: it knows of no such lease",
      counts: counts({ [kind]: 1, request: 7, reply: 1 }),
    });
  });

  Deno.test(`${kind} goes on where a server has no more time to give`, () => {
    const turn = beginExchange6(setup(goals[kind], { deadline: 5000 }));
    const told = hand(turn, reply(turn, none));
    assertEquals(sentBy(pass(told))!.type, sentBy(turn)!.type);
    const { outcome } = run(told);
    assertEquals(
      "message" in outcome && outcome.message,
      `no more tries: 3 ${kind.toUpperCase()} sent, 1 REPLY received; ` +
        "server answered NoAddrsAvail: it has no address to give (msg: full)",
    );
  });
}

Deno.test("reboot is refused when its wait is over and nobody has confirmed", () => {
  const turn = beginExchange6(setup(goals.reboot));
  const told = hand(turn, reply(turn, { ia: false, ...status(4) }), 100);
  assertEquals(open(told).until, 1000);
  assertEquals(over(pass(told)), {
    kind: "refused",
    message: "server answered NotOnLink: the address does not belong on this link",
    counts: counts({ confirm: 1, reply: 1 }),
  });
  const other = reply(told, { ia: false, server: serverB, ...status(0) });
  assertEquals(over(hand(told, other)).kind, "confirmed");
});

Deno.test("an answer says how long the next waits may be", () => {
  const wait = (packet: (turn: ExchangeStep6) => Uint8Array) => {
    const first = beginExchange6(setup(goals.acquire, { deadline: 1e9 }));
    const last = pass(hand(first, packet(first)), 9);
    return open(last).until - open(last).state.sentAt;
  };
  assertEquals(wait((turn) => advertise(turn, { ...none, more: [[82, "0000003c"]] })), 60_000);
  assertEquals(wait((turn) => advertise(turn, { ...none, more: [[82, "0000003b"]] })), 537_600);
  assertEquals(wait((turn) => advertise(turn, { more: [[82, "0000003c"]], xid: 9 })), 537_600);
});

Deno.test("a second advertisement of a server is counted and not remembered", () => {
  let turn = beginExchange6(setup(goals.acquire));
  for (let times = 0; times < 3; times++) turn = hand(turn, advertise(turn), 10);
  assertEquals(open(turn).state.counts, counts({ solicit: 1, advertise: 3 }));
  assertEquals(open(turn).state.others.length, 1);
});

Deno.test("a flood of servers is counted and not remembered", () => {
  let turn = beginExchange6(setup(goals.acquire));
  for (let number = 16; number < 216; number++) {
    turn = hand(turn, advertise(turn, { server: `0003 ${number.toString(16)}` }), 10);
  }
  assertEquals(open(turn).state.counts.advertise, 200);
  assertEquals(open(turn).state.others.length, 16);
  assertEquals(asked(pass(turn)), "000310");
});

type Ignoring = readonly [
  what: string,
  why: keyof ExchangeCounts6["ignored"],
  goal: ExchangeGoal6,
  packet: (turn: ExchangeStep6) => Uint8Array,
];

const noRapid = { ...client, rapidCommit: false };
const ignored: readonly Ignoring[] = [
  ["nothing", "malformed", goals.acquire, () => new Uint8Array()],
  ["a message of DHCPv4", "malformed", goals.acquire, () => new Uint8Array(300)],
  ["a cut packet", "malformed", goals.acquire, () => golden6.advertise.subarray(0, 60)],
  ["another xid", "foreign", goals.acquire, (turn) => advertise(turn, { xid: 1 })],
  ["a reply of another xid", "foreign", goals.renew, (turn) => reply(turn, { xid: 1 })],
  ["another client", "foreign", goals.acquire, (turn) => advertise(turn, { client: "0004 01" })],
  [
    "a longer identifier of the client",
    "foreign",
    goals.acquire,
    (turn) => advertise(turn, { client: `${duid.toHex()} 00` }),
  ],
  ["no client", "foreign", goals.acquire, (turn) => advertise(turn, { client: "" })],
  ["no client", "foreign", goals.renew, (turn) => reply(turn, { client: "" })],
  ["an advertisement", "foreign", goals.renew, (turn) => {
    return advertise(turn, { xid: open(turn).state.xid });
  }],
  ["a request", "unusable", goals.renew, (turn) => {
    const { xid } = open(turn).state;
    return encodeMessage6({ ...decodeMessage6(golden6.request)!, xid });
  }],
  ["a wish of the server to be asked", "unusable", goals.renew, (turn) => {
    return encodeMessage6({ ...decodeMessage6(reply(turn))!, type: 10 });
  }],
  ["no server", "unusable", goals.acquire, (turn) => advertise(turn, { server: "" })],
  ["a malformed server", "unusable", goals.acquire, (turn) => advertise(turn, { server: "0003" })],
  ["no server", "unusable", goals.renew, (turn) => reply(turn, { server: "" })],
  ["no server", "unusable", goals.rebind, (turn) => reply(turn, { server: "" })],
  ["no server", "unusable", goals.reboot, (turn) => reply(turn, { server: "", ia: false })],
  ["another server", "unusable", goals.renew, (turn) => reply(turn, { server: serverB })],
  ["another server", "unusable", goals.release, (turn) => reply(turn, { server: serverB })],
  ["another server", "unusable", goals.decline, (turn) => reply(turn, { server: serverB })],
  [
    "another association",
    "unusable",
    goals.acquire,
    (turn) => advertise(turn, { iaid: "0a0b0c0e" }),
  ],
  ["another association", "unusable", goals.renew, (turn) => reply(turn, { iaid: "0a0b0c0e" })],
  [
    "the status of another association",
    "unusable",
    goals.renew,
    (turn) => reply(turn, { iaid: "0a0b0c0e", ia: "000d 0002 0003" }),
  ],
  ["no association", "unusable", goals.acquire, (turn) => advertise(turn, { ia: false })],
  ["no association", "unusable", goals.renew, (turn) => reply(turn, { ia: false })],
  ["no address", "unusable", goals.acquire, (turn) => advertise(turn, { ia: "" })],
  ["no address", "unusable", goals.renew, (turn) => reply(turn, { ia: "" })],
  ["no address", "unusable", goals.rebind, (turn) => reply(turn, { ia: "" })],
  ["an address that has ended", "unusable", goals.acquire, (turn) => advertise(turn, withdrawn)],
  [
    "a link-local address",
    "unusable",
    goals.acquire,
    (turn) => advertise(turn, { ia: "0005 0018 fe80 00*13 05 0000012c 00000258" }),
  ],
  [
    "an address preferred for longer than valid",
    "unusable",
    goals.renew,
    (turn) => reply(turn, { ia: "0005 0018 20010db8 00*11 05 00000259 00000258" }),
  ],
  ["a reply that is not at once", "unusable", goals.acquire, (turn) => reply(turn)],
  [
    "a reply at once without address",
    "unusable",
    goals.acquire,
    (turn) => reply(turn, { ...rapid, ia: "" }),
  ],
];

for (const [what, why, goal, packet] of ignored) {
  Deno.test(`${goal.kind} ignores ${what} as ${why}`, () => {
    const first = open(beginExchange6(setup(goal)));
    const next = open(hand(first, packet(first)));
    assertEquals([next.send, next.until], [undefined, first.until]);
    const { counts: before, ...rest } = first.state;
    const { counts: after, ...same } = next.state;
    assertEquals(same, rest);
    assertEquals(after, { ...before, ignored: { ...before.ignored, [why]: 1 } });
  });
}

Deno.test("a lease at once is ignored by who did not ask for it", () => {
  const turn = beginExchange6(setup(goals.acquire, { client: noRapid }));
  assertEquals(readOption6(sentBy(turn)!.options, option6.rapidCommit), undefined);
  const next = open(hand(turn, reply(turn, rapid)));
  assertEquals(next.state.counts.ignored.unusable, 1);
});

Deno.test("a refusal at once is remembered, and others may still advertise", () => {
  const turn = beginExchange6(setup(goals.acquire));
  const told = hand(turn, reply(turn, { ...rapid, ...none }), 10);
  assertEquals([told.send, open(told).state.counts.reply], [undefined, 1]);
  assertEquals(asked(pass(hand(told, advertise(told, { server: serverB }), 20))), b);
});

for (const kind of ["reboot", "rebind"] as const) {
  Deno.test(`${kind} listens to any server`, () => {
    const turn = beginExchange6(setup(goals[kind]));
    const outcome = over(hand(turn, reply(turn, { server: serverB })));
    assertEquals(outcome.kind, kind === "reboot" ? "confirmed" : "acked");
  });
}

Deno.test("goals that are for all servers do not heed one that they hold", () => {
  for (const kind of ["acquire", "reboot", "rebind"] as const) {
    const turn = beginExchange6(setup({ ...goals.renew, kind }));
    assertEquals(readOption6(sentBy(turn)!.options, option6.serverId), undefined);
    const outcome = over(hand(turn, reply(turn, { ...rapid, server: serverB })));
    assertEquals(outcome.kind, kind === "reboot" ? "confirmed" : "acked");
  }
});

Deno.test("a pause that lasts until the deadline ends the exchange", () => {
  let turn = beginExchange6(setup(goals.acquire, { deadline: 1500 }));
  turn = hand(turn, advertise(turn, preference("ff")), 900);
  turn = hand(turn, reply(turn, none), 1000);
  assertEquals([open(turn).state.phase, open(turn).until], ["pausing", 1500]);
  const last = pass(turn);
  assertEquals([last.send, over(last).kind], [undefined, "failed"]);
});

Deno.test("an advertisement that is as late as the deadline is not requested", () => {
  let turn = beginExchange6(setup(goals.acquire, { deadline: 500 }));
  turn = pass(hand(turn, advertise(turn), 400));
  assertEquals(over(turn), {
    kind: "failed",
    message: "no more tries: 1 SOLICIT sent, 1 ADVERTISE received; " +
      "do requests reach the server that advertises?",
    counts: counts({ solicit: 1, advertise: 1 }),
  });
});

Deno.test("no lease is younger than its answer", () => {
  const turn = beginExchange6(setup(goals.renew, { now: 1000 }));
  const outcome = over(hand(turn, reply(turn), 990));
  assertEquals("age" in outcome && outcome.age, 0);
});

Deno.test("a reply may give another address: the caller applies it", () => {
  const turn = beginExchange6(setup(goals.renew));
  const other = "0005 0018 20010db8 00*11 77 0000012c 00000258";
  assertEquals(over(hand(turn, reply(turn, { ia: other }))).kind, "acked");
});

Deno.test("words of a server are cut and cannot steer a terminal", () => {
  const turn = beginExchange6(setup(goals.renew));
  const outcome = over(hand(turn, reply(turn, { more: [[13, `0004 1b 0a ${"78".repeat(400)}`]] })));
  assertEquals(
    "message" in outcome && outcome.message,
    "server answered NotOnLink: the address does not belong on this link " +
      `(msg: ${"x".repeat(198)})`,
  );
});

type Failure = readonly [
  what: string,
  goal: ExchangeGoal6,
  packets: (turn: ExchangeStep6) => Uint8Array[],
  message: string,
];

const unfit = "answers do not fit: of another server, without its identifier, " +
  "or without a usable address";
const failures: readonly Failure[] = [
  [
    "silence",
    goals.acquire,
    () => [],
    "no more tries: 3 SOLICIT sent, 0 ADVERTISE received; does a DHCPv6 server serve this link?",
  ],
  [
    "a server without addresses",
    goals.acquire,
    (turn) => [advertise(turn, none), advertise(turn, none)],
    "no more tries: 3 SOLICIT sent, 2 ADVERTISE received; " +
    "server answered NoAddrsAvail: it has no address to give (msg: full)",
  ],
  [
    "a server without addresses at once",
    goals.acquire,
    (turn) => [reply(turn, { ...rapid, ...none })],
    "no more tries: 3 SOLICIT sent, 0 ADVERTISE and 1 REPLY received; " +
    "server answered NoAddrsAvail: it has no address to give (msg: full)",
  ],
  [
    "answers to others alone",
    goals.acquire,
    (turn) => [advertise(turn, { xid: 1 }), reply(turn, { xid: 2 })],
    "no more tries: 3 SOLICIT sent, 0 ADVERTISE received, 2 for others ignored; " +
    "a server answers others: does it know this client?",
  ],
  [
    "one answer to others",
    goals.acquire,
    (turn) => [advertise(turn, { xid: 1 })],
    "no more tries: 3 SOLICIT sent, 0 ADVERTISE received, 1 for others ignored; " +
    "a server answers others: does it know this client?",
  ],
  [
    "rubbish",
    goals.acquire,
    (turn) => [new Uint8Array(9), advertise(turn, { xid: 1 })],
    "no more tries: 3 SOLICIT sent, 0 ADVERTISE received, 1 malformed and 1 for others ignored; " +
    "what answers is no DHCPv6 server",
  ],
  [
    "advertisements that cannot be taken",
    goals.acquire,
    (turn) => [advertise(turn, { ia: false })],
    `no more tries: 3 SOLICIT sent, 0 ADVERTISE received, 1 unusable ignored; ${unfit}`,
  ],
  [
    "a request without an answer",
    goals.acquire,
    (turn) => [advertise(turn, preference("ff"))],
    "no more tries: 3 SOLICIT and 2 REQUEST sent, 1 ADVERTISE and 0 REPLY received; " +
    "do requests reach the server that advertises?",
  ],
  [
    "a server that is gone",
    goals.renew,
    () => [],
    "no more tries: 3 RENEW sent, 0 REPLY received; " +
    "does the server still run, and is it still on this link?",
  ],
  [
    "a release that nobody takes",
    goals.release,
    () => [],
    "no more tries: 3 RELEASE sent, 0 REPLY received; " +
    "does the server still run, and is it still on this link?",
  ],
  [
    "no server at all",
    goals.rebind,
    () => [],
    "no more tries: 3 REBIND sent, 0 REPLY received; does a DHCPv6 server serve this link?",
  ],
  [
    "nobody who knows the link",
    goals.reboot,
    () => [],
    "no more tries: 3 CONFIRM sent, 0 REPLY received; does a DHCPv6 server serve this link?",
  ],
];

for (const [what, goal, packets, text] of failures) {
  Deno.test(`the error counts, and guesses: ${what}`, () => {
    const first = beginExchange6(setup(goal, { deadline: 6000 }));
    const last = packets(first).reduce((turn, packet) => hand(turn, packet, 0), first);
    const { outcome } = run(last);
    assertEquals("message" in outcome && outcome.message, text);
  });
}

const meant: readonly (readonly [code: number, text: string])[] = [
  [1, "server answered UnspecFail: it could not, and does not say why"],
  [2, "server answered NoAddrsAvail: it has no address to give"],
  [3, "server answered NoBinding: it knows of no such lease"],
  [4, "server answered NotOnLink: the address does not belong on this link"],
  [5, "server answered UseMulticast: it got by unicast what was sent by multicast"],
  [6, "server answered status 6: which is not known here"],
];

for (const [code, text] of meant) {
  Deno.test(`names what a status means: ${text}`, () => {
    const turn = beginExchange6(setup(goals.acquire));
    assertEquals(open(hand(turn, advertise(turn, status(code)))).state.refusal, text);
  });
}

interface Sent {
  readonly what: string;
  readonly goal: ExchangeGoal6;
  readonly parts: Partial<Client6>;
  /** Options in their order, without the identifier and the time. */
  readonly options: OptionEntry6[];
}

const ia = [3, "0a0b0c0d 00*8 0005 0018 20010db8 00*11 05 00*8"] as const;
const requested = [6, "0017 0018 0052"] as const;
const provided = optionsOf6(
  [15, "0003 706f64"],
  ...[1, 2, 3, 6, 8, 14].map((code) => [code, "99"] as const),
  [16, "0000"],
  [15, "0001 61"],
);
const given = [[15, "0003 706f64"], [16, "0000"], [15, "0001 61"]] as const;

const contents: readonly Sent[] = [
  {
    what: "what is provided, except what the protocol sets",
    goal: goals.acquire,
    parts: { provided },
    options: optionsOf6([3, "0a0b0c0d 00*8"], requested, [14, ""], ...given),
  },
  {
    what: "what is provided, too",
    goal: goals.renew,
    parts: { provided },
    options: optionsOf6([2, serverA], ia, requested, ...given),
  },
  {
    what: "what is provided, too",
    goal: goals.rebind,
    parts: { provided },
    options: optionsOf6(ia, requested, ...given),
  },
  {
    what: "nothing that is provided or asked for",
    goal: goals.release,
    parts: { provided },
    options: optionsOf6([2, serverA], ia),
  },
  {
    what: "nothing that is provided or asked for",
    goal: goals.decline,
    parts: { provided },
    options: optionsOf6([2, serverA], ia),
  },
  {
    what: "nothing that is provided or asked for",
    goal: goals.reboot,
    parts: { provided },
    options: optionsOf6(ia),
  },
  {
    what: "each wish once",
    goal: goals.rebind,
    parts: { requested: [82, 31] },
    options: optionsOf6(ia, [6, "0052 001f"]),
  },
];

for (const { what, goal, parts, options } of contents) {
  Deno.test(`${goal.kind} says ${what}`, () => {
    const found = sentBy(beginExchange6(setup(goal, { client: { ...client, ...parts } })))!;
    assertEquals(found.options.filter(([code]) => code !== 1 && code !== 8), options);
    assertEquals(readOption6(found.options, option6.clientId), duid);
    assertEquals(readOption6(found.options, option6.elapsedTime), 0);
  });
}

Deno.test("the request asks for what was advertised, not for what was wished", () => {
  const first = beginExchange6(setup({ kind: "acquire", address: ip("2001:db8::99") }));
  const request = hand(first, advertise(first, preference("ff")));
  assertEquals(sentBy(request)!.options.find(([code]) => code === 3), optionsOf6(ia)[0]);
});

/** Plays a server that answers something, or anything. */
function anything(random: Random, turn: ExchangeStep6): Uint8Array {
  if (random.oneIn(20)) return randomBytes(random, random.integer(0, 300));
  const packet = say(random.pick([2, 7]), turn, {
    ...(random.oneIn(5) && { xid: random.integer(0, 9) }),
    server: random.pick([serverA, serverA, serverB, ""]),
    ia: random.pick([leased, leased, "", false, "0005 0018 20010db8 00*11 05 00*8"]),
    more: random.pick([
      [],
      [],
      ...[0, 1, 2, 3, 4, 5, 7].map((code) => [[13, `000${code}`] as const]),
      [[14, ""]],
      [[7, "ff"]],
      [[7, "01"], [82, "0000003c"]],
    ]),
  });
  return random.oneIn(3) ? mutate(random, packet) : packet;
}

Deno.test("whatever arrives, an exchange ends in time, sends little and counts each packet", () => {
  const random = new Random(seedOf(8415));
  const ends = new Map<string, number>();
  for (let run = 0; run < 2000; run++) {
    const about = `seed ${random.seed}, run ${run}`;
    const goal = random.pick(Object.values(goals));
    const hostile = random.oneIn(2);
    let turn = beginExchange6(setup(goal, { random: () => random.next() }));
    let [now, sent, packets]: [number, number, number] = [0, 1, 0];
    let state: ExchangeState6 = open(turn).state;
    while (!turn.done) {
      state = turn.state;
      assert(turn.until > now && turn.until <= 208_000, about);
      if (random.oneIn(hostile ? 2 : 8) && packets < 400) {
        packets++;
        now = Math.min(now + random.integer(0, 500), turn.until - 1e-6);
        turn = receive6(state, { packet: anything(random, turn), now });
      } else {
        now = turn.until;
        turn = tick6(state, now);
      }
      if (turn.send) sent++;
    }
    ends.set(turn.outcome.kind, (ends.get(turn.outcome.kind) ?? 0) + 1);
    const { ignored, advertise, reply, ...messages } = turn.outcome.counts;
    const { malformed, foreign, unusable } = ignored;
    assertEquals(advertise + reply + malformed + foreign + unusable, packets, about);
    assertEquals(Object.values(messages).reduce((sum, one) => sum + one), sent, about);
    // A packet that arrives makes for one that is sent at most; the rest are timers.
    assert(sent <= 40 * (state.pauses + 1) + packets, about);
    assert(now <= 208_000, about);
  }
  assertEquals([...ends.keys()].sort(), ["acked", "confirmed", "failed", "refused", "sent"]);
});
