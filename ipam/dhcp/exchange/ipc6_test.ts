import { assertEquals } from "@std/assert";
import type { Client, Goal } from "./exchange6.ts";
import type { Message } from "../codec/message6.ts";
import type { Report6 } from "./ipc6.ts";
import { hex, ip } from "../codec/testing_message4.ts";
import { noCounts, orderFromLine, orderToLine, reportFromLine, reportToLine } from "./ipc6.ts";

const client: Client = {
  duid: hex("0003 0001 02 0000000001"),
  iaid: 4_000_000_000,
  requested: [23, 24],
  provided: [[15, hex("6131")], [15, hex("")]],
  rapidCommit: false,
};
const address = ip("2001:db8::5");
const server = hex("0001 0203");

Deno.test("an order is the same on the other side, whatever the goal", () => {
  const goals: Goal[] = [
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
    const line = orderToLine(order);
    assertEquals([line.includes("\n"), JSON.parse(line).family], [false, 6]);
    assertEquals(orderFromLine(line), order);
  }
});

Deno.test("a report is the same on the other side", () => {
  const counts = { ...noCounts, reply: 3 };
  const reports: Report6[] = [
    { kind: "confirmed", counts },
    { kind: "refused", message: "no\nway", counts },
    { kind: "failed", message: "no more tries", counts },
    { kind: "sent", counts },
    { kind: "cut off", message: "Network is unreachable (os error 101)", counts },
    { kind: "port taken" },
  ];
  for (const report of reports) {
    const line = reportToLine(report, 1000);
    assertEquals(line.includes("\n"), false);
    assertEquals(reportFromLine(line, 2000), report);
  }
});

Deno.test("an answer ages on its way, and never backwards", () => {
  const ack: Message = { type: 7, xid: 0x123456, options: [[1, hex("01")], [1, hex("")]] };
  const line = reportToLine({ kind: "acked", ack, age: 30, counts: noCounts }, 1000);
  const aged = (age: number) => ({ kind: "acked", ack, age, counts: noCounts });
  assertEquals(reportFromLine(line, 1025), aged(55) as Report6);
  assertEquals(reportFromLine(line, 400), aged(30) as Report6);
});
