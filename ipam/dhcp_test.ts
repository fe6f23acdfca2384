import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { JsonObject, Result } from "../cni/types.ts";
import type { Host } from "../ns/machine.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import type { Conf } from "./dhcp/conf/conf.ts";
import type { Environment } from "./dhcp/environment.ts";
import type { ExchangeGoal4 } from "./dhcp/exchange/client_message4.ts";
import type { ExchangeResult4 } from "./dhcp/exchange/run_exchange4.ts";
import type { LeaseRecordOf } from "./dhcp/lease/lease_record.ts";
import type { DhcpService } from "./dhcp/rpc/dhcp_service.ts";
import { decodeForRemoval, decodeOrThrow } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { emptyResult } from "../cni/types.ts";
import { DryRun, Machine } from "../ns/machine.ts";
import { inspectNetns } from "../ns/netns.ts";
import { FakeHost } from "../ns/testing.ts";
import { testTraits } from "../cni/testing.ts";
import { plugin, verbs } from "./dhcp.ts";
import { Daemon } from "./dhcp/agent/daemon.ts";
import { parseFlags } from "./dhcp/agent/flags.ts";
import { FakeAgentTools } from "./dhcp/agent/testing_agent.ts";
import {
  ackedResult,
  ackOf,
  failedResult,
  leaseAt,
  leaseRecordOf,
  settle,
} from "./dhcp/agent/testing_keeper.ts";
import { LeaseStore } from "./dhcp/lease/lease_store.ts";
import { dhcpMethods } from "./dhcp/rpc/dhcp_service.ts";
import { serveRpc } from "./dhcp/rpc/net_rpc.ts";

/** A folder with a place for a socket and leases, and exchanges that end as the test says. */
class Scene implements Environment, Disposable {
  readonly base = Deno.makeTempDirSync();
  readonly dir = `${this.base}/leases`;
  readonly socket = `${this.base}/dhcp.sock`;
  /** What was sent. */
  readonly sent: string[] = [];
  /** How the next exchange ends. */
  next: ExchangeResult4 = ackedResult();
  readonly store = new LeaseStore(this.dir);

  readonly runExchange4 = (
    _host: unknown,
    { goal }: { readonly goal: ExchangeGoal4 },
  ): Promise<ExchangeResult4> => {
    this.sent.push(goal.kind);
    return Promise.resolve(goal.kind === "release" ? { kind: "sent" } : this.next);
  };

  readonly releaseFromHost = (
    { goal }: { readonly goal: ExchangeGoal4 },
  ): Promise<ExchangeResult4> => {
    this.sent.push(`${goal.kind} from the host`);
    return Promise.resolve({ kind: "sent" });
  };

  [Symbol.dispose](): void {
    Deno.removeSync(this.base, { recursive: true });
  }
}

interface Parts {
  readonly ipam?: JsonObject;
  readonly containerId?: string;
  readonly host?: Host;
  readonly netns?: string;
  readonly prevResult?: Result;
  readonly removal?: boolean;
  readonly valid?: readonly AttachmentKey[];
}

const identity = { dev: 4, ino: 1 };

function request(scene: Scene, parts: Parts = {}): GcRequest<Conf> {
  const ipam = { type: "dhcp", daemonSocketPath: scene.socket, ...parts.ipam };
  const raw = { cniVersion: "1.1.0", name: "net", type: "bridge", ipam };
  const netns = parts.netns ?? "/run/netns/c1";
  const decode = parts.removal ? decodeForRemoval : decodeOrThrow;
  const unused = () => Promise.reject(new Error("unused"));
  const delegate = {
    type: "",
    traits: unused,
    add: unused,
    del: unused,
    check: unused,
    gc: unused,
    status: unused,
  };
  const req: Request<Conf> = {
    conf: decode(plugin.conf, raw, "network configuration"),
    raw,
    text: undefined,
    network: "net",
    cniVersion: "1.1.0",
    containerId: parts.containerId ?? "c1",
    netns,
    sandbox: netns
      ? { is: "namespace", netns: { path: netns }, identity }
      : { is: "missing", path: "" },
    ifName: "eth0",
    args: "",
    prevResult: parts.prevResult,
    host: parts.host ?? new FakeHost(),
    ipam: delegate,
    delegate: () => delegate,
  };
  return { ...req, valid: parts.valid ?? [] };
}

/** An agent of ours for a scene. */
async function startAgent(scene: Scene) {
  const tools = new FakeAgentTools({ socket: scene.socket });
  const line = parseFlags([]);
  assert(line.kind === "run");
  const daemon = await Daemon.start(line.flags, { tools });
  return { tools, daemon };
}

/** The reference's agent: two methods and no more. */
function startReference(scene: Scene, agent: Partial<DhcpService> = {}): Deno.UnixListener {
  const methods = dhcpMethods({
    allocate: () => Promise.resolve(emptyResult()),
    release: () => Promise.resolve(),
    ...agent,
  });
  const listener = Deno.listen({ transport: "unix", path: scene.socket });
  (async () => {
    for await (const caller of listener) serveRpc(caller, { methods }).catch(() => {});
  })();
  return listener;
}

const result: Result = {
  interfaces: [],
  ips: [{ address: "192.168.1.5/24", gateway: "192.168.1.1" }],
  routes: [{ dst: "0.0.0.0/0", gw: "192.168.1.1" }],
  dns: {},
};

/** What a look at the interface gives. */
function links(...addresses: string[]): Record<string, FakeAnswer> {
  const addr_info = addresses.map((local) => ({
    family: "inet",
    local,
    prefixlen: 24,
    scope: "global",
  }));
  const link = { ifname: "eth0", ifindex: 2, flags: ["UP"], mtu: 1500, addr_info };
  return { "nsenter --net=/run/netns/c1 ip -d -j addr show dev eth0": [link] };
}

Deno.test("ADD with an agent gives the agent's result; a rollback gives the lease back", async () => {
  using scene = new Scene();
  const { tools, daemon } = await startAgent(scene);
  const host = new FakeHost();
  const added = verbs.add(request(scene, { host }), scene);
  while (tools.pending.length === 0) await settle();
  assertEquals(tools.only.job.netns.path, "/run/netns/c1");
  tools.only.end(ackedResult());
  assertEquals(await added, result);
  assertEquals(host.undos.length, 1);
  await host.undos[0]!.undo();
  assertEquals([daemon.agent.size, tools.disk.size], [0, 0]);
  await daemon.stop();
});

Deno.test("ADD again does not take back what an ADD before has got", async () => {
  using scene = new Scene();
  const { tools, daemon } = await startAgent(scene);
  const path = await scene.store.pathOf({ network: "net", containerId: "c1", ifName: "eth0" });
  scene.store.write(leaseRecordOf(leaseAt(Date.now()), { path, agent: scene.socket }));
  const host = new FakeHost();
  const added = verbs.add(request(scene, { host }), scene);
  while (tools.pending.length === 0) await settle();
  tools.only.end(ackedResult());
  await added;
  assertEquals(host.undos, []);
  await daemon.stop();
});

Deno.test("ADD without an agent says what to do, and its rollback does not mind", async () => {
  using scene = new Scene();
  const host = new FakeHost();
  const error = await assertRejects(() => verbs.add(request(scene, { host }), scene), CniError);
  assertEquals(error.code, codes.tryAgainLater);
  assertEquals(
    error.msg,
    `error dialing DHCP daemon: dial unix ${scene.socket}: connect: no such file or directory`,
  );
  assertMatch(error.details, /does not run here: start it with `systemctl enable --now cni-dhcp`/);
  await host.undos[0]!.undo();
});

Deno.test("ADD that no server answers counts in the details what was sent", async () => {
  using scene = new Scene();
  const { tools, daemon } = await startAgent(scene);
  const added = verbs.add(request(scene), scene);
  while (tools.pending.length === 0) await settle();
  tools.only.end(failedResult);
  const error = await assertRejects(() => added, CniError);
  assertEquals(error.code, codes.tryAgainLater);
  assertEquals(error.msg, "error calling DHCP.Allocate: no more tries");
  assertEquals(error.details, "3 REQUEST sent");
  await daemon.stop();
});

Deno.test("ADD passes on any other words of the agent", async () => {
  using scene = new Scene();
  const words = "DHCP option Subnet Mask not found in DHCPACK";
  using _ = startReference(scene, { allocate: () => Promise.reject(new Error(words)) });
  const error = await assertRejects(() => verbs.add(request(scene), scene), CniError);
  assertEquals([error.code, error.msg], [codes.noAddress, `error calling DHCP.Allocate: ${words}`]);
});

Deno.test("an agent that does not answer is waited for as long as was configured", async () => {
  using scene = new Scene();
  const gone = Promise.withResolvers<void>();
  let asked = false;
  using _ = startReference(scene, {
    allocate: (_, signal) => {
      asked = true;
      signal.addEventListener("abort", () => gone.resolve());
      return new Promise(() => {});
    },
  });
  const req = request(scene);
  // On a busy machine the time may be over before the agent is asked.
  for (let timeout = 10; !asked; timeout *= 2) {
    const impatient = { ...req, conf: { ...req.conf, timeout } };
    const error = await assertRejects(() => verbs.add(impatient, scene), CniError);
    assertEquals(error.code, codes.tryAgainLater);
    const words =
      `error calling DHCP.Allocate: no answer from "${scene.socket}" within ${timeout} ms`;
    assertEquals(error.msg, words);
  }
  await gone.promise;
});

Deno.test("the call reaches the agent as it came", async () => {
  using scene = new Scene();
  const seen: unknown[] = [];
  using _ = startReference(scene, {
    allocate: ({ stdin, ...args }) => {
      seen.push({ ...args, stdin: new TextDecoder().decode(stdin) });
      return Promise.resolve(result);
    },
  });
  const text = '{"name":"net", "ipam":{}}';
  const req = { ...request(scene, { netns: "netns/c1" }), text, args: "A=B" };
  assertEquals(await verbs.add(req, scene), result);
  assertEquals(seen, [{
    containerID: "c1",
    netns: `${Deno.cwd()}/netns/c1`,
    ifname: "eth0",
    args: "A=B",
    path: "",
    netnsOverride: "",
    stdin: text,
  }]);
});

Deno.test("a dry run asks nobody for an address", async () => {
  using scene = new Scene();
  const host = new DryRun();
  const error = await assertRejects(() => verbs.add(request(scene, { host }), scene), CniError);
  assertEquals(error.code, codes.notAvailable);
  await verbs.del(request(scene, { host }), scene);
  assertEquals(host.steps, []);
});

Deno.test("CHECK asks the agent, and nobody else", async () => {
  using scene = new Scene();
  const { tools, daemon } = await startAgent(scene);
  const added = verbs.add(request(scene), scene);
  while (tools.pending.length === 0) await settle();
  tools.only.end(ackedResult());
  await added;
  await verbs.check(request(scene), scene);
  await daemon.agent.gc("net", []);
  const none = await assertRejects(() => verbs.check(request(scene), scene), CniError);
  assertEquals(none.code, codes.checkFailed);
  assertMatch(none.msg, /the lease agent keeps none$/);
  assertEquals(tools.pending.length, 0);
  await daemon.stop();
});

Deno.test("CHECK with the reference's agent compares what ADD has reported, and acquires nothing", async () => {
  using scene = new Scene();
  using _ = startReference(scene, { allocate: () => Promise.reject(new Error("asked")) });
  const here = new FakeHost(links("192.168.1.5"));
  await verbs.check(request(scene, { host: here, prevResult: result }), scene);
  const lost = request(scene, { host: new FakeHost(links()), prevResult: result });
  await assertRejects(() => verbs.check(lost, scene), CniError, "Cannot find 192.168.1.5");
  await assertRejects(() => verbs.check(request(scene), scene), CniError, "prevResult missing");
});

Deno.test("CHECK without an agent fails: nobody renews the lease", async () => {
  using scene = new Scene();
  const error = await assertRejects(() => verbs.check(request(scene), scene), CniError);
  assertEquals(error.code, codes.checkFailed);
  assertMatch(error.msg, /^error dialing DHCP daemon: /);
});

Deno.test("DEL gives the lease back, also again, and without a namespace", async () => {
  using scene = new Scene();
  const { tools, daemon } = await startAgent(scene);
  const added = verbs.add(request(scene), scene);
  while (tools.pending.length === 0) await settle();
  tools.only.end(ackedResult());
  await added;
  await verbs.del(request(scene, { netns: "", removal: true }), scene);
  assertEquals([daemon.agent.size, tools.disk.size], [0, 0]);
  await verbs.del(request(scene, { removal: true }), scene);
  await daemon.stop();
});

/** Writes a lease of a dead agent, or of none. */
async function left(scene: Scene, { agent, containerId = "c1" }: {
  readonly agent?: string;
  readonly containerId?: string;
} = {}): Promise<void> {
  const attachment = { network: "net", containerId, ifName: "eth0" };
  const path = await scene.store.pathOf(attachment);
  const entry = leaseRecordOf(leaseAt(Date.now()), { ...attachment, path, agent });
  // No such namespace: everything goes from the host.
  scene.store.write({ ...entry, netns: "/run/netns/no-such-container" });
}

Deno.test("DEL where the agent does not run gives back what it has left", async () => {
  using scene = new Scene();
  await verbs.del(request(scene, { removal: true }), scene);
  assertEquals(scene.sent, []);
  await left(scene, { agent: scene.socket });
  await verbs.del(request(scene, { removal: true, host: new Machine() }), scene);
  assertEquals(scene.sent, ["release from the host"]);
  assertEquals(scene.store.all(), []);
});

Deno.test("DEL passes on why an agent could not give a lease back", async () => {
  using scene = new Scene();
  using _ = startReference(scene, { release: () => Promise.reject(new Error("no")) });
  await assertRejects(
    () => verbs.del(request(scene, { removal: true }), scene),
    CniError,
    "error calling DHCP.Release: no",
  );
});

Deno.test("GC gives back what is not valid: by the agent, or without one", async () => {
  using scene = new Scene();
  await left(scene, { agent: scene.socket });
  await left(scene, { agent: scene.socket, containerId: "c2" });
  const valid = [{ network: "net", containerId: "c2", ifName: "eth0" }];
  await verbs.gc(request(scene, { valid, host: new Machine(), removal: true }), scene);
  assertEquals(scene.store.all().map(({ containerId }) => containerId), ["c2"]);
  const { tools, daemon } = await startAgent(scene);
  const added = verbs.add(request(scene), scene);
  while (tools.pending.length === 0) await settle();
  tools.only.end(ackedResult());
  await added;
  await verbs.gc(request(scene, { valid, host: new Machine(), removal: true }), scene);
  assertEquals(daemon.agent.size, 0);
  await daemon.stop();
});

const strangers = [
  ["the reference's agent has taken its socket", (scene: Scene) => scene.socket],
  ["an agent has another socket", (scene: Scene) => `${scene.base}/old.sock`],
] as const;

for (const [what, socketOf] of strangers) {
  Deno.test(`DEL and GC give back what an agent has left that runs no more: ${what}`, async () => {
    using scene = new Scene();
    using _ = startReference(scene);
    for (const verb of ["del", "gc"] as const) {
      await left(scene, { agent: socketOf(scene) });
      scene.sent.splice(0);
      await verbs[verb](request(scene, { removal: true, host: new Machine() }), scene);
      assertEquals([scene.sent, scene.store.all()], [["release from the host"], []], verb);
    }
  });
}

Deno.test("DEL and GC leave to another agent what it keeps", async () => {
  using scene = new Scene();
  using _ = startReference(scene);
  const socket = `${scene.base}/other.sock`;
  await left(scene, { agent: socket });
  using lock = Deno.openSync(`${socket}.lock`, { write: true, create: true });
  lock.lockSync(true);
  for (const verb of ["del", "gc"] as const) {
    await verbs[verb](request(scene, { removal: true, host: new Machine() }), scene);
  }
  assertEquals([scene.sent, scene.store.all().length], [[], 1]);
});

Deno.test("GC with the reference's agent does nothing", async () => {
  using scene = new Scene();
  using _ = startReference(scene, { release: () => Promise.reject(new Error("asked")) });
  await verbs.gc(request(scene, { removal: true }), scene);
});

Deno.test("STATUS says whether the agent answers, and whether leases wait for it", async () => {
  using scene = new Scene();
  const down = await assertRejects(() => verbs.status(request(scene), scene), CniError);
  assertEquals(down.code, codes.notAvailable);
  assertMatch(down.details, /`dhcp daemon`/);
  await left(scene, { agent: scene.socket });
  const waiting = await assertRejects(() => verbs.status(request(scene), scene), CniError);
  assertEquals(waiting.code, codes.limitedConnectivity);
  await verbs.status(request(scene, { ipam: { oneShot: true } }), scene);
  const reference = startReference(scene);
  await verbs.status(request(scene), scene);
  reference.close();
  const { daemon } = await startAgent(scene);
  await verbs.status(request(scene), scene);
  await daemon.stop();
});

const oneShot = { ipam: { oneShot: true } };

Deno.test("one shot: ADD leaves a lease on the disk, and the same container gets it again", async () => {
  using scene = new Scene();
  const host = new Machine();
  assertEquals(await verbs.add(request(scene, { ...oneShot, host }), scene), result);
  assertEquals(scene.sent, ["acquire"]);
  const [entry] = scene.store.all();
  assertEquals([entry!.agent, entry!.netns, entry!.identity], [
    undefined,
    "/run/netns/c1",
    identity,
  ]);
  assertEquals(await verbs.add(request(scene, { ...oneShot, host }), scene), result);
  assertEquals(scene.sent, ["acquire"]);
  await verbs.check(request(scene, oneShot), scene);
  await verbs.del(request(scene, { ...oneShot, host, removal: true }), scene);
  assertEquals(scene.sent, ["acquire", "release from the host"]);
  assertEquals([...Deno.readDirSync(scene.dir)], []);
  await verbs.del(request(scene, { ...oneShot, host, removal: true }), scene);
  const check = verbs.check(request(scene, oneShot), scene);
  const error = await assertRejects(() => check, CniError, "there is no record of it");
  assertEquals(error.code, codes.checkFailed);
});

Deno.test("one shot: DEL and GC give back what an ADD that was killed may have got", async () => {
  using scene = new Scene();
  const host = new Machine();
  await verbs.add(request(scene, { ...oneShot, host }), scene);
  const [{ lease: _, replacedAcks: __, generation: ___, ...intent }] = scene.store.all() as [
    LeaseRecordOf<4>,
  ];
  scene.store.remove({ path: intent.path, generation: 1 });
  const tries = [undefined, scene.socket].flatMap((agent) => [
    { agent, verb: verbs.del },
    { agent, verb: verbs.gc },
  ]);
  for (const { agent, verb } of tries) {
    scene.sent.length = 0;
    // A namespace that is there for certain; nothing is done in it.
    const own = inspectNetns("/proc/self/ns/net");
    assert(own.is === "namespace");
    scene.store.writeIntent({ ...intent, agent, netns: own.netns.path, identity: own.identity });
    await verb(request(scene, { host, removal: true }), scene);
    assertEquals(scene.sent, ["acquire", "release"]);
    assertEquals([...Deno.readDirSync(scene.dir)], []);
  }
});

Deno.test("one shot: a rollback gives the lease back", async () => {
  using scene = new Scene();
  const host = new Machine();
  await verbs.add(request(scene, { ...oneShot, host }), scene);
  assertEquals(await host.rollback(), []);
  assertEquals(scene.sent, ["acquire", "release from the host"]);
  assertEquals(scene.store.all(), []);
});

Deno.test("one shot: a lease that cannot be used goes back with the rollback", async () => {
  using scene = new Scene();
  const ack = ackOf({});
  const options = new Map([...ack.options].filter(([code]) => code !== 1));
  scene.next = ackedResult({ ...ack, options });
  const host = new Machine();
  await assertRejects(
    () => verbs.add(request(scene, { ...oneShot, host }), scene),
    CniError,
    "DHCP option Subnet Mask not found in DHCPACK",
  );
  await host.rollback();
  assertEquals(scene.sent, ["acquire", "release from the host"]);
});

Deno.test("one shot: an ended lease is asked for anew, and CHECK says so", async () => {
  using scene = new Scene();
  scene.next = ackedResult(ackOf({ seconds: 4 }));
  await verbs.add(request(scene, { ...oneShot, host: new Machine() }), scene);
  const [entry] = scene.store.all() as [LeaseRecordOf<4>];
  const lease = { ...entry.lease, since: 0, renewAt: 1, rebindAt: 2, expireAt: 3 };
  scene.store.write({ ...entry, lease });
  await assertRejects(
    () => verbs.check(request(scene, oneShot), scene),
    CniError,
    'Cannot use the lease of "eth0": it has ended',
  );
  await verbs.add(request(scene, { ...oneShot, host: new Machine() }), scene);
  assertEquals(scene.sent, ["acquire", "acquire"]);
  assertEquals(scene.store.all()[0]!.generation, 2);
});

const failures: readonly [held: ExchangeResult4, code: number, msg: string, details: string][] = [
  [
    {
      ...failedResult,
      counts: { ...failedResult.counts, request: 0 },
      message: "no more tries: 3 DISCOVER sent; is spanning tree forwarding?",
    },
    codes.tryAgainLater,
    'Cannot get a lease for "eth0": no more tries',
    "3 DISCOVER sent; is spanning tree forwarding?",
  ],
  [
    { kind: "link missing" },
    codes.objectMissing,
    'Cannot get a lease for "eth0": the container has no such interface',
    "",
  ],
  [
    { kind: "namespace gone" },
    codes.invalidNetns,
    'Cannot get a lease for "eth0": the namespace is gone',
    "",
  ],
];

for (const [held, code, msg, details] of failures) {
  Deno.test(`one shot without a lease: ${msg}`, async () => {
    using scene = new Scene();
    scene.next = held;
    const error = await assertRejects(() => verbs.add(request(scene, oneShot), scene), CniError);
    assertEquals([error.code, error.msg, error.details], [code, msg, details]);
    assertEquals([...Deno.readDirSync(scene.dir)], []);
  });
}

Deno.test("a namespace that is none is refused before anybody is asked", async () => {
  using scene = new Scene();
  for (const ipam of [{}, { oneShot: true }]) {
    const error = await assertRejects(
      () => verbs.add(request(scene, { ipam, netns: "" }), scene),
      CniError,
    );
    assertEquals(error.code, codes.invalidNetns);
  }
  assertEquals(scene.sent, []);
});

Deno.test("callers need an interface that carries broadcasts for it, and release first", () => {
  assertEquals(plugin.ipam, testTraits.leasing);
});
