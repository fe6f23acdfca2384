import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { type CniError, codes, toCniError } from "../cni/error.ts";
import { formatResult, stringifyResult } from "../cni/result.ts";
import type { TestCall } from "../cni/testing.ts";
import { add, call, testTraits } from "../cni/testing.ts";
import type { ContainerInterface } from "../cni/attachment_key.ts";
import type { JsonObject, Result, Verb } from "../cni/types.ts";
import { versions } from "../cni/version.ts";
import { lockFile } from "../host/lock.ts";
import { describe } from "../host/step.ts";
import { DryRun, Machine } from "../ns/machine.ts";
import { Random, seedOf } from "../tests/harness/random.ts";
import { plugin } from "./host-local.ts";

/** A data directory, and calls that use it. */
class Fixture implements Disposable {
  readonly dataDir = Deno.makeTempDirSync({ prefix: "host-local" });
  readonly dir = `${this.dataDir}/mynet`;

  constructor(readonly ipam: JsonObject, readonly top: JsonObject = {}) {}

  [Symbol.dispose](): void {
    Deno.removeSync(this.dataDir, { recursive: true });
  }

  config(more: JsonObject = {}): JsonObject {
    const ipam = { type: "host-local", dataDir: this.dataDir, ...this.ipam };
    return { ...this.top, ipam, ...more };
  }

  async add(containerId: string, rest: Partial<TestCall> = {}): Promise<string[]> {
    const result = await add(plugin, { config: this.config(), containerId, ...rest });
    return result.ips.map(({ address }) => address);
  }

  async run(
    verb: Exclude<Verb, "VERSION">,
    containerId = "",
    rest: Partial<TestCall> = {},
  ): Promise<Result | undefined> {
    return await call(plugin, verb, { config: this.config(), containerId, ...rest });
  }

  del(containerId: string, rest: Partial<TestCall> = {}): Promise<Result | undefined> {
    return this.run("DEL", containerId, rest);
  }

  gc(...valid: ContainerInterface[]): Promise<Result | undefined> {
    const listed = valid.map(({ containerId, ifName }) => ({
      containerID: containerId,
      ifname: ifName,
    }));
    const config = this.config({ "cni.dev/valid-attachments": listed });
    return this.run("GC", "", { config });
  }

  async error(verb: Exclude<Verb, "VERSION">, containerId = "", rest: Partial<TestCall> = {}) {
    return toCniError(await assertRejects(() => this.run(verb, containerId, rest)));
  }

  read(name: string): string {
    return Deno.readTextFileSync(`${this.dir}/${name}`);
  }

  write(name: string, text: string): void {
    Deno.mkdirSync(this.dir, { recursive: true });
    Deno.writeTextFileSync(`${this.dir}/${name}`, text);
  }

  /** Names of reservation files. */
  get reserved(): string[] {
    const names = [...Deno.readDirSync(this.dir)].map(({ name }) => name);
    return names.filter((name) => /^[\da-f.:]+$/.test(name)).sort();
  }

  /** Entries of the index by their file names. */
  get entries(): Record<string, JsonObject> {
    const dir = `${this.dataDir}/.denocni/mynet/by-key`;
    return Object.fromEntries(
      [...Deno.readDirSync(dir)].map((
        { name },
      ) => [name, JSON.parse(Deno.readTextFileSync(`${dir}/${name}`))]),
    );
  }

  /** As after a reboot: what is known is of another boot. */
  reboot(): void {
    const dir = `${this.dataDir}/.denocni/mynet/by-key`;
    for (const [name, entry] of Object.entries(this.entries)) {
      Deno.writeTextFileSync(`${dir}/${name}`, JSON.stringify({ ...entry, boot: "another" }));
    }
  }

  /** As after a reboot of a host that runs the reference's plugin. */
  age(): void {
    Deno.removeSync(`${this.dataDir}/.denocni`, { recursive: true });
    const old = new Date("2001-01-01");
    for (const name of this.reserved) Deno.utimeSync(`${this.dir}/${name}`, old, old);
  }

  /** A path to a file of the kernel's namespace file system. */
  namespace(name: string, kind: "uts" | "ipc"): string {
    const path = `${this.dataDir}/${name}`;
    Deno.symlinkSync(`/proc/self/ns/${kind}`, path);
    return path;
  }
}

/** What a test makes the plugin say on stderr. */
async function saidBy(test: () => Promise<void>): Promise<string[]> {
  const { error } = console;
  const lines: string[] = [];
  console.error = (line) => lines.push(line);
  try {
    await test();
  } finally {
    console.error = error;
  }
  return lines;
}

const eight: JsonObject = { ranges: [[{ subnet: "10.1.2.0/29" }]] };
const dualStack: JsonObject = {
  ranges: [
    [{ subnet: "10.1.2.0/24" }, { subnet: "10.2.2.0/24" }],
    [{ subnet: "2001:db8:1::0/64" }],
  ],
  routes: [
    { dst: "0.0.0.0/0" },
    { dst: "::/0" },
    { dst: "192.168.0.0/16", gw: "1.1.1.1" },
    { dst: "2001:db8:2::0/64", gw: "2001:db8:3::1" },
  ],
};

for (const cniVersion of versions) {
  const top = { cniVersion };

  Deno.test(`${cniVersion}: ADD gives an address of each set and leaves the reference's files`, async () => {
    using fixture = new Fixture(dualStack, top);
    const result = await add(plugin, { config: fixture.config() });
    assertEquals(result, {
      interfaces: [],
      ips: [
        { address: "10.1.2.2/24", gateway: "10.1.2.1" },
        { address: "2001:db8:1::2/64", gateway: "2001:db8:1::1" },
      ],
      routes: [
        { dst: "0.0.0.0/0" },
        { dst: "::/0" },
        { dst: "192.168.0.0/16", gw: "1.1.1.1" },
        { dst: "2001:db8:2::/64", gw: "2001:db8:3::1" },
      ],
      dns: {},
    });
    const raw = stringifyResult(formatResult(result, cniVersion));
    const versioned = ["0.3.0", "0.3.1", "0.4.0"].includes(cniVersion);
    assertEquals(raw.includes('"version":'), versioned);
    assertEquals(fixture.read("10.1.2.2"), "dummy\r\neth0");
    assertEquals(fixture.read("2001:db8:1::2"), "dummy\r\neth0");
    assertEquals(fixture.read("last_reserved_ip.0"), "10.1.2.2");
    assertEquals(fixture.read("last_reserved_ip.1"), "2001:db8:1::2");
    await fixture.del("dummy");
    assertEquals(fixture.reserved, []);
  });

  Deno.test(`${cniVersion}: as in the reference, a repeated ADD may be refused`, async () => {
    using fixture = new Fixture({ ...eight, onDuplicate: "error" }, top);
    const text = "10.1.2.2 has been allocated to dummy, duplicate allocation is not allowed";
    assertEquals(await fixture.add("dummy"), ["10.1.2.2/29"]);
    const first = await fixture.error("ADD", "dummy");
    assertEquals(first.code, codes.alreadyExists);
    assertStringIncludes(first.msg, text);
    assertEquals(await fixture.add("dummy1"), ["10.1.2.3/29"]);
    assertStringIncludes((await fixture.error("ADD", "dummy")).msg, text);
    await fixture.del("dummy");
    assertEquals(fixture.reserved, ["10.1.2.3"]);
    await fixture.del("dummy1");
    assertEquals(fixture.reserved, []);
  });

  Deno.test(`${cniVersion}: a requested address is given`, async () => {
    using fixture = new Fixture(
      { ranges: [[{ subnet: "10.1.2.0/24" }]] },
      { ...top, args: { cni: { ips: ["10.1.2.88"] } } },
    );
    assertEquals(await fixture.add("dummy"), ["10.1.2.88/24"]);
  });

  Deno.test(`${cniVersion}: requested addresses go to their sets`, async () => {
    using fixture = new Fixture(
      { ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "10.1.3.0/24" }]] },
      { ...top, args: { cni: { ips: ["10.1.3.77", "10.1.2.88"] } } },
    );
    if (cniVersion < "0.3.0") {
      const { code, msg } = await fixture.error("ADD", "dummy");
      assertEquals(code, codes.invalidNetworkConfig);
      assertStringIncludes(msg, "does not support more than 1 address per family");
    } else assertEquals(await fixture.add("dummy"), ["10.1.2.88/24", "10.1.3.77/24"]);
  });

  Deno.test(`${cniVersion}: requested addresses of both families`, async () => {
    using fixture = new Fixture(
      {
        ranges: [
          [{ subnet: "172.16.1.0/24" }, { subnet: "10.1.2.0/24" }],
          [{ subnet: "2001:db8:1::/48" }],
        ],
      },
      { ...top, args: { cni: { ips: ["10.1.2.88", "2001:db8:1::999"] } } },
    );
    assertEquals(await fixture.add("dummy"), ["10.1.2.88/24", "2001:db8:1::999/48"]);
  });

  Deno.test(`${cniVersion}: a set serves one request, and nothing is reserved when one is left over`, async () => {
    using fixture = new Fixture(
      { ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "10.1.3.0/24" }]] },
      { ...top, args: { cni: { ips: ["10.1.2.88", "10.1.2.77"] } } },
    );
    const { msg } = await fixture.error("ADD", "dummy");
    if (cniVersion < "0.3.0") assertStringIncludes(msg, "more than 1 address per family");
    else {
      assertStringIncludes(msg, "failed to allocate all requested IPs: 10.1.2.77");
      assertEquals(fixture.reserved, []);
    }
  });
}

Deno.test("files have the reference's modes", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("dummy");
  const mode = (path: string) => Deno.statSync(path).mode! & 0o777;
  assertEquals(mode(`${fixture.dir}/10.1.2.2`), 0o600);
  assertEquals(mode(`${fixture.dir}/last_reserved_ip.0`), 0o600);
  assertEquals(mode(`${fixture.dir}/lock`), 0o750);
  assertEquals(mode(fixture.dir), 0o755);
});

Deno.test("networks are apart, and DEL of one interface leaves the other's address", async () => {
  using fixture = new Fixture(eight);
  const net = (name: string, ifName: string) => ({ config: fixture.config({ name }), ifName });
  assertEquals(await fixture.add("dummy", net("mynet0", "eth0")), ["10.1.2.2/29"]);
  assertEquals(await fixture.add("dummy", net("mynet1", "eth1")), ["10.1.2.2/29"]);
  await fixture.del("dummy", net("mynet0", "eth0"));
  const files = (name: string) =>
    [...Deno.readDirSync(`${fixture.dataDir}/${name}`)].map(({ name }) => name).sort();
  assertEquals(files("mynet0"), ["last_reserved_ip.0", "lock"]);
  assertEquals(files("mynet1"), ["10.1.2.2", "last_reserved_ip.0", "lock"]);
});

Deno.test("DEL removes a file that holds the container alone, as old releases wrote it", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("dummy");
  await fixture.add("other");
  fixture.write("10.1.2.2", "dummy");
  await fixture.del("dummy");
  assertEquals(fixture.reserved, ["10.1.2.3"]);
});

Deno.test("DEL prefers files of the interface to those of the container alone", async () => {
  using fixture = new Fixture(eight);
  fixture.write("10.1.2.2", "dummy");
  fixture.write("10.1.2.3", "dummy\r\neth0");
  await fixture.del("dummy");
  assertEquals(fixture.reserved, ["10.1.2.2"]);
  await fixture.del("dummy");
  assertEquals(fixture.reserved, []);
});

Deno.test("DEL of an unknown container, or of a network never used, makes nothing", async () => {
  using fixture = new Fixture(eight);
  await fixture.del("unknown");
  assertEquals([...Deno.readDirSync(fixture.dataDir)], []);
  await fixture.add("dummy");
  await fixture.del("unknown");
  assertEquals(fixture.reserved, ["10.1.2.2"]);
});

Deno.test("DEL works in spite of a configuration that no longer validates and of unknown CNI_ARGS", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("dummy");
  const ipam = { dataDir: fixture.dataDir, ranges: [[{ subnet: "10.1.2.0/33" }]], routes: 7 };
  await fixture.del("dummy", { config: { ipam }, args: "FOO=BAR;;" });
  assertEquals(fixture.reserved, []);
});

Deno.test("white space around a container ID does not count", async () => {
  using fixture = new Fixture(eight);
  const containerId = "   dummy\n ";
  await fixture.add(containerId);
  assertEquals(fixture.read("10.1.2.2"), "dummy\r\neth0");
  await fixture.del(containerId);
  assertEquals(fixture.reserved, []);
});

Deno.test("an address is requested through CNI_ARGS, too", async () => {
  using fixture = new Fixture({ ranges: [[{ subnet: "10.1.2.0/24" }]] });
  assertEquals(await fixture.add("a", { args: "IP=10.1.2.10" }), ["10.1.2.10/24"]);
  assertEquals(await fixture.add("b", { args: "IgnoreUnknown=1;X=Y;IP=10.1.2.11/24" }), [
    "10.1.2.11/24",
  ]);
  for (const args of ["IP=10.1.2", "IP=", "X=Y", "IP"]) {
    const { code, msg } = await fixture.error("ADD", "c", { args });
    assertEquals(code, codes.invalidEnvironment);
    assertMatch(msg, /^ARGS: /);
  }
});

Deno.test("sources of requests add up: CNI_ARGS, args and the capability", async () => {
  const ranges = [
    [{ subnet: "10.1.2.0/24" }],
    [{ subnet: "10.1.3.0/24" }],
    [{ subnet: "2001:db8::/64" }],
  ];
  using fixture = new Fixture({ ranges }, {
    args: { cni: { ips: ["10.1.3.7/24"] } },
    runtimeConfig: { ips: ["2001:db8::7/64", "10.1.3.7"] },
  });
  assertEquals(await fixture.add("a", { args: "IP=10.1.2.7" }), [
    "10.1.2.7/24",
    "10.1.3.7/24",
    "2001:db8::7/64",
  ]);
});

Deno.test("a requested address is refused when it is taken, outside, or the gateway", async () => {
  using fixture = new Fixture({
    ranges: [[{ subnet: "192.168.1.0/29", rangeStart: "192.168.1.1", rangeEnd: "192.168.1.5" }]],
  });
  const ask = (id: string, ip: string) => fixture.error("ADD", id, { args: `IP=${ip}` });
  assertEquals(await fixture.add("a", { args: "IP=192.168.1.5" }), ["192.168.1.5/29"]);
  const taken = await ask("b", "192.168.1.5");
  assertEquals(taken.code, codes.noAddress);
  assertStringIncludes(
    taken.msg,
    "requested IP address 192.168.1.5 is not available in range set 192.168.1.1-192.168.1.5",
  );
  assertMatch(taken.details, /^192\.168\.1\.5 is held by container "a" interface "eth0" for /);
  const outside = await ask("b", "192.168.1.6");
  assertStringIncludes(outside.msg, "failed to allocate all requested IPs: 192.168.1.6");
  assertStringIncludes((await ask("b", "192.168.1.0")).msg, "failed to allocate all requested IPs");
  const gateway = await ask("b", "192.168.1.1");
  assertStringIncludes(gateway.msg, "requested ip 192.168.1.1 is subnet's gateway");
  assertEquals(fixture.reserved, ["192.168.1.5"]);
});

Deno.test("excluded addresses are given to nobody who does not name one", async () => {
  using fixture = new Fixture({ ...eight, exclude: ["10.1.2.2", "10.1.2.4-10.1.2.5"] });
  assertEquals(await fixture.add("a"), ["10.1.2.3/29"]);
  assertEquals(await fixture.add("b"), ["10.1.2.6/29"]);
  assertEquals((await fixture.error("ADD", "c")).code, codes.noAddress);
  assertEquals(await fixture.add("c", { args: "IP=10.1.2.4" }), ["10.1.2.4/29"]);
});

Deno.test("a full set says who holds what", async () => {
  using fixture = new Fixture({ ranges: [[{ subnet: "10.1.2.0/28" }]] });
  for (let i = 0; i < 13; i++) await fixture.add(`c${i}`);
  const { code, msg, details } = await fixture.error("ADD", "late");
  assertEquals(code, codes.noAddress);
  assertEquals(
    msg,
    "Cannot reserve an address from range set 0: no IP addresses available in range set: 10.1.2.1-10.1.2.14",
  );
  const lines = details.split(", ");
  assertMatch(lines[0]!, /^10\.1\.2\.2 is held by container "c0" interface "eth0" for \d+ m?s$/);
  assertEquals([lines.length, lines.at(-1)], [11, "and 3 more"]);
  await fixture.del("c5");
  assertEquals(await fixture.add("late"), ["10.1.2.7/28"]);
});

Deno.test("when one set is full nothing is reserved from the others", async () => {
  using fixture = new Fixture({
    ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "10.1.3.0/30" }]],
  });
  await fixture.add("a");
  const { msg } = await fixture.error("ADD", "b");
  assertStringIncludes(
    msg,
    "range set 1: no IP addresses available in range set: 10.1.3.1-10.1.3.2",
  );
  assertEquals(fixture.reserved, ["10.1.2.2", "10.1.3.2"]);
});

Deno.test("a resolv.conf is reported; one that is missing is an error before anything is reserved", async () => {
  using fixture = new Fixture(eight);
  const resolvConf = `${fixture.dataDir}/resolv.conf`;
  const config = fixture.config({
    ipam: { ...eight, dataDir: fixture.dataDir, resolvConf },
  });
  const { code, msg } = await fixture.error("ADD", "a", { config });
  assertEquals(code, codes.ioFailure);
  assertStringIncludes(msg, `Cannot read "${resolvConf}": No such file or directory`);
  Deno.writeTextFileSync(resolvConf, "nameserver 192.0.2.3\n");
  const { dns } = await add(plugin, { config, containerId: "a" });
  assertEquals(dns, { nameservers: ["192.0.2.3"] });
  Deno.removeSync(resolvConf);
  await fixture.del("a", { config });
  assertEquals(fixture.reserved, []);
});

Deno.test("a last address that is no address is as good as none", async () => {
  using fixture = new Fixture(eight);
  fixture.write("last_reserved_ip.0", "10.1.2.4\n");
  assertEquals(await fixture.add("a"), ["10.1.2.2/29"]);
  fixture.write("last_reserved_ip.0", "10.1.2.4");
  assertEquals(await fixture.add("b"), ["10.1.2.5/29"]);
});

// Repeated ADDs.

Deno.test("the same container and interface gets its addresses again, and nothing is written", async () => {
  using fixture = new Fixture(dualStack);
  const netns = fixture.namespace("a", "uts");
  const first = await fixture.add("dummy", { netns });
  const before = Deno.statSync(`${fixture.dataDir}/.denocni/mynet/stamp`);
  assertEquals(await fixture.add("dummy", { netns }), first);
  assertEquals(Deno.statSync(`${fixture.dataDir}/.denocni/mynet/stamp`).ino, before.ino);
  assertEquals(fixture.reserved, ["10.1.2.2", "2001:db8:1::2"]);
  assertEquals(await fixture.add("dummy", { netns, ifName: "eth1" }), [
    "10.1.2.3/24",
    "2001:db8:1::3/64",
  ]);
});

Deno.test("a repeated ADD gets the addresses that the reference's plugin has reserved", async () => {
  using fixture = new Fixture(eight);
  fixture.write("10.1.2.4", "dummy\r\neth0");
  assertEquals(await fixture.add("dummy"), ["10.1.2.4/29"]);
  assertEquals(fixture.reserved, ["10.1.2.4"]);
});

Deno.test("a set added to the configuration gives an address beside the one that is held", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("dummy");
  const ranges = [[{ subnet: "10.1.2.0/29" }], [{ subnet: "2001:db8::/64" }]];
  const config = fixture.config({ ipam: { ranges, dataDir: fixture.dataDir } });
  assertEquals(await fixture.add("dummy", { config }), ["10.1.2.2/29", "2001:db8::2/64"]);
  await fixture.del("dummy", { config });
  assertEquals(fixture.reserved, []);
});

Deno.test("a repeated ADD that requests another address is refused", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("dummy");
  const { code, msg } = await fixture.error("ADD", "dummy", { args: "IP=10.1.2.5" });
  assertEquals(code, codes.alreadyExists);
  assertStringIncludes(msg, 'container "dummy" interface "eth0" holds 10.1.2.2 already');
  assertEquals(await fixture.add("dummy", { args: "IP=10.1.2.2" }), ["10.1.2.2/29"]);
});

Deno.test("a repeated ADD for another namespace is refused as long as the first one is there", async () => {
  using fixture = new Fixture(eight);
  const [first, second] = [fixture.namespace("a", "uts"), fixture.namespace("b", "ipc")];
  await fixture.add("dummy", { netns: first });
  const { code, msg } = await fixture.error("ADD", "dummy", { netns: second });
  assertEquals(code, codes.alreadyExists);
  assertStringIncludes(msg, `it holds 10.1.2.2 in another namespace, "${first}"`);
  Deno.removeSync(first);
  assertEquals(await fixture.add("dummy", { netns: second }), ["10.1.2.2/29"]);
  assertEquals(fixture.entries["dummy:eth0"]!.netns, {
    path: second,
    dev: Deno.statSync(second).dev,
    ino: Deno.statSync(second).ino!,
  });
});

Deno.test("an address that an old release reserved for the container is not given to one of its interfaces", async () => {
  using fixture = new Fixture(eight);
  fixture.write("10.1.2.2", "dummy");
  const { msg } = await fixture.error("ADD", "dummy");
  assertStringIncludes(msg, "10.1.2.2 has been allocated to dummy, duplicate allocation");
});

// Addresses that nobody can have any more.

Deno.test("an empty or damaged reservation file is free", async () => {
  using fixture = new Fixture(eight);
  fixture.write("10.1.2.2", "");
  fixture.write("10.1.2.3", "\0\0\0\0\0\0");
  assertEquals(await fixture.add("a"), ["10.1.2.2/29"]);
  assertEquals(await fixture.add("b", { args: "IP=10.1.2.3" }), ["10.1.2.3/29"]);
  assertEquals(fixture.read("10.1.2.3"), "b\r\neth0");
});

for (
  const [title, pass] of [
    ["by the boot that is recorded", (fixture: Fixture) => fixture.reboot()],
    ["by the time of the file", (fixture: Fixture) => fixture.age()],
  ] as const
) {
  Deno.test(`a reservation of an earlier boot is free, ${title}`, async () => {
    using fixture = new Fixture(eight);
    for (const id of ["a", "b", "c", "d", "e"]) await fixture.add(id);
    assertEquals((await fixture.error("ADD", "late")).code, codes.noAddress);
    pass(fixture);
    const said = await saidBy(async () => {
      assertEquals(await fixture.add("late"), ["10.1.2.2/29"]);
    });
    assertEquals(said, [
      'host-local: reclaimed 10.1.2.2 of container "a" interface "eth0": it was reserved before the host was booted',
    ]);
    // The late DEL of the one that had it before does not free it.
    await fixture.del("a");
    assertEquals(fixture.read("10.1.2.2"), "late\r\neth0");
    assertEquals(fixture.reserved.length, 5);
    // And neither is it of an earlier boot now.
    for (const id of ["f", "g", "h", "i"]) await fixture.add(id);
    const { details } = await fixture.error("ADD", "later");
    assertStringIncludes(details, '10.1.2.2 is held by container "late" interface "eth0"');
  });

  Deno.test(`with keepAcrossReboot a reservation of an earlier boot stays, ${title}`, async () => {
    using fixture = new Fixture({ ...eight, keepAcrossReboot: true });
    for (const id of ["a", "b", "c", "d", "e"]) await fixture.add(id);
    pass(fixture);
    assertEquals((await fixture.error("ADD", "late")).code, codes.noAddress);
    assertEquals(
      (await fixture.error("ADD", "late", { args: "IP=10.1.2.3" })).code,
      codes.noAddress,
    );
  });
}

Deno.test("after a reboot the same container gets an address, and its old one is given back", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("a");
  await fixture.add("b");
  fixture.reboot();
  assertEquals(await fixture.add("a"), ["10.1.2.4/29"]);
  assertEquals(fixture.reserved, ["10.1.2.3", "10.1.2.4"]);
  await fixture.del("a");
  await fixture.del("b");
  assertEquals([fixture.reserved, fixture.entries], [[], {}]);
});

Deno.test("the entry of a container whose address was taken over goes with it", async () => {
  using fixture = new Fixture({
    ranges: [[{ subnet: "10.1.2.0/30" }], [{ subnet: "10.1.3.0/29" }]],
  });
  await fixture.add("a");
  fixture.reboot();
  assertEquals(await fixture.add("b"), ["10.1.2.2/30", "10.1.3.3/29"]);
  assertEquals(Object.keys(fixture.entries).sort(), ["a:eth0", "b:eth0"]);
  assertEquals(fixture.entries["a:eth0"]!.names, ["10.1.3.2"]);
});

Deno.test("a clock that was set forward makes no reservation older than the boot", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("a");
  // As if the clock had said 2001 from boot until now: the stamp remembers that.
  const path = `${fixture.dataDir}/.denocni/mynet/stamp`;
  const stamp = { ...JSON.parse(Deno.readTextFileSync(path)), bootTime: Date.parse("2001-01-01") };
  Deno.writeTextFileSync(path, JSON.stringify(stamp));
  fixture.write("10.1.2.3", "of the other plugin\r\neth0");
  const then = new Date("2001-01-02");
  Deno.utimeSync(`${fixture.dir}/10.1.2.3`, then, then);
  assertEquals(await fixture.add("b"), ["10.1.2.4/29"]);
});

Deno.test("a full set takes back what was reserved for a namespace that is gone, no earlier", async () => {
  using fixture = new Fixture(eight);
  const [gone, there] = [fixture.namespace("gone", "uts"), fixture.namespace("there", "ipc")];
  await fixture.add("a", { netns: there });
  await fixture.add("b", { netns: gone });
  await fixture.add("c");
  await fixture.add("d", { netns: gone });
  Deno.removeSync(gone);
  assertEquals(await fixture.add("e"), ["10.1.2.6/29"]);
  assertEquals(await fixture.add("f"), ["10.1.2.3/29"]);
  assertEquals(await fixture.add("g"), ["10.1.2.5/29"]);
  // What is left has a namespace, or nobody knows.
  assertEquals((await fixture.error("ADD", "h")).code, codes.noAddress);
});

Deno.test("a namespace that another one has replaced at its path is gone", async () => {
  using fixture = new Fixture({ ranges: [[{ subnet: "10.1.2.0/30" }]] });
  const netns = fixture.namespace("a", "uts");
  await fixture.add("a", { netns });
  Deno.removeSync(netns);
  Deno.symlinkSync("/proc/self/ns/ipc", netns);
  assertEquals(await fixture.add("b"), ["10.1.2.2/30"]);
});

Deno.test("a namespace that a process is in is not gone, wherever its path has gone", async () => {
  using fixture = new Fixture({ ranges: [[{ subnet: "10.1.2.0/30" }]] });
  await fixture.add("a", { netns: fixture.namespace("x", "uts") });
  const { ino } = Deno.statSync("/proc/self/ns/net");
  const entry = fixture.entries["a:eth0"]!;
  Deno.writeTextFileSync(
    `${fixture.dataDir}/.denocni/mynet/by-key/a:eth0`,
    JSON.stringify({ ...entry, netns: { path: "/gone", dev: 4, ino } }),
  );
  assertEquals((await fixture.error("ADD", "b")).code, codes.noAddress);
});

Deno.test("a requested address is taken back at once from a namespace that is gone", async () => {
  using fixture = new Fixture(eight);
  const netns = fixture.namespace("a", "uts");
  await fixture.add("a", { netns, args: "IP=10.1.2.5" });
  assertEquals((await fixture.error("ADD", "b", { args: "IP=10.1.2.5" })).code, codes.noAddress);
  Deno.removeSync(netns);
  assertEquals(await fixture.add("b", { args: "IP=10.1.2.5" }), ["10.1.2.5/29"]);
});

Deno.test("what was known of a namespace does not outlive a change by another program", async () => {
  using fixture = new Fixture({ ranges: [[{ subnet: "10.1.2.0/30" }]] });
  const netns = fixture.namespace("a", "uts");
  await fixture.add("a", { netns });
  // The other plugin releases and reserves the address for the same container again.
  Deno.removeSync(`${fixture.dir}/10.1.2.2`);
  const entry = Deno.statSync(`${fixture.dataDir}/.denocni/mynet/by-key/a:eth0`).mtime!;
  fixture.write("10.1.2.2", "a\r\neth0");
  const later = new Date(entry.getTime() + 5);
  Deno.utimeSync(`${fixture.dir}/10.1.2.2`, later, later);
  Deno.removeSync(netns);
  assertEquals((await fixture.error("ADD", "b")).code, codes.noAddress);
});

Deno.test("a live namespace is never taken from, in 1,000 random interleavings", async () => {
  const random = new Random(seedOf(57_280));
  using fixture = new Fixture({ ranges: [[{ subnet: "10.1.2.0/28" }]] });
  /** Live attachments: their address, and the path of their namespace. */
  const live = new Map<string, { address: string; netns: string }>();
  const dead = new Set<string>();
  const turn = async (step: number) => {
    const about = `seed ${random.seed}, step ${step}`;
    const ids = [...live.keys()];
    const what = random.integer(0, 9);
    if (what < 5) {
      const id = `c${step}`;
      const netns = fixture.namespace(id, random.pick(["uts", "ipc"]));
      const given = await fixture.add(id, { netns }).catch((error: CniError) => {
        assertEquals([error.code, live.size], [codes.noAddress, 13], about);
        Deno.removeSync(netns);
        return [];
      });
      for (const address of given) {
        assert([...live.values()].every((other) => other.address !== address), about);
        live.set(id, { address, netns });
      }
    } else if (what < 8 && ids.length > 0) {
      // The namespace goes without a DEL, or with a late one.
      const id = random.pick(ids);
      Deno.removeSync(live.get(id)!.netns);
      live.delete(id);
      dead.add(id);
    } else if (what === 8 && dead.size > 0) {
      const id = random.pick([...dead]);
      await fixture.del(id);
      dead.delete(id);
    } else if (ids.length > 0) {
      const id = random.pick(ids);
      const { address, netns } = live.get(id)!;
      assertEquals(await fixture.add(id, { netns }), [address], about);
    }
    for (const [id, { address }] of live) {
      assertEquals(fixture.read(address.split("/")[0]!), `${id}\r\neth0`, about);
    }
  };
  const said = await saidBy(async () => {
    for (let step = 0; step < 1000; step++) await turn(step);
  });
  assertNotEquals(said.length, 0);
});

// The index.

Deno.test("ADD and DEL see what another program made or removed since", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("a");
  fixture.write("10.1.2.3", "b\r\neth0");
  Deno.removeSync(`${fixture.dir}/10.1.2.2`);
  assertEquals(await fixture.add("b"), ["10.1.2.3/29"]);
  assertEquals(await fixture.add("a"), ["10.1.2.4/29"]);
  fixture.write("10.1.2.5", "c\r\neth0");
  await fixture.del("c");
  assertEquals(fixture.reserved, ["10.1.2.3", "10.1.2.4"]);
  await fixture.del("b");
  await fixture.del("a");
  assertEquals([fixture.reserved, fixture.entries], [[], {}]);
});

Deno.test("the directory is not read when nobody else has changed it", async () => {
  using fixture = new Fixture({ ranges: [[{ subnet: "10.1.0.0/16" }]] });
  await fixture.add("a");
  await fixture.add("b");
  const readDirSync = Deno.readDirSync;
  const read: string[] = [];
  Deno.readDirSync = (path) => {
    read.push(String(path));
    return readDirSync(path);
  };
  try {
    await fixture.add("c");
    await fixture.add("c");
    await fixture.del("b");
    await fixture.del("b");
    await fixture.del("unknown");
    await fixture.run("CHECK", "c");
  } finally {
    Deno.readDirSync = readDirSync;
  }
  assertEquals(read.filter((path) => path.startsWith(fixture.dataDir)), []);
  assertEquals(fixture.reserved, ["10.1.0.2", "10.1.0.4"]);
});

Deno.test("a missing or damaged index is made anew", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("a");
  await fixture.add("b");
  const state = `${fixture.dataDir}/.denocni/mynet`;
  Deno.writeTextFileSync(`${state}/stamp`, "{");
  Deno.writeTextFileSync(`${state}/by-key/a:eth0`, "\0\0\0");
  assertEquals(await fixture.add("a"), ["10.1.2.2/29"]);
  Deno.removeSync(`${fixture.dataDir}/.denocni`, { recursive: true });
  await fixture.del("a");
  assertEquals(fixture.reserved, ["10.1.2.3"]);
  assertEquals(Object.keys(fixture.entries), ["b:eth0"]);
});

Deno.test("an entry without its files, as a killed process leaves it, holds nothing", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("a");
  const by = `${fixture.dataDir}/.denocni/mynet/by-key`;
  Deno.writeTextFileSync(`${by}/b:eth0`, JSON.stringify({ names: ["10.1.2.2", "10.1.2.6"] }));
  assertEquals(await fixture.add("b"), ["10.1.2.3/29"]);
  await fixture.del("b");
  assertEquals(fixture.reserved, ["10.1.2.2"]);
});

Deno.test("names too long for the index work all the same", async () => {
  using fixture = new Fixture(eight);
  const id = "c".repeat(300);
  assertEquals(await fixture.add(id), ["10.1.2.2/29"]);
  assertEquals(await fixture.add(id), ["10.1.2.2/29"]);
  await fixture.run("CHECK", id);
  await fixture.del(id);
  assertEquals(fixture.reserved, []);
});

Deno.test("names that are no file names are escaped in the index", async () => {
  using fixture = new Fixture(eight);
  fixture.write("10.1.2.4", "a/../b:c\r\ne:t/h");
  assertEquals(await fixture.add("x"), ["10.1.2.2/29"]);
  assertEquals(Object.keys(fixture.entries).sort(), ["a%2F..%2Fb%3Ac:e%3At%2Fh", "x:eth0"]);
});

// Rollback and dry run.

Deno.test("a rollback takes back exactly what the run made", async () => {
  using fixture = new Fixture(dualStack);
  await fixture.add("a");
  const [files, entries] = [fixture.reserved, fixture.entries];
  const host = new Machine();
  await fixture.add("b", { host });
  assertEquals(fixture.reserved.length, 4);
  assertEquals(await host.rollback(), []);
  assertEquals([fixture.reserved, fixture.entries], [files, entries]);
});

Deno.test("a rollback leaves what an ADD of the same attachment before it holds", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("a");
  const ranges = [[{ subnet: "10.1.2.0/29" }], [{ subnet: "10.1.3.0/29" }]];
  const config = fixture.config({ ipam: { ranges, dataDir: fixture.dataDir } });
  const host = new Machine();
  await fixture.add("a", { host, config });
  assertEquals(fixture.reserved, ["10.1.2.2", "10.1.3.2"]);
  assertEquals(await host.rollback(), []);
  assertEquals(fixture.reserved, ["10.1.2.2"]);
  assertEquals(fixture.entries["a:eth0"]!.names, ["10.1.2.2"]);
});

Deno.test("a rollback leaves an address that somebody else has by then", async () => {
  using fixture = new Fixture(eight);
  const host = new Machine();
  await fixture.add("a", { host });
  await fixture.del("a");
  await fixture.add("b", { args: "IP=10.1.2.2" });
  assertEquals(await host.rollback(), []);
  assertEquals(fixture.read("10.1.2.2"), "b\r\neth0");
});

Deno.test("after a rollback the index is still trusted", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("a");
  const host = new Machine();
  await fixture.add("b", { host });
  await host.rollback();
  const stamp = JSON.parse(Deno.readTextFileSync(`${fixture.dataDir}/.denocni/mynet/stamp`));
  assertEquals(stamp.mtime, Deno.statSync(fixture.dir).mtime!.getTime());
});

Deno.test("a dry run plans and changes nothing", async () => {
  using fixture = new Fixture(eight);
  const fresh = new DryRun();
  assertEquals(await fixture.add("a", { host: fresh }), ["10.1.2.2/29"]);
  assertEquals([...Deno.readDirSync(fixture.dataDir)], []);
  assertEquals(
    fresh.steps.map(({ do: action }) => describe(action).replaceAll(fixture.dataDir, "")),
    [
      "mkdir -p /mynet",
      "printf %s 'a\r\neth0' > /mynet/10.1.2.2",
      expectedEntry(fresh),
      "printf %s 10.1.2.2 > /mynet/last_reserved_ip.0",
    ],
  );
  await fixture.add("a");
  const before = snapshot(fixture.dataDir);
  const again = new DryRun();
  assertEquals(await fixture.add("b", { host: again }), ["10.1.2.3/29"]);
  await fixture.del("a", { host: again });
  await fixture.run("STATUS", "", { host: again });
  assertEquals(snapshot(fixture.dataDir), before);
  assertEquals(again.steps.filter(({ do: action }) => action.kind === "remove").length, 3);
});

function expectedEntry({ steps }: DryRun): string {
  const step = steps.find(({ why }) => why.startsWith("index"))!;
  assert(step.do.kind === "write");
  assertEquals(JSON.parse(step.do.text).names, ["10.1.2.2"]);
  return `printf %s '${step.do.text}' > /.denocni/mynet/by-key/a:eth0`;
}

function snapshot(dir: string): string[] {
  return [...Deno.readDirSync(dir)].flatMap(({ name, isDirectory }) => {
    const path = `${dir}/${name}`;
    const { mtime, ino } = Deno.statSync(path);
    return [`${path} ${mtime?.getTime()} ${ino}`, ...isDirectory ? snapshot(path) : []];
  }).sort();
}

// CHECK, GC and STATUS.

Deno.test("CHECK wants the file, and the addresses of the result to be the attachment's", async () => {
  using fixture = new Fixture(dualStack);
  const address = (...ips: string[]) => ({
    config: fixture.config({
      prevResult: { cniVersion: "1.1.0", ips: ips.map((address) => ({ address })) },
    }),
  });
  assertEquals((await fixture.error("CHECK", "a")).code, codes.checkFailed);
  await fixture.add("a");
  await fixture.add("b");
  await fixture.run("CHECK", "a");
  await fixture.run("CHECK", "a", address("10.1.2.2/24", "2001:db8:1::2/64", "172.16.0.1/24"));
  const { code, msg } = await fixture.error("CHECK", "a", address("10.1.2.3/24"));
  assertEquals(code, codes.checkFailed);
  assertStringIncludes(msg, 'Cannot find a reservation of address "10.1.2.3"');
  fixture.write("10.1.2.2", "somebody else\r\neth0");
  const stolen = await fixture.error("CHECK", "a", address("10.1.2.2/24", "2001:db8:1::2/64"));
  assertStringIncludes(stolen.msg, '"10.1.2.2"');
  fixture.write("10.1.2.9", "c");
  await fixture.run("CHECK", "c");
});

Deno.test("GC removes what is not in the list, and only that", async () => {
  using fixture = new Fixture(eight);
  await fixture.add("a");
  await fixture.add("a", { ifName: "eth1" });
  await fixture.add("b");
  fixture.write("10.1.2.5", "old");
  fixture.write("10.1.2.6", "older");
  await fixture.run("ADD", "other", { config: fixture.config({ name: "other" }) });
  await fixture.gc(
    { containerId: "a", ifName: "eth1" },
    { containerId: "c", ifName: "eth0" },
    { containerId: "old", ifName: "eth7" },
  );
  assertEquals(fixture.reserved, ["10.1.2.3", "10.1.2.5"]);
  assertEquals(fixture.read("last_reserved_ip.0"), "10.1.2.4");
  assertEquals(Deno.statSync(`${fixture.dir}/lock`).isFile, true);
  assertEquals(Object.keys(fixture.entries).sort(), ["a:eth1", "old:"]);
  assertEquals(Deno.readTextFileSync(`${fixture.dataDir}/other/10.1.2.2`), "other\r\neth0");
});

Deno.test("GC with an empty list removes everything, with none nothing", async () => {
  using fixture = new Fixture(eight);
  await fixture.gc();
  assertEquals([...Deno.readDirSync(fixture.dataDir)], []);
  await fixture.add("a");
  fixture.write("10.1.2.3", "");
  assertEquals((await fixture.error("GC")).code, codes.invalidNetworkConfig);
  assertEquals(fixture.reserved, ["10.1.2.2", "10.1.2.3"]);
  await fixture.gc();
  assertEquals(fixture.reserved, []);
});

Deno.test("STATUS: addresses can be handed out, or why not", async () => {
  using fixture = new Fixture({
    ranges: [[{ subnet: "10.1.2.0/29" }], [{ subnet: "2001:db8::/64" }]],
  });
  await fixture.run("STATUS");
  const netns = fixture.namespace("a", "uts");
  for (const id of ["a", "b", "c", "d"]) await fixture.add(id);
  await fixture.run("STATUS");
  await fixture.add("e", { netns });
  const { code, msg, details } = await fixture.error("STATUS");
  assertEquals([code, msg], [
    codes.notAvailable,
    "Cannot hand out addresses of range set 0: 5 of 5 in 10.1.2.1-10.1.2.6 are held",
  ]);
  assertStringIncludes(details, '10.1.2.6 is held by container "e" interface "eth0"');
  Deno.removeSync(netns);
  await fixture.run("STATUS");
  assertEquals(fixture.reserved.length, 10);
});

Deno.test("STATUS: a data directory that cannot be written to is code 50", async () => {
  using fixture = new Fixture(eight);
  for (const dataDir of ["/proc/nowhere", "/etc/passwd"]) {
    const config = fixture.config({ ipam: { ...eight, dataDir } });
    const { code, msg } = await fixture.error("STATUS", "", { config });
    assertEquals(code, codes.notAvailable);
    assertStringIncludes(msg, `Cannot make directory "${dataDir}/mynet"`);
    assertNotEquals((await fixture.error("ADD", "a", { config })).code, codes.internal);
    await fixture.del("a", { config });
  }
});

Deno.test("a lock that is held too long is named with its holder, code 11, in STATUS 50", async () => {
  using fixture = new Fixture({ ...eight, lockTimeout: 50 });
  await fixture.add("a");
  using file = Deno.openSync(`${fixture.dir}/lock`, { write: true });
  file.lockSync(true);
  for (const verb of ["ADD", "DEL", "CHECK"] as const) {
    const { code, msg } = await fixture.error(verb, "b");
    assertEquals(code, codes.tryAgainLater);
    assertMatch(
      msg,
      new RegExp(
        `^Cannot lock "${fixture.dir}/lock" within 50 ms: held by process ${Deno.pid} \\(`,
      ),
    );
  }
  assertEquals((await fixture.error("STATUS")).code, codes.notAvailable);
});

Deno.test("the lock is free when a verb has ended, however it ended", async () => {
  using fixture = new Fixture({ ...eight, lockTimeout: 2000 });
  for (const id of ["a", "b", "c", "d", "e"]) await fixture.add(id);
  await fixture.error("ADD", "f");
  await fixture.error("CHECK", "f");
  await fixture.del("a");
  const locking = await lockFile(`${fixture.dir}/lock`, { mode: 0o750, deadline: 5000 });
  assert(locking.is === "locked");
  locking.file.close();
});

Deno.test("callers need no interface for it, and release last", () => {
  assertEquals(plugin.ipam, testTraits.local);
});
