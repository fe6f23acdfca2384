import { assert, assertEquals, assertMatch } from "@std/assert";
import { Machine } from "../ns/machine.ts";
import type { Decoder } from "../cni/decode.ts";
import { integer, object, optional, required } from "../cni/decode.ts";
import {
  commandWords,
  readRecord,
  recordPath,
  records,
  removeRecord,
  writeRecord,
} from "./record.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };

Deno.test("recordPath() differs as soon as one part of the attachment does", async () => {
  const path = await recordPath("devices", attachment);
  assertMatch(path, /^\/run\/cni\/denocni\/devices\/[0-9a-f]{32}\.json$/);
  for (const other of [{ network: "ne" }, { containerId: "tc1" }, { ifName: "eth1" }]) {
    assert(await recordPath("devices", { ...attachment, ...other }) !== path);
  }
  assert(await recordPath("other", attachment) !== path);
});

const number = integer();

/** Reads a record of a number. */
const read = (path: string) => readRecord(path, number);

Deno.test("a record is read as it was written, and gone when it is removed", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/records/1.json`;
  const machine = new Machine();
  assertEquals(read(path), undefined);
  await machine.apply(writeRecord({ ...attachment, path, data: 1400 }));
  assertEquals(read(path), { ...attachment, path, data: 1400 });
  assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  await machine.apply(removeRecord({ path }));
  await machine.apply(removeRecord({ path }));
  assertEquals(read(path), undefined);
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("a rollback of a record that replaced another writes that one again", async () => {
  const dir = Deno.makeTempDirSync();
  const before = { ...attachment, path: `${dir}/1.json`, data: 1 };
  await new Machine().apply(writeRecord(before));
  const machine = new Machine();
  await machine.apply(writeRecord({ ...before, data: 2 }, { before }));
  assertEquals(read(before.path), { ...before, data: 2 });
  assertEquals(await machine.rollback(), []);
  assertEquals(read(before.path), before);
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("what a killed ADD has left of a record goes with it", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/1.json`;
  const machine = new Machine();
  Deno.writeTextFileSync(`${path}.tmp`, "{");
  await machine.apply(writeRecord({ ...attachment, path, data: 1 }));
  assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["1.json"]);
  Deno.writeTextFileSync(`${path}.tmp`, "{");
  await machine.apply(removeRecord({ path }));
  assertEquals([...Deno.readDirSync(dir)], []);
  Deno.removeSync(dir);
});

Deno.test("a rollback takes a record back, and a broken one counts as none", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/1.json`;
  const machine = new Machine();
  await machine.apply(writeRecord({ ...attachment, path, data: 1 }));
  assertEquals(await machine.rollback(), []);
  assertEquals(read(path), undefined);
  for (const text of ["", "{", "1", "null", "{}"]) {
    Deno.writeTextFileSync(path, text);
    assertEquals(read(path), undefined, text);
  }
  Deno.removeSync(dir, { recursive: true });
});

/** What is read of a file with this text. */
function readText<T>(text: string, decoder: Decoder<T>) {
  const path = Deno.makeTempFileSync();
  Deno.writeTextFileSync(path, text);
  const record = readRecord(path, decoder);
  Deno.removeSync(path);
  return record && { ...record, path: "" };
}

Deno.test("a record that does not decode counts as none", () => {
  const whole = { ...attachment, data: 1 };
  assertEquals(readText(JSON.stringify(whole), number), { ...whole, path: "" });
  const damaged: unknown[] = [[], "x", [whole], { ...whole, data: "1" }, { ...whole, data: null }];
  for (const key of ["network", "containerId", "ifName", "data"]) {
    damaged.push({ ...whole, [key]: undefined }, { ...whole, [key]: {} }, {
      ...whole,
      [key]: true,
    });
  }
  for (const ifName of ["", "a/b", "a b", "longer-than-a-name"]) damaged.push({ ...whole, ifName });
  for (const value of damaged) {
    assertEquals(readText(JSON.stringify(value), number), undefined, JSON.stringify(value));
  }
});

Deno.test("fields that a newer version has added are ignored", () => {
  const decoder = object({ mtu: required(number, ""), more: optional(number, "") });
  const data = { mtu: 1400, later: { a: [1] } };
  const text = JSON.stringify({ ...attachment, version: 2, data });
  assertEquals(readText(text, decoder), {
    ...attachment,
    path: "",
    data: { mtu: 1400, more: undefined },
  });
});

Deno.test("words of a command are texts without line breaks, and at least one", () => {
  const issuesOf = (value: unknown) =>
    readText(JSON.stringify({ ...attachment, data: value }), commandWords);
  assertEquals(issuesOf(["10.0.0.0/8", "dev"])?.data, ["10.0.0.0/8", "dev"]);
  for (const value of [[], [1], ["a\nb"], "a", [["a"]], [null]]) {
    assertEquals(issuesOf(value), undefined, JSON.stringify(value));
  }
});

Deno.test("records() finds nothing where there is no folder, and plans one file an attachment", async () => {
  const kind = "no-such-kind";
  const none = records(kind, number);
  const path = await recordPath(kind, attachment);
  assertEquals(await none.find(attachment), undefined);
  assertEquals([none.all(), none.stale({ network: "net", valid: [] })], [[], []]);
  assertEquals(await none.remove(attachment), []);
  const steps = await none.write({ ...attachment, more: 1 } as typeof attachment, 7);
  assertEquals(steps.map(({ do: action, undo }) => [action, undo]), [
    [{ kind: "mkdir", path: path.slice(0, path.lastIndexOf("/")) }, undefined],
    [
      {
        kind: "write",
        path,
        text: '{"network":"net","containerId":"c1","ifName":"eth0","data":7}\n',
        mode: 0o600,
        temporary: `${path}.tmp`,
      },
      { kind: "remove", path },
    ],
  ]);
});
