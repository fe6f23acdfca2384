import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import type { IpConfig, Route } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import { formatCidr } from "../host/ip.ts";
import { parseLinks, showLink } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import { describe } from "../host/step.ts";
import { DryRun } from "../ns/machine.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import { FakeHost } from "../ns/testing.ts";
import type { ConfigurePlan } from "./configure.ts";
import {
  addressesOf,
  addRoutes,
  bringUp,
  configureInterface,
  firstGateways,
  knownAddresses,
  removeRoutes,
  waitForDetection,
} from "./configure.ts";

const netns = { path: "/run/netns/c1" };
const where = { netns, ifName: "eth0" };

/** What is done inside the container, as its shell would read it. */
function lines(steps: readonly Step[]): string[] {
  return steps.map(({ do: action }) =>
    describe(action).replace("nsenter --net=/run/netns/c1 ", "")
      .replace(/^sh -c '(.*)'$/, "$1")
  );
}

function configure(ips: IpConfig[], rest: Partial<ConfigurePlan> = {}): Step[] {
  return configureInterface({ ...where, result: { ips, routes: [] }, dad: false, ...rest });
}

const ipv4 = { address: "10.1.0.2/24", gateway: "10.1.0.1" };
const ipv6 = { address: "fd00::2/64", gateway: "fd00::1" };

Deno.test("configureInterface() of IPv4 leaves IPv6 as it is", () => {
  const steps = configure([ipv4]);
  assertEquals(lines(steps), [
    "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad",
    "echo 1 > /proc/sys/net/ipv6/conf/eth0/ndisc_notify",
    "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify",
    "ip addr add 10.1.0.2/24 brd + dev eth0",
    "ip link set dev eth0 up",
  ]);
  assertEquals(processes(steps), 1);
});

Deno.test("configureInterface() leaves an address of IPv6 alone that the kernel has made", () => {
  const given = configure([ipv4, ipv6]).filter(({ why }) => why.startsWith("add address"));
  assertEquals(given.map(({ tolerate }) => tolerate), [undefined, ["exists"]]);
});

Deno.test("configureInterface() enables IPv6 once, keeps its addresses, and uses them at once", () => {
  const steps = configure([ipv6, ipv4, { address: "fd01::2/64" }]);
  assertEquals(lines(steps), [
    "echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6",
    "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6",
    "echo 1 > /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down",
    "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad",
    "echo 1 > /proc/sys/net/ipv6/conf/eth0/ndisc_notify",
    "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify",
    "ip addr add fd00::2/64 dev eth0 nodad",
    "ip addr add 10.1.0.2/24 brd + dev eth0",
    "ip addr add fd01::2/64 dev eth0 nodad",
    "ip link set dev eth0 up",
  ]);
  assertEquals(processes(steps), 1);
});

Deno.test("configureInterface() runs detection where it is asked for", () => {
  const done = lines(configure([ipv6], { dad: true }));
  assertEquals(done.filter((line) => line.includes("dad")), [
    "echo 1 > /proc/sys/net/ipv6/conf/eth0/enhanced_dad",
    "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad",
  ]);
  assertEquals(done.at(-2), "ip addr add fd00::2/64 dev eth0");
});

Deno.test("configureInterface() leaves out the routes to the prefixes where it is told to", () => {
  const done = lines(configure([ipv4, ipv6], { prefixRoutes: false }));
  assertEquals(done.slice(-3, -1), [
    "ip addr add 10.1.0.2/24 brd + dev eth0 noprefixroute",
    "ip addr add fd00::2/64 dev eth0 nodad noprefixroute",
  ]);
});

Deno.test("configureInterface() fails without the variables that addresses need, and no others", () => {
  const needed = configure([ipv6]).filter(({ do: action }) =>
    action.kind === "sysctl" && !action.optional
  );
  assertEquals(
    needed.map(({ do: action }) => action.kind === "sysctl" && action.key.split("/").at(-1)),
    ["disable_ipv6", "disable_ipv6", "keep_addr_on_down"],
  );
});

Deno.test("configureInterface() writes names with dots and quotes as they are", () => {
  const keys = configure([ipv6], { ifName: "it's.100" })
    .map(({ do: action }) => action.kind === "sysctl" ? action.key : "");
  assertEquals(keys[1], "net/ipv6/conf/it's.100/disable_ipv6");
});

Deno.test("bringUp() sets the interface up", () => {
  assertEquals(lines(bringUp(where)), ["ip link set dev eth0 up"]);
});

function routes(list: Route[], ips: IpConfig[] = [ipv4, ipv6]): string[] {
  return lines(addRoutes({ ...where, result: { ips, routes: list } }));
}

Deno.test("addRoutes() leads through the first gateway of the family, or the route's own", () => {
  const ips = [{ address: "10.9.0.2/24" }, ipv4, { ...ipv4, gateway: "10.1.0.99" }, ipv6];
  const list = [{ dst: "0.0.0.0/0" }, { dst: "10.2.0.0/16", gw: "10.1.0.7" }, { dst: "::/0" }];
  assertEquals(routes(list, ips), [
    "ip route prepend 0.0.0.0/0 via 10.1.0.1 dev eth0 scope global",
    "ip route prepend 10.2.0.0/16 via 10.1.0.7 dev eth0 scope global",
    "ip route prepend ::/0 via fd00::1 dev eth0",
  ]);
});

Deno.test("removeRoutes() removes what addRoutes() has added, and forgives what is gone", () => {
  const list = [{ dst: "0.0.0.0/0", priority: 50 }, { dst: "10.2.0.0/16", gw: "10.1.0.7" }];
  const plan = { ...where, result: { ips: [ipv4], routes: list } };
  assertEquals(
    lines(removeRoutes(plan)),
    lines(addRoutes(plan)).map((line) => line.replace(" prepend ", " del ")),
  );
  assertEquals(removeRoutes(plan).map(({ tolerate }) => tolerate), [["missing"], ["missing"]]);
});

Deno.test("addRoutes() without a gateway of the family leads to the link", () => {
  assertEquals(
    routes([{ dst: "10.2.0.0/16" }, { dst: "fd02::/64" }], [{ address: "10.1.0.2/24" }]),
    [
      "ip route prepend 10.2.0.0/16 dev eth0 scope global",
      "ip route prepend fd02::/64 dev eth0",
    ],
  );
});

Deno.test("addRoutes() writes table, metric, scope, MTU and MSS", () => {
  const more = { priority: 100, table: 5000, mtu: 1400, advmss: 1300 };
  assertEquals(
    routes([{ dst: "10.2.0.0/16", scope: 253, ...more }, { dst: "fd02::/64", ...more }]),
    [
      "ip route prepend 10.2.0.0/16 via 10.1.0.1 dev eth0 " +
      "metric 100 table 5000 scope 253 mtu 1400 advmss 1300",
      "ip route prepend fd02::/64 via fd00::1 dev eth0 metric 100 table 5000 mtu 1400 advmss 1300",
    ],
  );
});

Deno.test("addRoutes() takes 0 for the main table and for no metric, and for global scope", () => {
  const zeros = { priority: 0, table: 0, mtu: 0, advmss: 0, scope: 0 };
  assertEquals(routes([{ dst: "10.2.0.0/16", ...zeros }, { dst: "fd02::/64", ...zeros }]), [
    "ip route prepend 10.2.0.0/16 via 10.1.0.1 dev eth0 scope 0",
    "ip route prepend fd02::/64 via fd00::1 dev eth0",
  ]);
});

Deno.test("addRoutes() clears host bits", () => {
  assertEquals(routes([{ dst: "10.2.3.4/16" }]), [
    "ip route prepend 10.2.0.0/16 via 10.1.0.1 dev eth0 scope global",
  ]);
});

Deno.test("addRoutes() adds what means the same once, and several next hops of a prefix", () => {
  const list = [
    { dst: "0.0.0.0/0" },
    { dst: "0.0.0.0/0", gw: "10.1.0.1" },
    { dst: "0.0.0.0/0", gw: "10.1.0.2" },
    { dst: "10.2.9.9/16" },
    { dst: "10.2.0.0/16", table: 0 },
    { dst: "10.2.0.0/16", table: 7 },
    { dst: "::/0" },
    { dst: "::/0", gw: "fd00::1" },
  ];
  assertEquals(routes(list), [
    "ip route prepend 0.0.0.0/0 via 10.1.0.1 dev eth0 scope global",
    "ip route prepend 0.0.0.0/0 via 10.1.0.2 dev eth0 scope global",
    "ip route prepend 10.2.0.0/16 via 10.1.0.1 dev eth0 scope global",
    "ip route prepend 10.2.0.0/16 via 10.1.0.1 dev eth0 table 7 scope global",
    "ip route prepend ::/0 via fd00::1 dev eth0",
  ]);
});

function refusal(read: () => unknown): unknown {
  return assertThrows(read, CniError).toJson();
}

Deno.test("an address, a gateway or a route that is none is refused with its text", () => {
  const code = codes.invalidNetworkConfig;
  assertEquals(refusal(() => addressesOf({ ips: [{ address: "10.0.0.2" }] })), {
    code,
    msg: 'Cannot use address "10.0.0.2": not an IP prefix',
  });
  assertEquals(refusal(() => addressesOf({ ips: [{ ...ipv4, gateway: "10.1.0.1/24" }] })), {
    code,
    msg: 'Cannot use gateway "10.1.0.1/24": not an IP address',
  });
  assertEquals(refusal(() => routes([{ dst: "default" }])), {
    code,
    msg: 'Cannot use route "default": not an IP prefix',
  });
  assertEquals(refusal(() => routes([{ dst: "10.2.0.0/16", gw: "x" }])), {
    code,
    msg: 'Cannot use gateway "x": not an IP address',
  });
});

Deno.test("firstGateways() gives the first gateway of each family", () => {
  const gateways = firstGateways({ ips: [{ address: "10.9.0.2/24" }, ipv6, ipv4] });
  assertEquals([...gateways.keys()], [6, 4]);
  assertEquals([...firstGateways({ ips: [] })], []);
});

function eth0(...addr_info: object[]) {
  return [{ ifindex: 2, ifname: "eth0", flags: ["UP", "LOWER_UP"], mtu: 1500, addr_info }];
}

Deno.test("knownAddresses() prefers the record to the interface, global addresses alone", () => {
  const [inside] = parseLinks(JSON.stringify(eth0(
    { local: "10.1.0.9", prefixlen: 24, scope: "global" },
    { local: "fe80::1", prefixlen: 64, scope: "link" },
  )));
  const known = (...args: Parameters<typeof knownAddresses>) =>
    knownAddresses(...args)?.map(formatCidr);
  assertEquals(known({ ...emptyResult(), ips: [ipv4, ipv6] }, inside), [
    "10.1.0.2/24",
    "fd00::2/64",
  ]);
  assertEquals(known(emptyResult(), inside), []);
  assertEquals(known(undefined, inside), ["10.1.0.9/24"]);
  assertEquals(known(undefined, undefined), undefined);
});

/** Gives the answers in turn. */
class Changing extends FakeHost {
  readonly #answers: FakeAnswer[];

  constructor(...answers: FakeAnswer[]) {
    super();
    this.#answers = answers;
  }

  override query(...[cmd, options]: Parameters<FakeHost["query"]>) {
    const answer = this.#answers.shift()!;
    const host = new FakeHost({ [describe(showLink("eth0", { netns }))]: answer });
    this.asked.push("look");
    return host.query(cmd, options);
  }
}

const settled = { local: "fd00::2", prefixlen: 64, scope: "global" };
const tentative = { ...settled, tentative: true };

Deno.test("waitForDetection() looks until no address is tentative", async () => {
  const host = new Changing(eth0(settled, tentative), eth0(tentative), eth0(settled));
  await waitForDetection(host, where);
  assertEquals(host.asked.length, 3);
  const none = new Changing(eth0());
  await waitForDetection(none, where);
  assertEquals(none.asked.length, 1);
});

Deno.test("waitForDetection() does not wait for a network that is not there", async () => {
  const [link] = eth0(tentative);
  const host = new Changing([{ ...link, flags: ["NO-CARRIER", "UP"] }]);
  await waitForDetection(host, where);
  assertEquals(host.asked.length, 1);
});

Deno.test("waitForDetection() fails when an address is taken", async () => {
  const host = new Changing(eth0(tentative), eth0(settled, { ...tentative, dadfailed: true }));
  const error = await assertRejects(() => waitForDetection(host, where), CniError);
  assertEquals(error.toJson(), {
    code: codes.refused,
    msg: 'Cannot use container interface "eth0": address fd00::2 is in use on the link already',
  });
});

Deno.test("waitForDetection() says what it could not look at", async () => {
  const host = new Changing({ stderr: 'Device "eth0" does not exist.\n' });
  await assertRejects(
    () => waitForDetection(host, where),
    Error,
    'Cannot look at container interface "eth0": Device "eth0" does not exist.',
  );
});

Deno.test("waitForDetection() has nothing to wait for in a dry run", async () => {
  await waitForDetection(new DryRun(), where);
});
