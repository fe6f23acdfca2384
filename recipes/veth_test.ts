import { assertEquals, assertRejects } from "@std/assert";
import type { Interface, Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import type { Step } from "../host/step.ts";
import { describe } from "../host/step.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import { FakeHost } from "../ns/testing.ts";
import { attachmentNames } from "./attachment.ts";
import type { FoundVeth } from "./veth.ts";
import { queryLinks } from "./links.ts";
import {
  createVeth,
  enableFamilies,
  findVeth,
  gcVeths,
  refuseAdvertisements,
  removeVeth,
} from "./veth.ts";

const own = await attachmentNames({ network: "net", containerId: "c1", ifName: "eth0" });
const netns = { path: "/run/netns/c1" };

function lines(steps: readonly Step[]): string[] {
  return steps.map(({ do: action }) => describe(action));
}

const short = {
  hostVeth: "veth00000001",
  temporaryName: "cni000000000001",
  hostMac: "02:00:00:00:00:01",
  containerMac: "02:00:00:00:00:02",
  alias: "cni:net/c1/eth0",
};

Deno.test("createVeth() makes the pair in place, named and addressed, and marks it", () => {
  const steps = createVeth({ own: short, ifName: "eth0", netns, mtu: 0 });
  assertEquals(lines(steps), [
    "ip link add name veth00000001 address 02:00:00:00:00:01 " +
    "type veth peer name eth0 address 02:00:00:00:00:02 netns /run/netns/c1",
    "ip link set dev veth00000001 alias cni:net/c1/eth0",
  ]);
  assertEquals(processes(steps), 1);
  assertEquals(steps.map(({ undo }) => undo && describe(undo)), [
    "ip link del dev veth00000001",
    undefined,
  ]);
});

Deno.test("createVeth() takes an address and an MTU", () => {
  const mac = "02:00:00:00:00:99";
  const [create] = lines(createVeth({ own: short, mac, ifName: "eth0", netns, mtu: 1400 }));
  assertEquals(
    create,
    "ip link add name veth00000001 mtu 1400 address 02:00:00:00:00:01 " +
      "type veth peer name eth0 mtu 1400 address 02:00:00:00:00:99 netns /run/netns/c1",
  );
});

Deno.test("createVeth() quotes hostile names for people and gives them to ip as they are", () => {
  const alias = "cni:net/c1/it's #1";
  const steps = createVeth({ own: { ...short, alias }, ifName: "it's", netns, mtu: 0 });
  assertEquals(lines(steps)[1], "ip link set dev veth00000001 alias 'cni:net/c1/it'\\''s #1'");
  assertEquals(steps[1]!.do.kind === "command" && steps[1]!.do.args.at(-1), alias);
  // The batch reader of iproute2 cannot read such words: each command runs by itself.
  assertEquals(processes(steps), 2);
});

Deno.test("refuseAdvertisements() closes a host link to advertisements and redirects", () => {
  const steps = refuseAdvertisements("eth0.1");
  assertEquals(lines(steps), [
    "echo 0 > /proc/sys/net/ipv6/conf/eth0.1/accept_ra",
    "echo 0 > /proc/sys/net/ipv6/conf/eth0.1/accept_redirects",
    "echo 0 > /proc/sys/net/ipv4/conf/eth0.1/accept_redirects",
  ]);
  for (const { do: action } of steps) {
    assertEquals(action.kind === "sysctl" && action.optional, true);
  }
});

Deno.test("enableFamilies() enables IPv6 where it is used", () => {
  assertEquals(lines(enableFamilies("br0", [4, 6, 6])), [
    "echo 0 > /proc/sys/net/ipv6/conf/br0/disable_ipv6",
  ]);
  assertEquals(enableFamilies("br0", [4]), []);
});

/** A link as iproute2 prints it. */
function raw(ifname: string, rest: Record<string, unknown> = {}): object {
  return {
    ifindex: 9,
    ifname,
    flags: ["UP"],
    mtu: 1500,
    address: "02:00:00:00:00:09",
    linkinfo: { info_kind: "veth" },
    addr_info: [],
    ...rest,
  };
}

const named = `ip -d -j addr show dev ${own.hostVeth}`;
const inContainer = "nsenter --net=/run/netns/c1 ip -d -j addr show dev eth0";
const all = "ip -d -j addr show";
const missing = { stderr: 'Device "x" does not exist.\n' };

/** The container's end, and the host's; the pair's indexes are 2 and 7. */
const inside = raw("eth0", { ifindex: 2, link_index: 7, address: "02:00:00:00:00:02" });
const outside = (rest: Record<string, unknown> = {}) =>
  raw("vethabcd", { ifindex: 7, link_index: 2, link_netnsid: 0, ...rest });

/** A host without a link of our name; the container has `eth0`, and the host these links. */
function hostWith(...links: object[]): Record<string, FakeAnswer> {
  return {
    [named]: missing,
    [inContainer]: [inside],
    [all]: [raw("lo", { linkinfo: undefined }), ...links],
  };
}

async function find(
  answers: Record<string, FakeAnswer>,
  rest: { prevResult?: Result; alive?: boolean } = {},
): Promise<[FoundVeth | undefined, FakeHost]> {
  const host = new FakeHost(answers);
  const { prevResult, alive = true } = rest;
  const search = { own, ifName: "eth0", netns: alive ? netns : undefined, prevResult };
  return [await findVeth(host, search), host];
}

Deno.test("findVeth() finds a pair by its mark, without a look into the container", async () => {
  for (const alive of [true, false]) {
    const mine = raw(own.hostVeth, { ifalias: own.alias });
    const [found, host] = await find({ [named]: [mine] }, { alive });
    assertEquals([found!.link.name, found!.inside], [own.hostVeth, undefined]);
    assertEquals(host.asked, [named]);
  }
});

Deno.test("findVeth() finds a pair whose ADD was killed before the mark", async () => {
  const mine = raw(own.hostVeth, { address: own.hostMac });
  const [found] = await find({ [named]: [mine] }, { alive: false });
  assertEquals(found!.link.name, own.hostVeth);
});

Deno.test("findVeth() leaves another's link of the same name alone", async () => {
  for (const rest of [{}, { ifalias: "cni:net/c2/eth0" }, { ifalias: "uplink" }]) {
    const [found] = await find({ [named]: [raw(own.hostVeth, rest)] }, { alive: false });
    assertEquals(found, undefined);
  }
});

Deno.test("findVeth() finds nothing without a mark and without a namespace", async () => {
  const [found, host] = await find({ [named]: missing }, { alive: false });
  assertEquals(found, undefined);
  assertEquals(host.asked, [named]);
});

Deno.test("findVeth() finds the reference's pair as the peer of the container's interface", async () => {
  const [found] = await find(hostWith(raw("veth9"), outside()));
  assertEquals([found!.link.name, found!.inside!.name], ["vethabcd", "eth0"]);
});

Deno.test("findVeth() takes two links for a pair when each names the other", async () => {
  for (
    const other of [
      outside({ link_index: 3 }),
      outside({ ifindex: 8 }),
      outside({ linkinfo: { info_kind: "macvlan" } }),
    ]
  ) {
    assertEquals((await find(hostWith(other)))[0], undefined);
  }
});

Deno.test("findVeth() leaves the pair of another container alone: the path of a process came to name its namespace", async () => {
  for (const ifalias of ["cni:net/c2/eth0", "cni:other/c1/eth0", "cni:~0123456789abcdef/~0/eth0"]) {
    assertEquals((await find(hostWith(outside({ ifalias }))))[0], undefined);
  }
});

Deno.test("findVeth() takes a pair that carries our mark under another name, and one with a mark of people", async () => {
  for (const ifalias of [own.alias, "patch cable"]) {
    const [found] = await find(hostWith(outside({ ifalias })));
    assertEquals(found!.link.name, "vethabcd");
  }
});

function recorded(...interfaces: Interface[]): Result {
  return { ...emptyResult(), interfaces };
}

Deno.test("findVeth() leaves an interface alone whose address is not the recorded one", async () => {
  const prevResult = recorded(
    { name: "eth0", mac: "02:00:00:00:00:55" },
    { name: "eth0", mac: "02:00:00:00:00:77", sandbox: "/proc/7/ns/net" },
  );
  assertEquals((await find(hostWith(outside()), { prevResult }))[0], undefined);
});

Deno.test("findVeth() takes a recorded host end, whatever address tuning has given back inside", async () => {
  const tuned = { name: "eth0", mac: "c2:11:22:33:44:55", sandbox: "/run/netns/c1" };
  const end = { name: "vethabcd", mac: "02:00:00:00:00:09" };
  const found = async (host: Interface) =>
    (await find(hostWith(outside()), { prevResult: recorded(host, tuned) }))[0]?.link.name;
  assertEquals(await found(end), "vethabcd");
  assertEquals(await found({ ...end, mac: "02:00:00:00:00:08" }), undefined);
  assertEquals(await found({ ...end, name: "vethdcba" }), undefined);
  assertEquals(await found({ ...end, sandbox: "/run/netns/c2" }), undefined);
});

Deno.test("findVeth() takes an interface that the record does not contradict", async () => {
  const sandbox = "/proc/7/ns/net";
  for (
    const prevResult of [
      recorded({ name: "eth0", mac: "02:00:00:00:00:02".toUpperCase(), sandbox }),
      recorded({ name: "eth0", sandbox }),
      recorded({ name: "eth1", mac: "02:00:00:00:00:77", sandbox }),
      recorded(),
    ]
  ) {
    assertEquals((await find(hostWith(outside()), { prevResult }))[0]!.link.name, "vethabcd");
  }
});

Deno.test("findVeth() finds nothing where the container has no such veth", async () => {
  const gone = { stderr: "nsenter: cannot open /run/netns/c1: No such file or directory\n" };
  const macvlan = raw("eth0", { link_index: 7, linkinfo: { info_kind: "macvlan" } });
  for (const answer of [missing, gone, [macvlan]]) {
    const [found, host] = await find({ [named]: missing, [inContainer]: answer });
    assertEquals(found, undefined);
    assertEquals(host.asked, [named, inContainer]);
  }
});

Deno.test("findVeth() does not take a look that failed for a link that is missing", async () => {
  const denied = { stderr: "nsenter: reassociate to namespace failed: Operation not permitted\n" };
  const look = () => find({ [named]: missing, [inContainer]: denied });
  await assertRejects(
    look,
    Error,
    "Cannot look at links: nsenter: reassociate to namespace failed",
  );
});

Deno.test("queryLinks() gives no links where there is none", async () => {
  const cmd = { kind: "command", tool: "ip", args: ["x"] } as const;
  assertEquals(await queryLinks(new FakeHost({ "ip x": missing }), cmd), []);
  assertEquals(await queryLinks(new FakeHost({ "ip x": [] }), cmd), []);
});

Deno.test("removeVeth() removes what it finds and gives what stood inside", async () => {
  const search = { own, ifName: "eth0", netns, prevResult: undefined };
  const marked = new FakeHost({ [named]: [raw(own.hostVeth, { ifalias: own.alias })] });
  assertEquals(await removeVeth(marked, search), undefined);
  assertEquals(marked.lines, [`ip link del dev ${own.hostVeth}`]);
  const made = new FakeHost(hostWith(outside()));
  assertEquals((await removeVeth(made, search))!.name, "eth0");
  assertEquals(made.lines, ["ip link del dev vethabcd"]);
  assertEquals(made.steps[0]!.tolerate, ["missing"]);
  const none = new FakeHost({ [named]: missing, [inContainer]: missing });
  assertEquals(await removeVeth(none, search), undefined);
  assertEquals(none.lines, []);
});

Deno.test("gcVeths() removes the network's pairs that are not listed", async () => {
  const links = [
    raw("veth1", { ifalias: "cni:net/a/eth0" }),
    raw("veth2", { ifalias: "cni:net/b/eth0" }),
    raw("veth3", { ifalias: "cni:other/b/eth0" }),
    raw("veth4"),
  ];
  const host = new FakeHost({ [all]: links });
  await gcVeths(host, {
    network: "net",
    valid: [{ network: "net", containerId: "a", ifName: "eth0" }],
  });
  assertEquals(host.lines, ["ip link del dev veth2"]);
  assertEquals(host.steps[0]!.tolerate, ["missing"]);
});
