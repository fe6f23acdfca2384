import { assertEquals, assertRejects } from "@std/assert";
import { anyObject } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { callPlugin } from "../cni/request.ts";
import type { Spy } from "../cni/testing.ts";
import { makeCall, spy } from "../cni/testing.ts";
import type { JsonObject, Result, Verb } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { Machine } from "../ns/machine.ts";
import { plugin } from "./flannel.ts";

const subnetEnv = `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.17.1/24
FLANNEL_MTU=1472
FLANNEL_IPMASQ=true
`;

/** A folder with flanneld's file, and a delegate that notes its calls. */
class Fixture implements Disposable {
  readonly dir = Deno.makeTempDirSync();
  readonly machine = new Machine();
  readonly delegate: Spy<Record<string, unknown>>;

  constructor(own: Parameters<typeof spy>[1] = {}) {
    this.delegate = spy(anyObject(), own as object);
    Deno.writeTextFileSync(`${this.dir}/subnet.env`, subnetEnv);
  }

  get file(): string {
    return `${this.dir}/data/dummy`;
  }

  call(verb: Exclude<Verb, "VERSION">, config: JsonObject = {}): Promise<Result | undefined> {
    const own = {
      subnetFile: `${this.dir}/subnet.env`,
      dataDir: `${this.dir}/data`,
      delegate: { type: "spy" },
      ...config,
    };
    const call = { ...makeCall({ config: own, netns: "/proc/self/ns/net" }), netnsOverride: true };
    return callPlugin(plugin, verb, call, {
      host: this.machine,
      load: () => Promise.resolve(this.delegate.plugin),
      inProcessIfMissing: true,
    });
  }

  get verbs(): readonly Verb[] {
    return this.delegate.seen.map(({ verb }) => verb);
  }

  get last(): JsonObject {
    return this.delegate.seen.at(-1)!.req.raw;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

Deno.test("ADD keeps the delegate's configuration, DEL uses and removes it", async () => {
  using flannel = new Fixture({ add: () => Promise.resolve({ ...emptyResult(), dns: {} }) });
  await flannel.call("ADD");
  const kept = JSON.parse(Deno.readTextFileSync(flannel.file));
  assertEquals(flannel.last, kept);
  assertEquals(Deno.statSync(flannel.file).mode! & 0o777, 0o600);
  assertEquals(Deno.statSync(`${flannel.dir}/data`).mode! & 0o777, 0o700);
  Deno.removeSync(`${flannel.dir}/subnet.env`);
  const prevResult = { cniVersion: "1.1.0", interfaces: [] };
  await flannel.call("CHECK", { prevResult });
  assertEquals(flannel.last, { ...kept, prevResult });
  await flannel.call("DEL", { delegate: {} });
  assertEquals(flannel.last, kept);
  await assertRejects(() => Deno.stat(flannel.file), Deno.errors.NotFound);
  await flannel.call("DEL");
  assertEquals(flannel.verbs, ["ADD", "CHECK", "DEL"]);
  Deno.writeTextFileSync(`${flannel.dir}/subnet.env`, subnetEnv);
  await flannel.call("DEL");
  assertEquals(flannel.last, kept);
  await assertRejects(() => flannel.call("CHECK"), CniError);
});

Deno.test("DEL uses what flannel's own plugin has kept", async () => {
  using flannel = new Fixture();
  const theirs = {
    cniVersion: "0.3.1",
    hairpinMode: true,
    ipMasq: false,
    ipam: {
      ranges: [[{ subnet: "10.1.17.0/24" }]],
      routes: [{ dst: "10.1.0.0/16" }],
      type: "host-local",
    },
    isDefaultGateway: true,
    isGateway: true,
    mtu: 1472,
    name: "cbr0",
    type: "spy",
  };
  Deno.mkdirSync(`${flannel.dir}/data`);
  Deno.writeTextFileSync(flannel.file, JSON.stringify(theirs));
  await flannel.call("DEL", { name: "cbr0", delegate: { type: "other" } });
  assertEquals(flannel.last, { ...theirs, cniVersion: "1.1.0" });
  await assertRejects(() => Deno.stat(flannel.file), Deno.errors.NotFound);
});

Deno.test("a failing ADD takes its file back, but not the one of an earlier ADD", async () => {
  let fails = true;
  const add = () =>
    fails ? Promise.reject(new CniError(100, "no")) : Promise.resolve(emptyResult());
  using flannel = new Fixture({ add });
  await assertRejects(() => flannel.call("ADD"), CniError, "no");
  assertEquals(await flannel.machine.rollback(), []);
  await assertRejects(() => Deno.stat(flannel.file), Deno.errors.NotFound);
  fails = false;
  await flannel.call("ADD");
  using again = new Fixture({ add: () => Promise.reject(new CniError(102, "exists")) });
  await assertRejects(() => again.call("ADD", { dataDir: `${flannel.dir}/data` }), CniError);
  assertEquals(await again.machine.rollback(), []);
  await Deno.stat(flannel.file);
});

Deno.test("a delegate that cannot remove keeps its configuration", async () => {
  using flannel = new Fixture({ del: () => Promise.reject(new CniError(11, "busy")) });
  await flannel.call("ADD");
  await assertRejects(() => flannel.call("DEL"), CniError, "busy");
  await Deno.stat(flannel.file);
});

Deno.test("a damaged file does not block DEL", async () => {
  using flannel = new Fixture();
  await flannel.call("ADD");
  Deno.writeTextFileSync(flannel.file, "{");
  await flannel.call("DEL");
  assertEquals(flannel.last["type"], "spy");
  Deno.removeSync(`${flannel.dir}/subnet.env`);
  Deno.writeTextFileSync(flannel.file, "{");
  await flannel.call("DEL");
  assertEquals(flannel.last["ipam"], { type: "host-local" });
  await assertRejects(() => Deno.stat(flannel.file), Deno.errors.NotFound);
});

Deno.test("GC lets the delegate collect, and removes the files of the network's stale containers", async () => {
  using flannel = new Fixture();
  await flannel.call("ADD");
  const other = `${flannel.dir}/data/other`;
  Deno.writeTextFileSync(other, JSON.stringify({ name: "elsewhere", type: "spy" }));
  const lists = (containerID: string) => ({
    "cni.dev/valid-attachments": [{ containerID, ifname: "eth0" }],
  });
  await flannel.call("GC", lists("dummy"));
  assertEquals(flannel.last["cni.dev/valid-attachments"], [{
    containerID: "dummy",
    ifname: "eth0",
  }]);
  await Deno.stat(flannel.file);
  await flannel.call("GC", lists("somebody"));
  await assertRejects(() => Deno.stat(flannel.file), Deno.errors.NotFound);
  await Deno.stat(other);
});

Deno.test("STATUS needs flanneld's file and asks the delegate", async () => {
  using flannel = new Fixture();
  await flannel.call("STATUS");
  assertEquals(flannel.verbs, ["STATUS"]);
  Deno.removeSync(`${flannel.dir}/subnet.env`);
  const error = await assertRejects(() => flannel.call("STATUS"), CniError, "flanneld");
  assertEquals(error.code, codes.notAvailable);
  await assertRejects(() => flannel.call("ADD"), CniError, "does flanneld run on this host?");
});
