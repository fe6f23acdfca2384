import { assertEquals } from "@std/assert";
import type { Issue } from "../../cni/decode.ts";
import type { RemoveFile, Step, WriteFile } from "../../host/step.ts";
import { Machine } from "../../ns/machine.ts";
import { assertRecordFormat } from "../../tests/harness/records.ts";
import { backupPath, readBackup, removeSavedTuning, saveTuning, tuningRecords } from "./record.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };
const identity = { dev: 4, ino: 7 };

/** A folder, and what a container's ADD writes of it to its file alone. */
function folder() {
  const dir = Deno.makeTempDirSync();
  const backup = backupPath(`${dir}/tuning`, attachment);
  const now = { netns: "/run/netns/c1", identity, backup };
  const isFile = ({ do: action }: Step) => "path" in action && action.path.startsWith(dir);
  return {
    dir,
    backup,
    steps: async (attributes: Parameters<typeof saveTuning>[0]["attributes"]) =>
      (await saveTuning({ attachment, now, attributes, changes: [] })).filter(isFile),
    [Symbol.dispose]: () => Deno.removeSync(dir, { recursive: true }),
  };
}

Deno.test("backupPath() is the reference's", () => {
  assertEquals(
    backupPath("/tmp/tuning-test", { containerId: "dummy", ifName: "dummy0" }),
    "/tmp/tuning-test/dummy_dummy0.json",
  );
  assertEquals(backupPath("/run/cni/tuning/", attachment), "/run/cni/tuning/c1_eth0.json");
});

Deno.test("a file holds what is about to change, as the reference writes it", async () => {
  using it = folder();
  await new Machine().apply(await it.steps({ txQLen: 1000, mac: "02:00:00:00:00:01", mtu: 1500 }));
  assertEquals(
    Deno.readTextFileSync(it.backup),
    '{\n "mac": "02:00:00:00:00:01",\n "mtu": 1500,\n "txQLen": 1000\n}',
  );
  assertEquals(Deno.statSync(it.backup).mode! & 0o777, 0o600);
});

Deno.test("the first file survives a second ADD, which adds to it; a rollback writes it again", async () => {
  using it = folder();
  await new Machine().apply(await it.steps({ mtu: 1500 }));
  assertEquals(await it.steps({ mtu: 1400 }), []);
  const machine = new Machine();
  await machine.apply(await it.steps({ mtu: 1400, promisc: false }));
  assertEquals(readBackup(it.backup), { mtu: 1500, promisc: false });
  assertEquals(await machine.rollback(), []);
  assertEquals(readBackup(it.backup), { mtu: 1500 });
});

Deno.test("a rollback of the first ADD removes its file", async () => {
  using it = folder();
  const machine = new Machine();
  await machine.apply(await it.steps({ mtu: 1500 }));
  assertEquals(await machine.rollback(), []);
  assertEquals(readBackup(it.backup), {});
});

Deno.test("nothing is written when nothing is about to change", async () => {
  const now = { netns: "/run/netns/c1", identity, backup: "/nowhere/c1_eth0.json" };
  assertEquals(await saveTuning({ attachment, now, attributes: {}, changes: [] }), []);
});

Deno.test("a record says where, and what variables held and were set to", async () => {
  const now = { netns: "/run/netns/c1", identity, backup: "/nowhere/c1_eth0.json" };
  const changes = [
    { name: "net.a", key: "net/a", value: "1", was: "0" },
    { name: "net.b", key: "net/b", value: "1", was: undefined },
  ];
  const steps = await saveTuning({ attachment, now, attributes: {}, changes });
  const [, record] = steps;
  assertEquals(record!.do.kind, "write");
  assertEquals(JSON.parse((record!.do as { text: string }).text), {
    ...attachment,
    data: { ...now, variables: [{ key: "net/a", was: "0", set: "1" }] },
  });
});

async function forgotten(...paths: string[]): Promise<string[]> {
  const steps = await removeSavedTuning(attachment, paths);
  return steps.map((step) => (step.do as RemoveFile).path);
}

Deno.test("readBackup() takes what it understands of a file", async () => {
  using it = folder();
  Deno.mkdirSync(`${it.dir}/tuning`);
  const texts: [string, object][] = [
    ["", {}],
    ["{", {}],
    ["[]", {}],
    ['{"mtu": "1500", "promisc": 1, "mac": null}', {}],
    ['{"mtu": 1500, "more": 1, "allmulti": false}', { mtu: 1500, allmulti: false }],
  ];
  for (const [text, expected] of texts) {
    Deno.writeTextFileSync(it.backup, text);
    assertEquals(readBackup(it.backup), expected, text);
  }
  assertEquals(await forgotten(it.backup, "/nowhere/x"), [it.backup]);
});

Deno.test("removeSavedTuning() removes what a killed write has left of a file, too", async () => {
  using it = folder();
  const [, write] = await it.steps({ mtu: 1400 });
  const { temporary } = write!.do as WriteFile;
  Deno.mkdirSync(`${it.dir}/tuning`);
  Deno.writeTextFileSync(temporary!, "{");
  assertEquals(await forgotten(it.backup), [temporary!]);
});

Deno.test("a record is read as it was written, and none of its parts may be damaged", () => {
  assertRecordFormat(tuningRecords, {
    netns: "/run/netns/c1",
    identity,
    backup: "/run/cni/tuning/c1_eth0.json",
    variables: [{ key: "net/ipv4/tcp_rmem", was: "4096\t131072", set: "4096 131072\n" }],
  });
});

Deno.test("a record names variables below net alone", () => {
  const issuesOf = (key: string) => {
    const issues: Issue[] = [];
    const variables = [{ key, was: "0", set: "1" }];
    tuningRecords.decoder.decode({ netns: "/a", identity, backup: "/b", variables }, "", issues);
    return issues.map(({ path }) => path);
  };
  assertEquals(issuesOf("net/ipv4/conf/eth0.5/forwarding"), []);
  for (const key of ["", "net", "net/", "kernel/core_pattern", "net/../kernel/x", "net//a"]) {
    assertEquals(issuesOf(key), ["variables[0].key"], key);
  }
});
