import { assertEquals } from "@std/assert";
import { assertRecordFormat } from "../../tests/harness/records.ts";
import type { SbrData, SbrRecord } from "./record.ts";
import { emptyPlan } from "./plan.ts";
import { recordedPlan, recordPlan, sbrRecords } from "./record.ts";

const attachment = { network: "net", containerId: "c1", ifName: "net1" };
const identity = { dev: 4, ino: 4026532281 };
const data: SbrData = {
  netns: "/run/netns/c1",
  identity,
  rules: [{ from: "10.0.0.2/32", table: 100 }, { from: "fd00::2/128", table: 101 }],
  added: [{ words: ["0.0.0.0/0", "via", "10.0.0.1", "dev", "net1"], table: 100 }],
  moved: [["10.0.0.0/24", "dev", "net1", "proto", "2"]],
};
const before: SbrRecord = { ...attachment, path: "/nowhere", data };

Deno.test("a record is read as it was written, and none of its parts may be damaged", () => {
  assertRecordFormat(sbrRecords, data);
});

Deno.test("recordedPlan() takes what was done in this namespace alone", () => {
  const now = { netns: "/run/netns/c1", identity };
  assertEquals(recordedPlan(before, now), data);
  assertEquals(recordedPlan(before, { ...now, identity: { dev: 4, ino: 8 } }), emptyPlan);
  assertEquals(recordedPlan(undefined, now), emptyPlan);
});

Deno.test("recordPlan() writes nothing where the record says the same", async () => {
  assertEquals(await recordPlan(attachment, { data: { ...data }, before }), []);
  const steps = await recordPlan(attachment, { data: { ...data, moved: [] }, before });
  assertEquals(steps.map(({ do: { kind } }) => kind), ["mkdir", "write"]);
});
