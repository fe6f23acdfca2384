import { assert, assertEquals, assertMatch } from "@std/assert";
import { Machine } from "../ns/machine.ts";
import { dropRecord, keepRecord, readRecord, recordPath } from "./record.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };

Deno.test("recordPath() differs as soon as one part of the attachment does", async () => {
  const path = await recordPath("devices", attachment);
  assertMatch(path, /^\/run\/cni\/denocni\/devices\/[0-9a-f]{32}\.json$/);
  for (const other of [{ network: "ne" }, { containerId: "tc1" }, { ifName: "eth1" }]) {
    assert(await recordPath("devices", { ...attachment, ...other }) !== path);
  }
  assert(await recordPath("other", attachment) !== path);
});

Deno.test("a record is read as it was kept, and gone when it is dropped", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/records/1.json`;
  const machine = new Machine();
  assertEquals(readRecord(path), undefined);
  await machine.apply(keepRecord({ ...attachment, path, data: { mtu: 1400 } }));
  assertEquals(readRecord(path), { ...attachment, path, data: { mtu: 1400 } });
  assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  await machine.apply(dropRecord({ path }));
  await machine.apply(dropRecord({ path }));
  assertEquals(readRecord(path), undefined);
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("a rollback of a record that replaced another writes that one again", async () => {
  const dir = Deno.makeTempDirSync();
  const before = { ...attachment, path: `${dir}/1.json`, data: 1 };
  await new Machine().apply(keepRecord(before));
  const machine = new Machine();
  await machine.apply(keepRecord({ ...before, data: 2 }, { before }));
  assertEquals(readRecord(before.path), { ...before, data: 2 });
  assertEquals(await machine.rollback(), []);
  assertEquals(readRecord(before.path), before);
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("what a killed ADD has left of a record goes with it", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/1.json`;
  const machine = new Machine();
  Deno.writeTextFileSync(`${path}.tmp`, "{");
  await machine.apply(keepRecord({ ...attachment, path, data: 1 }));
  assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["1.json"]);
  Deno.writeTextFileSync(`${path}.tmp`, "{");
  await machine.apply(dropRecord({ path }));
  assertEquals([...Deno.readDirSync(dir)], []);
  Deno.removeSync(dir);
});

Deno.test("a rollback takes a record back, and a broken one counts as none", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/1.json`;
  const machine = new Machine();
  await machine.apply(keepRecord({ ...attachment, path, data: 1 }));
  assertEquals(await machine.rollback(), []);
  assertEquals(readRecord(path), undefined);
  for (const text of ["", "{", "1", "null", "{}"]) {
    Deno.writeTextFileSync(path, text);
    assertEquals(readRecord(path), undefined, text);
  }
  Deno.removeSync(dir, { recursive: true });
});
