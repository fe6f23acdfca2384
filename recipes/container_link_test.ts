import { assertEquals, assertRejects } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import type { GcRequest, Request } from "../cni/plugin.ts";
import { testTraits } from "../cni/testing.ts";
import type { Dns, IpConfig, JsonObject, Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import type { Step } from "../host/step.ts";
import { describe } from "../host/step.ts";
import type { NetnsState } from "../ns/netns.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import { FakeHost, testLink } from "../ns/testing.ts";
import type { ContainerLink, ContainerLinkConf, ContainerLinkSpec } from "./container_link.ts";
import {
  addContainerLink,
  checkContainerLink,
  createInContainer,
  createOnMaster,
  delContainerLink,
  gcContainerLink,
} from "./container_link.ts";
import { attachmentNames } from "./attachment.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };
const own = await attachmentNames(attachment);
const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1 ";
const master = { link: testLink({ name: "out0" }), netns: undefined };

function link(rest: Partial<ContainerLink> = {}): ContainerLink {
  return { own, netns, ifName: "eth0", type: ["macvlan", "mode", "bridge"], ...rest };
}

function lines(steps: readonly Step[]): string[] {
  return steps.map(({ do: action }) => describe(action));
}

function undos(steps: readonly Step[]): (string | undefined)[] {
  return steps.map(({ undo }) => undo && describe(undo));
}

const adopted = `${inside}ip link set dev ${own.temporaryName} name eth0 alias cni:net/c1/eth0`;

Deno.test("createOnMaster() makes a link in place under a temporary name, then names and marks it", () => {
  const steps = createOnMaster(master, link({ mtu: 1400, mac: "02:00:00:00:00:07" }));
  assertEquals(lines(steps), [
    `ip link add link out0 name ${own.temporaryName} mtu 1400 address 02:00:00:00:00:07 ` +
    "netns /run/netns/c1 type macvlan mode bridge",
    adopted,
  ]);
  assertEquals(undos(steps), [
    `${inside}ip link del dev ${own.temporaryName}`,
    `${inside}ip link del dev eth0`,
  ]);
  assertEquals(processes(steps), 2);
});

Deno.test("createOnMaster() makes a link on a master of the container inside it", () => {
  const steps = createOnMaster({ ...master, netns }, link());
  assertEquals(lines(steps), [
    `${inside}ip link add link out0 name ${own.temporaryName} type macvlan mode bridge`,
    adopted,
  ]);
  assertEquals(processes(steps), 1);
});

Deno.test("createOnMaster() says what refusals mean", () => {
  const [create, name] = createOnMaster(master, link({ meaning: { busy: "it is taken" } }));
  assertEquals(create!.meaning, {
    unsupported: 'the kernel lacks the module for it, or "out0" takes none',
    busy: "it is taken",
  });
  assertEquals(name!.meaning, { exists: "the container has an interface of that name already" });
});

Deno.test("createInContainer() makes a link of that name and marks it", () => {
  const steps = createInContainer(link({ type: ["dummy"], mac: "02:00:00:00:00:07" }));
  assertEquals(lines(steps), [
    `${inside}ip link add name eth0 address 02:00:00:00:00:07 type dummy`,
    `${inside}ip link set dev eth0 alias cni:net/c1/eth0`,
  ]);
  assertEquals(undos(steps), [`${inside}ip link del dev eth0`, undefined]);
  assertEquals(processes(steps), 1);
});

/** A link as iproute2 prints it. */
function raw(ifname: string, rest: JsonObject = {}): JsonObject {
  return {
    ifindex: 2,
    ifname,
    flags: ["UP", "LOWER_UP"],
    mtu: 1500,
    address: "02:00:00:00:00:07",
    linkinfo: { info_kind: "macvlan" },
    addr_info: [],
    ...rest,
  };
}

const live: NetnsState = { is: "namespace", netns, identity: { dev: 4, ino: 7 } };
const gone: NetnsState = { is: "missing", path: netns.path };

/** What a test's request is made of. */
interface TestRequest {
  readonly type?: string;
  readonly dns?: Dns;
  readonly ips?: readonly IpConfig[];
  readonly ipamDns?: Dns;
  readonly answers?: Record<string, FakeAnswer>;
  readonly sandbox?: NetnsState;
  readonly prevResult?: Result;
}

/** A request, and all that happens in its order: calls of IPAM and steps. */
function request(test: TestRequest = {}) {
  const traits = test.type === "dhcp" ? testTraits.leasing : testTraits.local;
  const { type = "", dns, ips = [], ipamDns = {}, answers = {}, sandbox = live } = test;
  const host = new FakeHost(answers);
  const events: string[] = [];
  const apply = host.apply.bind(host);
  host.apply = (steps) => {
    events.push(...lines(steps).filter((line) => line.includes("ip ")));
    return apply(steps);
  };
  const ipam = Object.fromEntries(["add", "del", "check", "gc"].map((verb) => [verb, () => {
    events.push(`ipam ${verb}`);
    return Promise.resolve({ ...emptyResult(), ips, dns: ipamDns });
  }]));
  const req = {
    ...attachment,
    conf: { ipam: { type }, ...(dns && { dns }) },
    host,
    ipam: { type, ...ipam, traits: () => Promise.resolve(traits) },
    netns: netns.path,
    sandbox,
    prevResult: test.prevResult,
  } as unknown as Request<ContainerLinkConf>;
  return { req, host, events };
}

const create: Step[] = createOnMaster(master, link());
const made = lines(create);
const up = `${inside}ip link set dev eth0 up`;
const ip4 = { address: "10.1.2.2/24", gateway: "10.1.2.1" };
const added = `${inside}ip addr add 10.1.2.2/24 brd + dev eth0`;
const attaching: ContainerLinkSpec = { create, mac: "02:00:00:00:00:07", mtu: 1500, dad: true };

Deno.test("addContainerLink() asks IPAM before it makes the link, where IPAM needs none", async () => {
  const { req, events } = request({ type: "host-local", ips: [ip4] });
  const result = await addContainerLink(req, attaching);
  assertEquals(events, ["ipam add", ...made, added, up]);
  assertEquals(result, {
    interfaces: [{ name: "eth0", mac: attaching.mac, mtu: 1500, sandbox: netns.path }],
    ips: [{ ...ip4, interface: 0 }],
    routes: [],
    dns: {},
  });
});

Deno.test("addContainerLink() asks any other IPAM plugin when the link is up", async () => {
  const { req, events } = request({ type: "dhcp", ips: [ip4] });
  await addContainerLink(req, attaching);
  assertEquals(events, [...made, up, "ipam add", added, up]);
});

Deno.test("addContainerLink() takes addresses from elsewhere, and then asks no IPAM plugin", async () => {
  const { req, events } = request();
  const addresses = { ...emptyResult(), ips: [ip4], dns: { domain: "example.com" } };
  const result = await addContainerLink(req, { ...attaching, addresses });
  assertEquals(events, [...made, added, up]);
  assertEquals([result.ips, result.dns], [[{ ...ip4, interface: 0 }], { domain: "example.com" }]);
});

Deno.test("addContainerLink() of layer 2 only sets the link up: two processes", async () => {
  const { req, host, events } = request();
  const result = await addContainerLink(req, { ...attaching, mtu: 0 });
  assertEquals(events, [...made, up]);
  assertEquals(processes(host.steps), 2);
  assertEquals(result.interfaces, [{ name: "eth0", mac: attaching.mac, sandbox: netns.path }]);
});

Deno.test("addContainerLink() keeps IPAM's dns unless the configuration has its own", async () => {
  const ipamDns = { nameservers: ["10.1.2.1"] };
  const given = { type: "static", ips: [ip4], ipamDns };
  assertEquals((await addContainerLink(request(given).req, attaching)).dns, ipamDns);
  const dns = { nameservers: ["192.0.2.1"] };
  assertEquals((await addContainerLink(request({ ...given, dns }).req, attaching)).dns, dns);
});

Deno.test("addContainerLink() waits for the detection of IPv6 duplicates where it is on", async () => {
  const show = `${inside}ip -d -j addr show dev eth0`;
  const ips = [{ address: "2001:db8::2/64" }];
  const answers = { [show]: [raw("eth0")] };
  const { req, host } = request({ type: "static", ips, answers });
  await addContainerLink(req, attaching);
  assertEquals(host.asked, [show]);
  const other = request({ type: "static", ips });
  await addContainerLink(other.req, { ...attaching, dad: false });
  assertEquals(other.host.asked, []);
});

Deno.test("addContainerLink() says what it means when the link cannot be set up", async () => {
  const refusals = { exists: "another has this address" };
  for (const type of ["", "static", "dhcp"]) {
    const { req, host } = request({ type, ips: type ? [ip4] : [] });
    await addContainerLink(req, { ...attaching, refusals });
    const steps = host.steps.filter(({ do: action }) => describe(action) === up);
    assertEquals(steps.map(({ meaning }) => meaning), steps.map(() => refusals));
  }
});

Deno.test("addContainerLink() wants a namespace before it asks anybody", async () => {
  const { req, events } = request({ type: "host-local", sandbox: gone });
  const error = await assertRejects(() => addContainerLink(req, attaching), CniError);
  assertEquals([error.code, events], [codes.invalidNetns, []]);
});

const all = `${inside}ip -d -j addr show`;
const kind = { kind: "macvlan" };
const recorded: Result = {
  ...emptyResult(),
  interfaces: [{ name: "eth0", mac: "02:00:00:00:00:07", sandbox: netns.path }],
};

const removals: readonly (readonly [string, JsonObject[], Partial<TestRequest>, string[]])[] = [
  ["the marked link", [raw("eth0", { ifalias: own.alias })], {}, ["eth0"]],
  ["the marked link under another name", [raw("net9", { ifalias: own.alias })], {}, ["net9"]],
  [
    "the marked link of another kind",
    [
      raw("eth0", { ifalias: own.alias, linkinfo: { info_kind: "dummy" } }),
    ],
    {},
    ["eth0"],
  ],
  ["a link that was to be named", [raw(own.temporaryName)], {}, [own.temporaryName]],
  ["the marked one of two", [raw("eth0"), raw("net9", { ifalias: own.alias })], {}, ["net9"]],
  ["a link without a mark", [raw("eth0")], {}, ["eth0"]],
  ["a link with somebody's alias", [raw("eth0", { ifalias: "uplink" })], {}, ["eth0"]],
  ["the recorded link", [raw("eth0")], { prevResult: recorded }, ["eth0"]],
  ["no link of another address than recorded", [raw("eth0", { address: "02:00:00:00:00:08" })], {
    prevResult: recorded,
  }, []],
  ["no link of another attachment", [raw("eth0", { ifalias: "cni:net/c2/eth0" })], {}, []],
  ["no link of another kind", [raw("eth0", { linkinfo: { info_kind: "veth" } })], {}, []],
  ["no link of another name", [raw("net9")], {}, []],
  ["nothing where nothing is", [raw("lo", { linkinfo: {} })], {}, []],
];

for (const [title, links, rest, removed] of removals) {
  Deno.test(`delContainerLink() removes ${title}`, async () => {
    const { req, events } = request({ type: "static", answers: { [all]: links }, ...rest });
    await delContainerLink(req, kind);
    const expected = removed.map((name) => `${inside}ip link del dev ${name}`);
    assertEquals(events, [...expected, "ipam del"]);
  });
}

Deno.test("delContainerLink() releases addresses when the namespace is gone", async () => {
  const { req, events } = request({ type: "static", sandbox: gone });
  await delContainerLink(req, kind);
  assertEquals(events, ["ipam del"]);
  const without = request({ sandbox: gone });
  await delContainerLink(without.req, kind);
  assertEquals(without.events, []);
});

Deno.test("delContainerLink() releases no address while a link may have it", async () => {
  const denied = { stderr: "nsenter: reassociate to namespace: Operation not permitted\n" };
  const { req, events } = request({ type: "static", answers: { [all]: denied } });
  const error = await assertRejects(() => delContainerLink(req, kind), CniError);
  assertEquals([error.code, events], [codes.permissionDenied, []]);
});

Deno.test("delContainerLink() lets an IPAM plugin that may need the link release first", async () => {
  const marked = { [all]: [raw("eth0", { ifalias: own.alias })] };
  const removed = `${inside}ip link del dev eth0`;
  for (
    const [type, order] of [
      ["host-local", [removed, "ipam del"]],
      ["dhcp", ["ipam del", removed]],
    ] as const
  ) {
    const { req, events } = request({ type, answers: marked });
    await delContainerLink(req, kind);
    assertEquals(events, [...order]);
  }
});

Deno.test("checkContainerLink() compares what is recorded, and what the plugin adds", async () => {
  const answers = {
    [`${inside}ip -d -j addr show dev eth0`]: [raw("eth0")],
    [`${inside}ip -4 -N -j route show table all`]: [],
    [`${inside}ip -6 -N -j route show table all`]: [],
  };
  const { req, events } = request({ type: "static", answers, prevResult: recorded });
  await checkContainerLink(req, kind);
  assertEquals(events, ["ipam check"]);
  const compare = () => ["one line"];
  const error = await assertRejects(
    () => checkContainerLink(req, { kind: "ipvlan", compare }),
    CniError,
  );
  assertEquals([error.code, error.msg], [
    codes.checkFailed,
    'Cannot confirm attachment to network "net": ' +
    'container interface "eth0" is of kind macvlan, expected ipvlan; one line',
  ]);
});

Deno.test("gcContainerLink() leaves links to their namespaces", async () => {
  for (const [type, expected] of [["static", ["ipam gc"]], ["", []]] as const) {
    const { req, events } = request({ type });
    await gcContainerLink(req as GcRequest<ContainerLinkConf>);
    assertEquals(events, [...expected]);
  }
});
