import { assertEquals, assertStringIncludes } from "@std/assert";
import { decodeOrThrow } from "../../cni/decode.ts";
import { fold, processes } from "../../host/fold.ts";
import type { Link } from "../../host/ip_link.ts";
import { parseLinks } from "../../host/ip_link.ts";
import { describe } from "../../host/step.ts";
import type { Qdisc, Tbf, U32Filter } from "../../host/tc.ts";
import { burstTicks, keysOf } from "../../host/tc.ts";
import { conf, requestedLimits } from "./conf.ts";
import { ifbNames } from "./names.ts";
import type { KernelShaping, Shaping } from "./plan.ts";
import { compareShaping, planRemoval, planShaping, shapingOf } from "./plan.ts";

const names = await ifbNames({
  network: "cni-plugin-bandwidth-test",
  containerId: "dummy",
  ifName: "eth0",
});
const { reference: ifb, to, mac, alias } = names;
const netns = { path: "/run/netns/c1" };

function link(ifname: string, rest: object = {}): Link {
  const raw = { ifname, ifindex: 3, flags: ["UP"], mtu: 1024, ...rest };
  return parseLinks(JSON.stringify([raw]))[0]!;
}

const target = { link: link("veth0") };
const both = { ingressRate: 8, ingressBurst: 8, egressRate: 16, egressBurst: 16 };

function shaping(value: unknown, where: Pick<Shaping, "link" | "netns"> = target): Shaping {
  return shapingOf(requestedLimits(decodeOrThrow(conf, value, "it")), {
    target: where,
    names,
    from: ifb,
  });
}

const lines = (plan: Shaping) => planShaping(plan).map((step) => describe(step.do));
const undos = (plan: Shaping) =>
  planShaping(plan).flatMap(({ undo }) => undo ? [describe(undo)] : []);

Deno.test("both directions on the host: a bucket on the pair, one on an ifb device", () => {
  const plan = shaping(both);
  assertEquals(lines(plan), [
    `ip link add name ${ifb} mtu 1024 address ${mac} txqueuelen 0 type ifb`,
    `ip link set dev ${ifb} alias ${alias} up`,
    `tc qdisc add dev ${ifb} root handle 1: tbf rate 16bit burst 2b limit 2b`,
    "tc qdisc add dev veth0 ingress",
    "tc filter add dev veth0 ingress protocol all prio 1 u32 match u32 0 0 flowid 1:1 " +
    `action mirred egress redirect dev ${ifb}`,
    "tc qdisc add dev veth0 root handle 1: tbf rate 8bit burst 1b limit 1b",
  ]);
  assertEquals(undos(plan), [
    `ip link del dev ${ifb}`,
    "tc qdisc del dev veth0 parent ffff:fff1",
    "tc qdisc del dev veth0 root",
  ]);
  assertEquals(processes(planShaping(plan)), 1);
});

Deno.test("to the container alone: no ifb device, one process", () => {
  const plan = shaping({ ingressRate: 8000, ingressBurst: 80 });
  assertEquals(lines(plan), [
    "tc qdisc add dev veth0 root handle 1: tbf rate 8000bit burst 10b limit 35b",
  ]);
  assertEquals(processes(planShaping(plan)), 1);
});

Deno.test("from the container alone: the pair has no bucket", () => {
  const plan = lines(shaping({ egressRate: 8000, egressBurst: 80 }));
  assertEquals(plan.filter((line) => line.includes("tbf")), [
    `tc qdisc add dev ${ifb} root handle 1: tbf rate 8000bit burst 10b limit 35b`,
  ]);
});

Deno.test("inside a container the directions change places, in one process", () => {
  const plan = shaping(both, { link: link("eth0"), netns });
  assertEquals(lines(plan).filter((line) => !line.startsWith("nsenter --net=/run/netns/c1 ")), []);
  assertEquals(lines(plan).map((line) => line.replace("nsenter --net=/run/netns/c1 ", "")), [
    `ip link add name ${to} mtu 1024 address ${mac} txqueuelen 0 type ifb`,
    `ip link set dev ${to} alias ${alias} up`,
    `tc qdisc add dev ${to} root handle 1: tbf rate 8bit burst 1b limit 1b`,
    "tc qdisc add dev eth0 ingress",
    "tc filter add dev eth0 ingress protocol all prio 1 u32 match u32 0 0 flowid 1:1 " +
    `action mirred egress redirect dev ${to}`,
    "tc qdisc add dev eth0 root handle 1: tbf rate 16bit burst 2b limit 2b",
  ]);
  assertEquals(processes(planShaping(plan)), 1);
});

const subnets = ["10.0.0.0/8", "fd00:db8:abcd:1234:e000::/68"];

Deno.test("unshaped subnets pass by their remote address, all else goes through devices", () => {
  const plan = lines(shaping({ ...both, unshapedSubnets: subnets }));
  assertEquals(plan.filter((line) => /^tc (filter|qdisc add dev veth0)/.test(line)), [
    "tc qdisc add dev veth0 clsact",
    "tc filter add dev veth0 egress protocol ip prio 26 u32 match ip src 10.0.0.0/8 flowid 1:1",
    "tc filter add dev veth0 egress protocol ipv6 prio 25 u32 " +
    "match ip6 src fd00:db8:abcd:1234:e000::/68 flowid 1:1",
    "tc filter add dev veth0 egress protocol all prio 27 u32 match u32 0 0 flowid 1:1 " +
    `action mirred egress redirect dev ${to}`,
    "tc filter add dev veth0 ingress protocol ip prio 16 u32 match ip dst 10.0.0.0/8 flowid 1:1",
    "tc filter add dev veth0 ingress protocol ipv6 prio 15 u32 " +
    "match ip6 dst fd00:db8:abcd:1234:e000::/68 flowid 1:1",
    "tc filter add dev veth0 ingress protocol all prio 17 u32 match u32 0 0 flowid 1:1 " +
    `action mirred egress redirect dev ${ifb}`,
  ]);
  assertEquals(plan.filter((line) => line.includes("type ifb")).length, 2);
});

Deno.test("shaped subnets go through devices, all else passes", () => {
  const plan = lines(shaping({ egressRate: 16, egressBurst: 16, shapedSubnets: subnets }));
  assertEquals(plan.filter((line) => /^tc (filter|qdisc add dev veth0)/.test(line)), [
    "tc qdisc add dev veth0 ingress",
    "tc filter add dev veth0 ingress protocol ip prio 16 u32 match ip dst 10.0.0.0/8 flowid 1:1 " +
    `action mirred egress redirect dev ${ifb}`,
    "tc filter add dev veth0 ingress protocol ipv6 prio 15 u32 " +
    "match ip6 dst fd00:db8:abcd:1234:e000::/68 flowid 1:1 " +
    `action mirred egress redirect dev ${ifb}`,
  ]);
});

Deno.test("a queue for each flow hangs below the bucket", () => {
  const plan = lines(shaping({ ...both, queue: "fq_codel" }));
  assertEquals(plan.filter((line) => line.includes("fq_codel")), [
    `tc qdisc add dev ${ifb} parent 1:1 handle 10: fq_codel`,
    "tc qdisc add dev veth0 parent 1:1 handle 10: fq_codel",
  ]);
});

Deno.test("a plan folds into one script: ip, then tc", () => {
  const [unit] = fold(planShaping(shaping(both)));
  const { run } = unit!;
  assertEquals(run.kind, "command");
  assertStringIncludes(describe(run), "ip -d -j -batch -");
  assertStringIncludes(describe(run), "tc -batch -");
});

Deno.test("a removal lets packets pass before the device goes", () => {
  const shaped = link("veth0", { qdisc: "tbf" });
  const steps = planRemoval({ link: shaped, ifbs: [link(ifb)] });
  assertEquals(steps.map((step) => describe(step.do)), [
    "tc qdisc del dev veth0 parent ffff:fff1",
    "tc qdisc del dev veth0 root",
    `ip link del dev ${ifb}`,
  ]);
  assertEquals(steps.map(({ tolerate }) => tolerate), [["missing"], ["missing"], ["missing"]]);
  assertEquals(processes(steps), 1);
});

Deno.test("a removal leaves other disciplines alone, and does nothing where nothing is", () => {
  assertEquals(planRemoval({ link: link("veth0", { qdisc: "noqueue" }), ifbs: [] }), []);
  assertEquals(planRemoval({ ifbs: [] }), []);
  const [step, ...rest] = planRemoval({ ifbs: [link(to)], netns });
  assertEquals(describe(step!.do), `nsenter --net=/run/netns/c1 ip link del dev ${to}`);
  assertEquals(rest, []);
});

/** What the kernel has when everything is as it should be. */
function kernel({ directions, link }: Shaping): KernelShaping {
  const kernel = (filter: U32Filter) => ({
    protocol: filter.protocol,
    priority: filter.priority,
    keys: keysOf(filter.match),
    redirect: filter.redirect,
  });
  const filters = directions.flatMap((direction) => direction.filters);
  return {
    ifbs: directions.flatMap(({ ifb }) => ifb ? [madeIfb(ifb)] : []),
    qdiscs: directions.map(({ ifb, tbf }) => bucket(ifb ?? link.name, tbf)),
    filters: {
      ingress: filters.filter(({ hook }) => hook === "ingress").map(kernel),
      egress: filters.filter(({ hook }) => hook === "egress").map(kernel),
    },
  };
}

const madeIfb = (name: string) => link(name, { linkinfo: { info_kind: "ifb" } });

function bucket(dev: string, { rate, burst, limit }: Tbf): Qdisc {
  const ticks = burstTicks({ rate, burst })[0] + 1;
  const tbf = { rate, limit, ticks };
  return { dev, kind: "tbf", handle: "1:", parent: undefined, root: true, tbf };
}

const plain = shaping({ ...both, ingressRate: 80_000, ingressBurst: 80_000 });

Deno.test("CHECK finds what is as it should be, with or without subnets", () => {
  assertEquals(compareShaping(plain, kernel(plain)), []);
  const complex = shaping({ ...both, unshapedSubnets: subnets });
  assertEquals(compareShaping(complex, kernel(complex)), []);
});

Deno.test("CHECK allows a tick more or less", () => {
  const right = kernel(plain);
  const moved = (by: number): KernelShaping => ({
    ...right,
    qdiscs: right.qdiscs.map((qdisc) => ({
      ...qdisc,
      tbf: { ...qdisc.tbf!, ticks: qdisc.tbf!.ticks + by },
    })),
  });
  assertEquals(compareShaping(plain, moved(1)), []);
  assertEquals(compareShaping(plain, moved(-1)), []);
  assertEquals(compareShaping(plain, moved(3)).length, 2);
  assertStringIncludes(compareShaping(plain, moved(-2))[0]!, "Buffer doesn't match");
});

Deno.test("CHECK names every difference", () => {
  const right = kernel(plain);
  const tbf = right.qdiscs[0]!.tbf!;
  const first = (changed: Partial<Qdisc>): KernelShaping => ({
    ...right,
    qdiscs: [{ ...right.qdiscs[0]!, ...changed }, ...right.qdiscs.slice(1)],
  });
  const cases: [KernelShaping, string][] = [
    [first({ tbf: { ...tbf, rate: 1 } }), "Rate doesn't match: 1 and not 10000 bytes/s"],
    [first({ tbf: { ...tbf, limit: 1 } }), "Limit doesn't match: 1 and not 10250 bytes"],
    [first({ kind: "pfifo_fast", tbf: undefined }), '"veth0" has no token bucket'],
    [{ ...right, ifbs: [] }, `ifb device "${ifb}" is missing`],
    [
      { ...right, ifbs: [link(ifb, { flags: [], linkinfo: { info_kind: "ifb" } })] },
      `ifb device "${ifb}" is down`,
    ],
    [
      { ...right, filters: { ingress: [], egress: [] } },
      `a filter on ingress of "veth0" that redirects to "${ifb}" is missing`,
    ],
    [
      {
        ...right,
        filters: {
          ingress: right.filters.ingress.map((one) => ({ ...one, redirect: "ifb0" })),
          egress: [],
        },
      },
      `a filter on ingress of "veth0" that redirects to "${ifb}" is missing`,
    ],
  ];
  for (const [wrong, text] of cases) {
    const found = compareShaping(plain, wrong);
    assertEquals(found.length, 1);
    assertStringIncludes(found[0]!, text);
  }
});

Deno.test("CHECK wants the queue that was asked for", () => {
  const fair = shaping({ ...both, queue: "fq_codel" });
  const right = kernel(fair);
  assertEquals(compareShaping(fair, right).length, 2);
  const queues = right.qdiscs.map(({ dev }): Qdisc => ({
    ...{ dev, kind: "fq_codel", handle: "10:", parent: "1:1", root: false, tbf: undefined },
  }));
  assertEquals(compareShaping(fair, { ...right, qdiscs: [...right.qdiscs, ...queues] }), []);
});
