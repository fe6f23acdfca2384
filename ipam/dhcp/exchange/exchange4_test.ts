import { assert, assertEquals } from "@std/assert";
import type { Message4 } from "../codec/message4.ts";
import type { Client4, ExchangeGoal4 } from "./client_message4.ts";
import type { ExchangeCounts4 } from "./counts4.ts";
import type {
  ExchangeOutcome4,
  ExchangeSetup4,
  ExchangeState4,
  ExchangeStep4,
} from "./exchange4.ts";
import { formatIp } from "../../../host/ip.ts";
import { Random, seedOf } from "../../../tests/harness/random.ts";
import { decodeMessage4, encodeMessage4 } from "../codec/message4.ts";
import { option4, readOption4 } from "../codec/options4.ts";
import {
  chaddr,
  clientId,
  golden4,
  hex,
  ip,
  messageOf4,
  mutate,
  optionsOf4,
  randomBytes,
} from "../codec/testing_message4.ts";
import { beginExchange4, receive4, tick4 } from "./exchange4.ts";

const client: Client4 = { chaddr, clientId, requested: [3, 1], provided: new Map() };
const address = ip("192.168.1.5");
const server = ip("192.168.1.1");
const goals = {
  acquire: { kind: "acquire" },
  reboot: { kind: "reboot", address },
  renew: { kind: "renew", address, server },
  rebind: { kind: "rebind", address },
  release: { kind: "release", address, server },
  decline: { kind: "decline", address, server },
} as const satisfies Record<ExchangeGoal4["kind"], ExchangeGoal4>;

/** Draws the `xid` of the golden packets first, and then the middle, which is no jitter. */
function dice(): () => number {
  const values = [0x12345678 / 2 ** 32];
  return () => values.shift() ?? 0.5;
}

function setup(goal: ExchangeGoal4, parts: Partial<ExchangeSetup4> = {}): ExchangeSetup4 {
  return { goal, client, now: 0, deadline: 208_000, random: dice(), ...parts };
}

function open(turn: ExchangeStep4): ExchangeStep4 & { done: false } {
  if (turn.done) throw new Error(`over: ${JSON.stringify(turn.outcome)}`);
  return turn;
}

function over(turn: ExchangeStep4): ExchangeOutcome4 {
  if (!turn.done) throw new Error("not over");
  return turn.outcome;
}

function sentBy(turn: ExchangeStep4): Message4 | undefined {
  return turn.send && decodeMessage4(turn.send.bytes);
}

/** A reply to a message, of some type, with what else it says. */
function reply(
  turn: ExchangeStep4,
  type: "02" | "05" | "06",
  parts: Partial<Message4> & { readonly with?: Readonly<Record<number, string>> } = {},
): Uint8Array {
  const { with: options = { 54: "c0a80101", 51: "0000012c" }, ...fields } = parts;
  const { xid } = sentBy(turn) ?? open(turn).state;
  const yiaddr = type === "06" ? ip("0.0.0.0") : address;
  return encodeMessage4(
    messageOf4({ xid, yiaddr, options: optionsOf4({ 53: type, ...options }), ...fields }),
  );
}

/** Hands in a packet at some time. */
function hand(turn: ExchangeStep4, packet: Uint8Array, now = open(turn).until - 1): ExchangeStep4 {
  return receive4(open(turn).state, { packet, now });
}

const sentFirst: readonly (readonly [keyof typeof goals, keyof typeof golden4, to: string])[] = [
  ["acquire", "discover", "255.255.255.255"],
  ["reboot", "initReboot", "255.255.255.255"],
  ["renew", "renewing", "192.168.1.1"],
  ["release", "release", "192.168.1.1"],
  ["decline", "decline", "255.255.255.255"],
];

for (const [kind, packet, to] of sentFirst) {
  Deno.test(`${kind} sends the golden packet at once, to ${to}`, () => {
    const { send, done } = beginExchange4(setup(goals[kind]));
    assertEquals(send!.bytes.toHex(), golden4[packet].toHex());
    assertEquals(formatIp(send!.to), to);
    assertEquals(done, kind === "release" || kind === "decline");
  });
}

Deno.test("rebind sends the golden packet, later with the seconds since", () => {
  const first = beginExchange4(setup(goals.rebind, { timeout: 3000 }));
  assertEquals(sentBy(first)!.secs, 0);
  const second = tick4(open(first).state, 3000);
  assertEquals(second.send!.bytes.toHex(), golden4.rebinding.toHex());
  assertEquals(formatIp(second.send!.to), "255.255.255.255");
});

Deno.test("acquire requests the golden offer and takes the golden acknowledgement", () => {
  const discover = beginExchange4(setup(goals.acquire));
  const request = receive4(open(discover).state, { packet: golden4.offer, now: 20 });
  assertEquals(request.send!.bytes.toHex(), golden4.selecting.toHex());
  assertEquals(formatIp(request.send!.to), "255.255.255.255");
  assertEquals(open(request).until, 10_020);
  const outcome = over(receive4(open(request).state, { packet: golden4.ack, now: 45 }));
  assertEquals(outcome, {
    kind: "acked",
    ack: decodeMessage4(golden4.ack)!,
    age: 25,
    counts: counts({ discover: 1, request: 1, offer: 1, ack: 1 }),
  });
});

for (const kind of ["reboot", "renew", "rebind"] as const) {
  Deno.test(`${kind} takes the golden acknowledgement, and the golden refusal`, () => {
    const { state } = open(beginExchange4(setup(goals[kind])));
    const acked = over(receive4(state, { packet: golden4.ack, now: 7 }));
    assertEquals([acked.kind, "age" in acked && acked.age], ["acked", 7]);
    assertEquals(over(receive4(state, { packet: golden4.nak, now: 7 })), {
      kind: "refused",
      message: "server rejected request with Nak (msg: address in use)",
      counts: counts({ request: 1, nak: 1 }),
    });
  });
}

function counts(
  { malformed = 0, foreign = 0, unusable = 0, ...rest }:
    & Partial<Omit<ExchangeCounts4, "ignored">>
    & Partial<ExchangeCounts4["ignored"]>,
): ExchangeCounts4 {
  const ignored = { malformed, foreign, unusable };
  return { discover: 0, request: 0, offer: 0, ack: 0, nak: 0, ...rest, ignored };
}

/** Lets time pass until the end: when what was sent, in seconds, and how it ended. */
function run(
  first: ExchangeStep4,
  start = 0,
): { sent: [number, string][]; end: number; outcome: ExchangeOutcome4 } {
  const sent: [number, string][] = [];
  let [turn, now] = [first, start];
  for (let steps = 0; steps < 200; steps++) {
    const type = turn.send && readOption4(sentBy(turn)!.options, option4.messageType);
    if (type) sent.push([now, type === 1 ? "D" : "R"]);
    if (turn.done) return { sent, end: now, outcome: turn.outcome };
    now = turn.until;
    turn = tick4(turn.state, now);
  }
  throw new Error("no end");
}

interface Timeline {
  readonly what: string;
  readonly goal: ExchangeGoal4;
  readonly parts: Partial<ExchangeSetup4>;
  /** Seconds. */
  readonly sent: readonly number[];
  /** Seconds. */
  readonly end: number;
}

const timelines: readonly Timeline[] = [
  {
    what: "10, 20 and 40 s for three sendings, then 2 s of pause",
    goal: goals.acquire,
    parts: {},
    sent: [0, 10, 30, 72, 82, 102, 144, 154, 174],
    end: 208,
  },
  {
    what: "four quick pauses, then 8, 16, 32, 64, 64 s",
    goal: goals.acquire,
    parts: { timeout: 1000, deadline: 310_000 },
    sent: [0, 9, 18, 27, 36, 51, 74, 113, 184, 255].flatMap((at) => [at, at + 1, at + 3]),
    end: 310,
  },
  {
    what: "pauses of 8 s with that ceiling",
    goal: goals.acquire,
    parts: { timeout: 1000, deadline: 70_000, resendMax: 8000 },
    sent: [0, 9, 18, 27, 36, 51, 66].flatMap((at) => [at, at + 1, at + 3]),
    end: 70,
  },
  {
    what: "pauses of 4 s with a ceiling below",
    goal: goals.acquire,
    parts: { timeout: 1000, deadline: 60_000, resendMax: 1000 },
    sent: [0, 9, 18, 27, 36, 47, 58].flatMap((at) => [at, at + 1, at + 3]).slice(0, -1),
    end: 60,
  },
  {
    what: "a tenth of the time there is as timeout, where that is less",
    goal: goals.acquire,
    parts: { deadline: 20_000 },
    sent: [0, 2, 6, 16, 18],
    end: 20,
  },
  {
    what: "no timeout below one second for that",
    goal: goals.acquire,
    parts: { deadline: 5000 },
    sent: [0, 1, 3],
    end: 5,
  },
  {
    what: "a timeout below one second where it is asked for",
    goal: goals.reboot,
    parts: { timeout: 500 },
    sent: [0, 0.5, 1.5],
    end: 3.5,
  },
  {
    what: "one round of three for a renewal",
    goal: goals.renew,
    parts: {},
    sent: [0, 10, 30],
    end: 70,
  },
  {
    what: "one packet at least, however late it is",
    goal: goals.acquire,
    parts: { deadline: -1 },
    sent: [0],
    end: -0.001,
  },
];

for (const { what, goal, parts, sent, end } of timelines) {
  Deno.test(`without an answer: ${what}`, () => {
    const found = run(beginExchange4(setup(goal, parts)));
    assertEquals(found.sent.map(([at]) => at / 1000), [...sent]);
    assertEquals(found.end / 1000, end);
    assertEquals(found.outcome.kind, "failed");
  });
}

Deno.test("a request that nobody answers goes three times, and then it is looked for a server again", () => {
  const offered = hand(beginExchange4(setup(goals.acquire, { timeout: 1000 })), golden4.offer, 100);
  const { sent } = run(offered, 100);
  assertEquals(sent.slice(0, 7), [
    [100, "R"],
    [1100, "R"],
    [3100, "R"],
    [9100, "D"],
    [10_100, "D"],
    [12_100, "D"],
    [18_100, "D"],
  ]);
});

for (const [value, waits] of [[0, [9, 19, 39, 1]], [0.75, [10.5, 20.5, 40.5, 2.5]]] as const) {
  Deno.test(`waits and pauses vary with the dice, here ${value}`, () => {
    let turn = beginExchange4(setup(goals.acquire, { random: () => value }));
    let now = 0;
    const found: number[] = [];
    for (let steps = 0; steps < 4; steps++) {
      const { until, state } = open(turn);
      found.push((until - now) / 1000);
      turn = tick4(state, until);
      now = until;
    }
    assertEquals(found, [...waits]);
  });
}

Deno.test("short waits vary by a tenth", () => {
  const until = (value: number) =>
    open(beginExchange4(setup(goals.renew, { timeout: 2000, random: () => value }))).until;
  assertEquals([until(0), until(0.5), until(0.75)], [1800, 2000, 2100]);
});

Deno.test("every sending says the seconds since the beginning, a request those of its discovery", () => {
  const first = beginExchange4(setup(goals.acquire, { now: 1_000_000, deadline: 1_208_000 }));
  const second = tick4(open(first).state, 1_010_999);
  assertEquals(sentBy(second)!.secs, 10);
  const request = hand(second, reply(second, "02"), 1_015_000);
  assertEquals(sentBy(request)!.secs, 10);
  assertEquals(sentBy(tick4(open(request).state, open(request).until))!.secs, 10);
  const late = open(beginExchange4(setup(goals.renew, { deadline: 1e9 }))).state;
  assertEquals(sentBy(tick4(late, 90_000_000))!.secs, 0xffff);
  assertEquals(sentBy(tick4({ ...late, until: -5000 }, -5000))!.secs, 0);
});

Deno.test("all sendings of one attempt have one xid, the next attempt another", () => {
  const random = new Random(seedOf(4));
  let turn = beginExchange4(setup(goals.acquire, { timeout: 1000, random: () => random.next() }));
  const found: number[] = [];
  while (found.length < 6) {
    const xid = sentBy(turn)?.xid;
    if (xid !== undefined) found.push(xid);
    turn = tick4(open(turn).state, open(turn).until);
  }
  assertEquals(new Set(found.slice(0, 3)).size, 1);
  assertEquals(new Set(found.slice(3)).size, 1);
  assertEquals(new Set(found).size, 2);
});

Deno.test("before its time nothing happens", () => {
  const first = open(beginExchange4(setup(goals.acquire)));
  assertEquals(tick4(first.state, 9999), { done: false, until: 10_000, state: first.state });
});

Deno.test("an offer and an acknowledgement count during a pause, too", () => {
  let turn = beginExchange4(setup(goals.acquire, { timeout: 1000 }));
  for (let sendings = 0; sendings < 3; sendings++) turn = tick4(open(turn).state, open(turn).until);
  assertEquals([open(turn).state.phase, turn.send], ["pausing", undefined]);
  turn = hand(turn, golden4.offer, 7500);
  assertEquals(sentBy(turn)!.options.get(53), hex("03"));
  for (let sendings = 0; sendings < 3; sendings++) turn = tick4(open(turn).state, open(turn).until);
  assertEquals([open(turn).state.phase, open(turn).until], ["pausing", 16_500]);
  const outcome = over(hand(turn, golden4.ack, 16_000));
  // The third request went at 10.5 s.
  assertEquals([outcome.kind, "age" in outcome && outcome.age], ["acked", 5500]);
});

Deno.test("a new attempt forgets the offer", () => {
  let turn = hand(beginExchange4(setup(goals.acquire, { timeout: 1000 })), golden4.offer, 0);
  for (let steps = 0; steps < 4; steps++) turn = tick4(open(turn).state, open(turn).until);
  const discover = sentBy(turn)!;
  assertEquals(
    discover.options,
    optionsOf4({ 53: "01", 55: "0301", 57: "05dc", 61: clientId.toHex() }),
  );
  assertEquals(discover.secs, 9);
});

Deno.test("a second offer is counted and not requested", () => {
  const request = hand(beginExchange4(setup(goals.acquire)), golden4.offer);
  const other = hand(request, reply(request, "02", { with: { 54: "c0a80102" } }));
  assertEquals(open(other).state.counts, counts({ discover: 1, request: 1, offer: 2 }));
  assertEquals(other.send, undefined);
  const foreign = hand(other, reply(request, "05", { with: { 54: "c0a80102" } }));
  assertEquals(open(foreign).state.counts.ignored.unusable, 1);
  assertEquals(over(hand(foreign, golden4.ack)).kind, "acked");
});

Deno.test("after a refusal, acquire begins anew after a pause, and an old packet is foreign", () => {
  const request = hand(beginExchange4(setup(goals.acquire)), golden4.offer, 100);
  const refused = hand(request, golden4.nak, 200);
  assertEquals([open(refused).until, refused.send], [2200, undefined]);
  const old = hand(refused, golden4.ack, 300);
  assertEquals(open(old).state.counts.ignored.foreign, 1);
  const again = tick4(open(old).state, 2200);
  assertEquals(sentBy(again)!.options.get(53), hex("01"));
  const { outcome } = run(again, 2200);
  assertEquals(
    "message" in outcome && outcome.message,
    "no more tries: 10 DISCOVER and 1 REQUEST sent, 1 OFFER, 0 ACK and 1 NAK received, " +
      "1 for others ignored; server rejected request with Nak (msg: address in use)",
  );
});

type Ignored = readonly [
  what: string,
  why: keyof ExchangeCounts4["ignored"],
  goal: ExchangeGoal4,
  packet: (turn: ExchangeStep4) => Uint8Array,
];

const serverOnly = { 54: "c0a80101" };
const ignored: readonly Ignored[] = [
  ["nothing", "malformed", goals.acquire, () => new Uint8Array()],
  ["no DHCP", "malformed", goals.acquire, () => new Uint8Array(300)],
  ["a cut packet", "malformed", goals.acquire, () => golden4.offer.subarray(0, 270)],
  ["another xid", "foreign", goals.acquire, (turn) => reply(turn, "02", { xid: 1 })],
  [
    "another client",
    "foreign",
    goals.acquire,
    (turn) => reply(turn, "02", { chaddr: hex("020000000002") }),
  ],
  [
    "a longer hardware address",
    "foreign",
    goals.acquire,
    (turn) => reply(turn, "02", { chaddr: hex("020000000001 00") }),
  ],
  [
    "a shorter hardware address",
    "foreign",
    goals.acquire,
    (turn) => reply(turn, "02", { chaddr: hex("0200000000") }),
  ],
  ["a request", "foreign", goals.acquire, (turn) => reply(turn, "02", { op: 1 })],
  ["BOOTP", "unusable", goals.acquire, (turn) => reply(turn, "02", { options: new Map() })],
  [
    "another type",
    "unusable",
    goals.acquire,
    (turn) => reply(turn, "02", { with: { ...serverOnly, 53: "08" } }),
  ],
  ["an offer without server", "unusable", goals.acquire, (turn) => reply(turn, "02", { with: {} })],
  [
    "an offer of two servers",
    "unusable",
    goals.acquire,
    (turn) => reply(turn, "02", { with: { 54: "c0a80101 c0a80102" } }),
  ],
  [
    "an offer of the server 0.0.0.0",
    "unusable",
    goals.acquire,
    (turn) => reply(turn, "02", { with: { 54: "00000000" } }),
  ],
  ...["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255"].map((text): Ignored => [
    `an offer of ${text}`,
    "unusable",
    goals.acquire,
    (turn) => reply(turn, "02", { yiaddr: ip(text) }),
  ]),
  ["an acknowledgement before the offer", "unusable", goals.acquire, (turn) => reply(turn, "05")],
  ["a refusal before the offer", "unusable", goals.acquire, (turn) => reply(turn, "06")],
  ["an offer", "unusable", goals.renew, (turn) => reply(turn, "02")],
  [
    "an acknowledgement of another server",
    "unusable",
    goals.renew,
    (turn) => reply(turn, "05", { with: { 54: "c0a80102" } }),
  ],
  [
    "a refusal of another server",
    "unusable",
    goals.renew,
    (turn) => reply(turn, "06", { with: { 54: "c0a80102" } }),
  ],
  [
    "an acknowledgement without server",
    "unusable",
    goals.rebind,
    (turn) => reply(turn, "05", { with: {} }),
  ],
  ["a refusal without server", "unusable", goals.reboot, (turn) => reply(turn, "06", { with: {} })],
  [
    "an acknowledgement without address",
    "unusable",
    goals.reboot,
    (turn) => reply(turn, "05", { yiaddr: ip("0.0.0.0") }),
  ],
];

for (const [what, why, goal, packet] of ignored) {
  Deno.test(`${goal.kind} ignores ${what} as ${why}`, () => {
    const first = open(beginExchange4(setup(goal)));
    const next = open(hand(first, packet(first)));
    assertEquals([next.send, next.until], [undefined, first.until]);
    const { counts: before, ...rest } = first.state;
    const { counts: after, ...same } = next.state;
    assertEquals(same, rest);
    assertEquals(after, { ...before, ignored: { ...before.ignored, [why]: 1 } });
  });
}

for (const kind of ["reboot", "rebind"] as const) {
  Deno.test(`${kind} listens to any server`, () => {
    const turn = beginExchange4(setup(goals[kind]));
    assertEquals(over(hand(turn, reply(turn, "05", { with: { 54: "c0a80102" } }))).kind, "acked");
    assertEquals(over(hand(turn, reply(turn, "06", { with: { 54: "c0a80102" } }))), {
      kind: "refused",
      message: "server rejected request with Nak",
      counts: counts({ request: 1, nak: 1 }),
    });
  });
}

Deno.test("an acknowledgement may give another address: the caller applies it", () => {
  const turn = beginExchange4(setup(goals.renew));
  const outcome = over(hand(turn, reply(turn, "05", { yiaddr: ip("192.168.1.77") })));
  assertEquals(outcome.kind === "acked" && outcome.ack.yiaddr, ip("192.168.1.77"));
});

Deno.test("words of a server are cut and cannot steer a terminal", () => {
  const turn = beginExchange4(setup(goals.renew));
  const words = { ...serverOnly, 56: `1b 0a ${"78".repeat(400)}` };
  const outcome = over(hand(turn, reply(turn, "06", { with: words })));
  assertEquals(
    "message" in outcome && outcome.message,
    `server rejected request with Nak (msg: ${"x".repeat(198)})`,
  );
});

type Failure = readonly [
  what: string,
  goal: ExchangeGoal4,
  packets: (turn: ExchangeStep4) => Uint8Array[],
  message: string,
];

const unfit = "answers do not fit: of another server, without its identifier, " +
  "or with an address of no host";
const failures: readonly Failure[] = [
  [
    "silence",
    goals.acquire,
    () => [],
    "no more tries: 3 DISCOVER sent, 0 OFFER received; is spanning tree forwarding?",
  ],
  [
    "answers to others alone",
    goals.acquire,
    (turn) => [reply(turn, "02", { xid: 1 }), reply(turn, "05", { xid: 2 })],
    "no more tries: 3 DISCOVER sent, 0 OFFER received, 2 for others ignored; " +
    "a server answers others: does it know this client or have a free address?",
  ],
  [
    "rubbish",
    goals.acquire,
    (turn) => [new Uint8Array(9), reply(turn, "02", { xid: 1 })],
    "no more tries: 3 DISCOVER sent, 0 OFFER received, 1 malformed and 1 for others ignored; " +
    "what answers is no DHCP server",
  ],
  [
    "offers that cannot be taken",
    goals.acquire,
    (turn) => [reply(turn, "02", { with: {} })],
    `no more tries: 3 DISCOVER sent, 0 OFFER received, 1 unusable ignored; ${unfit}`,
  ],
  [
    "a request without an answer",
    goals.acquire,
    () => [golden4.offer],
    "no more tries: 1 DISCOVER and 3 REQUEST sent, 1 OFFER and 0 ACK received; " +
    "do requests reach the server that offers, and does it agree with the others?",
  ],
  [
    "a server that is gone",
    goals.renew,
    () => [],
    "no more tries: 3 REQUEST sent, 0 ACK received; " +
    "does the server still run, and is the way to it open?",
  ],
  [
    "servers that know nothing",
    goals.rebind,
    () => [],
    "no more tries: 3 REQUEST sent, 0 ACK received; does a server know this client?",
  ],
  [
    "servers that know nothing of an old address",
    goals.reboot,
    () => [],
    "no more tries: 3 REQUEST sent, 0 ACK received; does a server know this client?",
  ],
];

for (const [what, goal, packets, text] of failures) {
  Deno.test(`the error counts, and guesses: ${what}`, () => {
    const first = beginExchange4(setup(goal, { timeout: 1000, deadline: 6000 }));
    const last = packets(first).reduce((turn, packet) => hand(turn, packet, 0), first);
    const { outcome } = run(last);
    assertEquals("message" in outcome && outcome.message, text);
  });
}

interface Sent {
  readonly what: string;
  readonly goal: ExchangeGoal4;
  readonly parts: Partial<Client4>;
  readonly flags: number;
  /** Options by code, each in full. */
  readonly options: Readonly<Record<number, string>>;
}

const id = clientId.toHex();
const usual = { 55: "0301", 57: "05dc", 61: id };
const provided = optionsOf4({ 12: "706f64", 57: "0240", 60: "4d53", 61: "ff00" });
const given = { 12: "706f64", 55: "0301", 57: "0240", 60: "4d53", 61: "ff00" };

const contents: readonly Sent[] = [
  {
    what: "an address that is wished for",
    goal: { kind: "acquire", address },
    parts: {},
    flags: 0x8000,
    options: { ...usual, 50: "c0a80105", 53: "01" },
  },
  {
    what: "provided options, stronger than ours",
    goal: goals.acquire,
    parts: { provided },
    flags: 0x8000,
    options: { ...given, 53: "01" },
  },
  {
    what: "provided options in a renewal",
    goal: goals.renew,
    parts: { provided },
    flags: 0,
    options: { ...given, 53: "03" },
  },
  {
    what: "the wish for broadcast answers in a renewal",
    goal: goals.renew,
    parts: { broadcast: true },
    flags: 0x8000,
    options: { ...usual, 53: "03" },
  },
  {
    what: "the wish for broadcast answers in a rebinding",
    goal: goals.rebind,
    parts: { broadcast: true },
    flags: 0x8000,
    options: { ...usual, 53: "03" },
  },
  {
    what: "nothing provided but the identifier in a release",
    goal: goals.release,
    parts: { provided, broadcast: true },
    flags: 0,
    options: { 53: "07", 54: "c0a80101", 61: "ff00" },
  },
  {
    what: "nothing provided but the identifier in a decline",
    goal: goals.decline,
    parts: { provided, broadcast: true },
    flags: 0,
    options: { 50: "c0a80105", 53: "04", 54: "c0a80101", 61: "ff00" },
  },
];

for (const { what, goal, parts, flags, options } of contents) {
  Deno.test(`${goal.kind} says ${what}`, () => {
    const found = sentBy(beginExchange4(setup(goal, { client: { ...client, ...parts } })))!;
    assertEquals(found.flags, flags);
    assertEquals(found.options, optionsOf4(options));
  });
}

Deno.test("the request for an offer asks for what was offered, not for what was wished", () => {
  const first = beginExchange4(setup({ kind: "acquire", address: ip("192.168.1.99") }));
  assertEquals(sentBy(hand(first, golden4.offer))!.options.get(50), hex("c0a80105"));
});

/** Plays a server that answers something, or anything. */
function anything(random: Random, { state }: { state: ExchangeState4 }): Uint8Array {
  if (random.oneIn(20)) return randomBytes(random, random.integer(0, 600));
  const packet = encodeMessage4(messageOf4({
    xid: random.oneIn(5) ? random.integer(0, 9) : state.xid,
    yiaddr: random.oneIn(5) ? ip("0.0.0.0") : address,
    options: optionsOf4({
      53: random.pick(["02", "05", "06", "01", "0202"]),
      54: random.pick(["c0a80101", "c0a80102", ""]),
    }),
  }));
  return random.oneIn(3) ? mutate(random, packet) : packet;
}

Deno.test("whatever arrives, an exchange ends in time, sends little and counts each packet", () => {
  const random = new Random(seedOf(2131));
  const ends = new Map<string, number>();
  for (let run = 0; run < 1500; run++) {
    const about = `seed ${random.seed}, run ${run}`;
    const goal = random.pick(Object.values(goals).slice(0, 4));
    const hostile = random.oneIn(2);
    let turn = beginExchange4(setup(goal, { timeout: 3000, random: () => random.next() }));
    let [now, sent, packets, state] = [0, 1, 0, open(turn).state];
    while (!turn.done) {
      state = turn.state;
      assert(turn.until > now && turn.until <= 208_000, about);
      if (random.oneIn(hostile ? 2 : 8) && packets < 400) {
        packets++;
        now = Math.min(now + random.integer(0, 500), turn.until - 1);
        turn = receive4(state, { packet: anything(random, { state }), now });
      } else {
        now = turn.until;
        turn = tick4(state, now);
      }
      if (turn.send) sent++;
    }
    ends.set(turn.outcome.kind, (ends.get(turn.outcome.kind) ?? 0) + 1);
    if (turn.outcome.kind === "sent") throw new Error(about);
    const { counts } = turn.outcome;
    const { malformed, foreign, unusable } = counts.ignored;
    const received = counts.offer + counts.ack + counts.nak;
    assertEquals(received + malformed + foreign + unusable, packets, about);
    assertEquals(counts.discover + counts.request, sent, about);
    assert(sent <= 6 * (state.pauses + 1), about);
    assert(now <= 208_000, about);
  }
  assertEquals([...ends.keys()].sort(), ["acked", "failed", "refused"]);
});
