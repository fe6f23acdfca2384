import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import type { LeaseRecordOf } from "./lease_record.ts";
import { CniError } from "../../../cni/error.ts";
import { Machine } from "../../../ns/machine.ts";
import { decodeMessage4 } from "../codec/message4.ts";
import { decodeMessage6 } from "../codec/message6.ts";
import { clientId, golden4 } from "../codec/testing_message4.ts";
import { duid, golden6 } from "../codec/testing_message6.ts";
import { leaseOf4 } from "./lease4.ts";
import { leaseOf6 } from "./lease6.ts";
import { LeaseStore, removeLeaseSteps, writeLeaseSteps } from "./lease_store.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };
const ack = decodeMessage4(golden4.ack)!;
const lease = leaseOf4(ack, { now: 1_000_000, age: 20, random: () => 0.5 });

/** Calls a test with a store of its own and the lines it has said. */
async function withStore(
  task: (store: LeaseStore, said: string[]) => Promise<void> | void,
): Promise<void> {
  const dir = Deno.makeTempDirSync();
  const said: string[] = [];
  try {
    await task(new LeaseStore(`${dir}/dhcp`, { say: (line) => said.push(line) }), said);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

async function entryOf(
  store: LeaseStore,
  parts: Partial<Omit<LeaseRecordOf<4>, "family">> = {},
): Promise<LeaseRecordOf<4>> {
  return {
    family: 4,
    ...attachment,
    path: await store.pathOf({ ...attachment, ...parts }),
    agent: "/run/cni/dhcp.sock",
    netns: "/run/netns/c1",
    identity: { dev: 4, ino: 4026532000 },
    client: {
      clientId,
      requested: [3, 1],
      provided: new Map([[12, new TextEncoder().encode("host")], [60, new Uint8Array()]]),
      broadcast: false,
      priority: 50,
    },
    lease,
    replacedAcks: [],
    generation: 1,
    ...parts,
  };
}

Deno.test("Store gives a lease back as it was written, to its owner alone", () =>
  withStore(async (store, said) => {
    const entry = await entryOf(store, { replacedAcks: [decodeMessage4(golden4.offer)!] });
    assertEquals(store.all(), []);
    store.write(entry);
    assertEquals(store.all(), [entry]);
    assertEquals(store.read(entry.path), entry);
    assertEquals(Deno.statSync(entry.path).mode! & 0o777, 0o600);
    assertEquals(said, []);
  }));

Deno.test("Store keeps leases without end, and those that no agent keeps", () =>
  withStore(async (store) => {
    const endless = { ...lease, renewAt: Infinity, rebindAt: Infinity, expireAt: Infinity };
    const entry = await entryOf(store, { lease: endless, agent: undefined });
    store.write(entry);
    assertEquals(store.read(entry.path)?.lease.expireAt, Infinity);
    assertEquals(store.read(entry.path)?.agent, undefined);
  }));

Deno.test("Store keeps the families of an attachment apart", () =>
  withStore(async (store, said) => {
    const four = await entryOf(store);
    const ack6 = decodeMessage6(golden6.reply)!;
    const six: LeaseRecordOf<6> = {
      ...four,
      family: 6,
      path: await store.pathOf(attachment, 6),
      client: { duid, iaid: 0xffff_ffff, requested: [23, 24] },
      lease: leaseOf6(ack6, { now: 1_000_000, age: 20, random: () => 0.5 }),
      replacedAcks: [ack6],
    };
    store.write(four);
    store.write(six);
    assertMatch(six.path.slice(store.dir.length), /^\/[0-9a-f]{32}\.v6\.json$/);
    assertEquals(store.all(), [four, six]);
    const { lease: _, replacedAcks: __, generation: ___, ...intent } = six;
    store.writeIntent(intent);
    assertEquals(store.allIntents(), [intent]);
    store.removeIntent(six.path);
    store.remove(four);
    assertEquals(store.all(), [six]);
    Deno.renameSync(six.path, four.path);
    assertEquals(store.all(), []);
    assertMatch(said[0]!, /data\.family: expected 4/);
  }));

Deno.test("Store keeps paths as the host has them, for an agent that sees them elsewhere", () =>
  withStore(async (store, said) => {
    const inside = new LeaseStore(store.dir, { prefix: "/host", say: store.say });
    const entry = await entryOf(store);
    const seen = { ...entry, netns: `/host${entry.netns}`, agent: `/host${entry.agent}` };
    inside.write(seen);
    assertEquals([inside.all(), store.all()], [[seen], [entry]]);
    const { lease: _, replacedAcks: __, generation: ___, ...intent } = seen;
    inside.writeIntent(intent);
    assertEquals(inside.readIntent(intent.path), intent);
    assertEquals(store.readIntent(intent.path)?.netns, entry.netns);
    store.write({ ...entry, agent: undefined });
    assertEquals(inside.all(), [{ ...seen, agent: undefined }]);
    inside.remove(seen);
    assertEquals([store.all(), said], [[], []]);
  }));

Deno.test("Store removes a lease, and what a kill has left beside it", () =>
  withStore(async (store) => {
    const entry = await entryOf(store);
    store.write(entry);
    Deno.writeTextFileSync(`${entry.path}.tmp`, "{");
    store.remove(entry);
    assertEquals([...Deno.readDirSync(store.dir)], []);
    store.remove(entry);
  }));

Deno.test("Store leaves a later acquisition alone", () =>
  withStore(async (store) => {
    const entry = await entryOf(store);
    store.write({ ...entry, generation: 2 });
    store.remove(entry);
    assertEquals(store.read(entry.path)?.generation, 2);
  }));

Deno.test("Store writes over what a kill has left", () =>
  withStore(async (store) => {
    const entry = await entryOf(store);
    store.write(entry);
    Deno.writeTextFileSync(`${entry.path}.tmp`, "half");
    store.write({ ...entry, generation: 2 });
    assertEquals(store.all().map(({ generation }) => generation), [2]);
    assertEquals([...Deno.readDirSync(store.dir)].length, 1);
  }));

Deno.test("paths differ as soon as one part of the attachment does", () =>
  withStore(async (store) => {
    const path = await store.pathOf(attachment);
    assertMatch(path.slice(store.dir.length), /^\/[0-9a-f]{32}\.json$/);
    for (const other of [{ network: "ne" }, { containerId: "tc1" }, { ifName: "eth1" }]) {
      assert(await store.pathOf({ ...attachment, ...other }) !== path);
    }
  }));

/** Changes a part of what is written. */
function changed(entry: LeaseRecordOf<4>, path: readonly string[], value: unknown): string {
  const whole = JSON.parse(Deno.readTextFileSync(entry.path));
  const parent = path.slice(0, -1).reduce((at, key) => at[key], whole);
  parent[path.at(-1)!] = value;
  return JSON.stringify(whole);
}

const damages: Readonly<Record<string, [(entry: LeaseRecordOf<4>) => string, says: string]>> = {
  "empty": [() => "", "end of JSON input"],
  "cut": [(entry) => Deno.readTextFileSync(entry.path).slice(0, 200), "JSON"],
  "no object": [() => "[]", "expected object"],
  "a network that is none": [(entry) => changed(entry, ["network"], ""), "network: expected text"],
  "an interface that is none": [(e) => changed(e, ["ifName"], "a/b"), "ifName: expected name"],
  "a relative namespace": [(e) => changed(e, ["data", "netns"], "x"), "data.netns: expected"],
  "no inode": [(e) => changed(e, ["data", "identity", "ino"], -1), "data.identity.ino: expected"],
  "another family": [(e) => changed(e, ["data", "family"], 6), "data.family: expected 4"],
  "no generation": [(e) => changed(e, ["data", "generation"], 0), "expected integer from 1"],
  "no lease": [(e) => changed(e, ["data", "lease", "ack"], "00"), "data.lease.ack: expected"],
  "times out of order": [(e) => changed(e, ["data", "lease", "expireAt"], 1), "expireAt"],
  "an odd digit": [(e) => changed(e, ["data", "ask", "clientId"], "0"), "clientId: expected bytes"],
  "a code beyond 255": [(e) => changed(e, ["data", "ask", "requested"], [256]), "requested[0]"],
  "no message before": [(e) => changed(e, ["data", "replaces"], ["00"]), "replaces[0]: expected"],
};

for (const [name, [damage, says]] of Object.entries(damages)) {
  Deno.test(`a lease file with ${name} is set aside, and the others are read`, () =>
    withStore(async (store, said) => {
      const [bad, good] = [await entryOf(store), await entryOf(store, { ifName: "eth1" })];
      store.write(bad);
      store.write(good);
      const text = damage(bad);
      Deno.writeTextFileSync(bad.path, text);
      assertEquals(store.all(), [good]);
      assertEquals(said.length, 1);
      assertMatch(said[0]!, /^dhcp: Cannot use lease file ".*": .*; it is kept as ".*\.damaged"$/);
      assert(said[0]!.includes(says), said[0]);
      assertEquals(Deno.readTextFileSync(`${bad.path}.damaged`), text);
      assertEquals(store.all(), [good]);
      assertEquals(said.length, 1);
    }));
}

Deno.test("a lease file that cannot be read now stays, and the others are read", () =>
  withStore(async (store, said) => {
    const [bad, good] = [await entryOf(store), await entryOf(store, { ifName: "eth1" })];
    store.write(good);
    for (const path of [bad.path, bad.path.replace(/json$/, "intent")]) Deno.mkdirSync(path);
    const before = [...Deno.readDirSync(store.dir)].length;
    assertEquals([store.all(), store.allIntents()], [[good], []]);
    assertThrows(() => store.read(bad.path), CniError, "Is a directory");
    assertThrows(() => store.readIntent(bad.path), CniError, "Is a directory");
    assertThrows(() => store.remove(bad), CniError, "Is a directory");
    assertEquals([...Deno.readDirSync(store.dir)].length, before);
    assertEquals(said.length, 2);
    assertMatch(said[0]!, /^dhcp: Cannot read lease file ".*\.json": Is a directory/);
  }));

Deno.test("a plugin's steps write the same file, and a rollback removes it", () =>
  withStore(async (store) => {
    const entry = await entryOf(store);
    store.write(entry);
    const text = Deno.readTextFileSync(entry.path);
    store.remove(entry);
    const machine = new Machine();
    await machine.apply(writeLeaseSteps(entry));
    assertEquals(Deno.readTextFileSync(entry.path), text);
    assertEquals(await machine.rollback(), []);
    assertEquals(store.all(), []);
    await machine.apply([...writeLeaseSteps(entry), ...removeLeaseSteps(entry)]);
    assertEquals(store.all(), []);
  }));

Deno.test("Store notes acquisitions beside leases", () =>
  withStore(async (store, said) => {
    const { lease: _, replacedAcks: __, generation: ___, ...intent } = await entryOf(store);
    assertEquals([store.readIntent(intent.path), store.allIntents()], [undefined, []]);
    store.writeIntent(intent);
    assertEquals(store.readIntent(intent.path), intent);
    assertEquals([store.allIntents(), store.all()], [[intent], []]);
    store.removeIntent(intent.path);
    assertEquals([...Deno.readDirSync(store.dir)], []);
    store.removeIntent(intent.path);
    Deno.writeTextFileSync(intent.path.replace("json", "intent"), "{}");
    assertEquals(store.allIntents(), []);
    assertMatch(
      said[0]!,
      /intent": network: expected text but received nothing; .*intent\.damaged"$/,
    );
  }));
