import { assertEquals } from "@std/assert";
import type { Client4, ExchangeGoal4 } from "./client_message4.ts";
import type { ExchangeCounts4 } from "./counts4.ts";
import type { ExchangeReport4 } from "./ipc4.ts";
import { decodeMessage4 } from "../codec/message4.ts";
import { chaddr, clientId, golden4, hex, ip } from "../codec/testing_message4.ts";
import { decodeOrder4, decodeReport4, encodeOrder4, encodeReport4 } from "./ipc4.ts";

const client: Client4 = {
  chaddr,
  clientId,
  requested: [3, 1, 121],
  provided: new Map([[12, hex("6131")], [60, new Uint8Array()]]),
  broadcast: true,
};
const address = ip("192.168.1.5");
const server = ip("192.168.1.1");

Deno.test("an order is the same on the other side, whatever the goal", () => {
  const goals: ExchangeGoal4[] = [
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
    const line = encodeOrder4(order);
    assertEquals(line.includes("\n"), false);
    const { goal: { address: wanted, ...rest }, ...read } = decodeOrder4(line) as never as {
      goal: { kind: string; address?: unknown; server?: unknown };
    };
    const { goal: _, ...others } = order;
    assertEquals(read, others as never);
    const given = goal as { kind: string; address?: unknown; server?: unknown };
    assertEquals([rest.kind, wanted, rest.server], [given.kind, given.address, given.server]);
  }
});

const counts: ExchangeCounts4 = {
  discover: 1,
  request: 2,
  offer: 3,
  ack: 4,
  nak: 5,
  ignored: { malformed: 6, foreign: 7, unusable: 8 },
};

Deno.test("a report is the same on the other side", () => {
  const reports: ExchangeReport4[] = [
    { kind: "refused", message: "no\nway", counts },
    { kind: "failed", message: "no more tries", counts },
    { kind: "sent" },
    { kind: "cut off", message: "Network is unreachable (os error 101)", counts },
    { kind: "port taken" },
  ];
  for (const report of reports) {
    const line = encodeReport4(report, 1000);
    assertEquals(line.includes("\n"), false);
    assertEquals(decodeReport4(line, 2000), report);
  }
});

Deno.test("an answer ages on its way, and never backwards", () => {
  const ack = decodeMessage4(golden4.ack)!;
  const line = encodeReport4({ kind: "acked", ack, age: 30, counts }, 1000);
  assertEquals(decodeReport4(line, 1025), { kind: "acked", ack, age: 55, counts });
  assertEquals(decodeReport4(line, 400), { kind: "acked", ack, age: 30, counts });
});
