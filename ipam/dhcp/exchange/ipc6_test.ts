import { assertEquals } from "@std/assert";
import type { Message6 } from "../codec/message6.ts";
import type { Client6, ExchangeGoal6 } from "./client_message6.ts";
import type { ExchangeReport6 } from "./ipc6.ts";
import { hex, ip } from "../codec/testing_message4.ts";
import { zeroCounts6 } from "./counts6.ts";
import { decodeOrder6, decodeReport6, encodeOrder6, encodeReport6 } from "./ipc6.ts";

const client: Client6 = {
  duid: hex("0003 0001 02 0000000001"),
  iaid: 4_000_000_000,
  requested: [23, 24],
  provided: [[15, hex("6131")], [15, hex("")]],
  rapidCommit: false,
};
const address = ip("2001:db8::5");
const server = hex("0001 0203");

Deno.test("an order is the same on the other side, whatever the goal", () => {
  const goals: ExchangeGoal6[] = [
    { kind: "acquire" },
    { kind: "acquire", address },
    { kind: "reboot", address },
    { kind: "rebind", address },
    { kind: "renew", address, server },
    { kind: "release", address, server },
    { kind: "decline", address, server },
  ];
  for (const goal of goals) {
    const order = { goal, client, within: 1500.5, from: ip("fe80::1"), zone: "%3" };
    const line = encodeOrder6(order);
    assertEquals([line.includes("\n"), JSON.parse(line).family], [false, 6]);
    assertEquals(decodeOrder6(line), order);
  }
});

Deno.test("a report is the same on the other side", () => {
  const counts = { ...zeroCounts6, reply: 3 };
  const reports: ExchangeReport6[] = [
    { kind: "confirmed", counts },
    { kind: "refused", message: "no\nway", counts },
    { kind: "failed", message: "no more tries", counts },
    { kind: "sent", counts },
    { kind: "cut off", message: "Network is unreachable (os error 101)", counts },
    { kind: "port taken" },
  ];
  for (const report of reports) {
    const line = encodeReport6(report, 1000);
    assertEquals(line.includes("\n"), false);
    assertEquals(decodeReport6(line, 2000), report);
  }
});

Deno.test("an answer ages on its way, and never backwards", () => {
  const ack: Message6 = { type: 7, xid: 0x123456, options: [[1, hex("01")], [1, hex("")]] };
  const line = encodeReport6({ kind: "acked", ack, age: 30, counts: zeroCounts6 }, 1000);
  const aged = (age: number) => ({ kind: "acked", ack, age, counts: zeroCounts6 });
  assertEquals(decodeReport6(line, 1025), aged(55) as ExchangeReport6);
  assertEquals(decodeReport6(line, 400), aged(30) as ExchangeReport6);
});
