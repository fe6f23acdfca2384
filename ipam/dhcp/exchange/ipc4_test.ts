import { assertEquals } from "@std/assert";
import type { Report } from "./ipc4.ts";
import type { Client, Counts, Goal } from "./exchange4.ts";
import { decode } from "../codec/message4.ts";
import { chaddr, clientId, golden, hex, ip } from "../codec/testing_message4.ts";
import { orderFromLine, orderToLine, reportFromLine, reportToLine } from "./ipc4.ts";

const client: Client = {
  chaddr,
  clientId,
  requested: [3, 1, 121],
  provided: new Map([[12, hex("6131")], [60, new Uint8Array()]]),
  broadcast: true,
};
const address = ip("192.168.1.5");
const server = ip("192.168.1.1");

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
    const order = {
      goal,
      client,
      within: 1500.5,
      timeout: 10,
      resendMax: 20,
      from: address,
      port: 0,
    };
    const line = orderToLine(order);
    assertEquals(line.includes("\n"), false);
    const { goal: { address: wanted, ...rest }, ...read } = orderFromLine(line) as never as {
      goal: { kind: string; address?: unknown; server?: unknown };
    };
    const { goal: _, ...others } = order;
    assertEquals(read, others as never);
    const given = goal as { kind: string; address?: unknown; server?: unknown };
    assertEquals([rest.kind, wanted, rest.server], [given.kind, given.address, given.server]);
  }
});

const counts: Counts = {
  discover: 1,
  request: 2,
  offer: 3,
  ack: 4,
  nak: 5,
  ignored: { malformed: 6, foreign: 7, unusable: 8 },
};

Deno.test("a report is the same on the other side", () => {
  const reports: Report[] = [
    { kind: "refused", message: "no\nway", counts },
    { kind: "failed", message: "no more tries", counts },
    { kind: "sent" },
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
  const ack = decode(golden.ack)!;
  const line = reportToLine({ kind: "acked", ack, age: 30, counts }, 1000);
  assertEquals(reportFromLine(line, 1025), { kind: "acked", ack, age: 55, counts });
  assertEquals(reportFromLine(line, 400), { kind: "acked", ack, age: 30, counts });
});
