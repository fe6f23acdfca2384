/**
 * portmap on a real kernel, proved by packets: from outside, from the host, from
 * 127.0.0.1, from the container itself and from another container, in both
 * families, with each program that can write the rules.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { listNames } from "../host/files.ts";
import { claimDirs } from "../meta/portmap/claims.ts";
import { attachmentHash } from "../recipes/names.ts";
import { addChain, chainCall, checkChain, delChain } from "./harness/chain.ts";
import type { Chain } from "./harness/chain.ts";
import { Faults } from "./harness/fault.ts";
import { useLegacyIptables } from "./harness/legacy.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import type { Outcome, Transport } from "./harness/packets.ts";
import { addressesOf, callPlugin, fail, succeed } from "./harness/plugin.ts";
import type { ResidueId } from "./harness/residue.ts";
import { bridgeName } from "./harness/residue.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const { host4, host6, client4, client6 } = outsideNet;
const gateway4 = "10.1.2.1";
const gateway6 = "2001:db8:1::1";

/** A program that writes rules. */
interface Variant {
  readonly name: string;
  readonly backend: "iptables" | "nftables";
  readonly needs: readonly Need[];
  readonly residue: readonly ResidueId[];
  readonly enter: () => Promise<AsyncDisposable>;
}

const stay = () => Promise.resolve({ [Symbol.asyncDispose]: () => Promise.resolve() });

const variants: readonly Variant[] = [
  {
    name: "iptables",
    backend: "iptables",
    needs: ["iptables-nat"],
    residue: ["hostportChains", "iptablesTables"],
    enter: stay,
  },
  {
    name: "iptables-legacy",
    backend: "iptables",
    needs: ["iptables-nat", "tool:iptables-legacy"],
    residue: ["hostportChains", "iptablesTables"],
    enter: useLegacyIptables,
  },
  {
    name: "nftables",
    backend: "nftables",
    needs: ["nft-nat"],
    residue: ["nftHostports"],
    enter: stay,
  },
];

const common: readonly Need[] = [
  "link:bridge",
  "link:veth",
  "plugin:bridge",
  "plugin:host-local",
  "plugin:portmap",
];

/** Registers a test for each program. */
function variantTest(
  name: string,
  needs: readonly Need[],
  body: (sandbox: Sandbox, variant: Variant) => Promise<void>,
): void {
  for (const variant of variants) {
    kernelTest(
      `${variant.name}: ${name}`,
      { needs: [...common, ...needs, ...variant.needs] },
      async (sandbox) => {
        await using _programs = await variant.enter();
        await body(sandbox, variant);
      },
    );
  }
}

/** A port mapping as a runtime gives it. */
interface Mapping {
  readonly hostPort: number | string;
  readonly containerPort: number | string;
  readonly protocol: string;
  readonly hostIP?: string;
}

/** What a container is attached with. */
interface Attach {
  readonly mappings: readonly Mapping[];
  /** More keys of portmap's configuration. */
  readonly keys?: JsonObject;
  readonly network?: string;
}

/** The list of a container on the bridge, with its ports. */
async function chainOf(
  sandbox: Sandbox,
  variant: Variant,
  { id, mappings, keys = {}, network = "net1" }: Attach & { readonly id: string },
): Promise<Chain> {
  return {
    name: network,
    cniVersion: "1.1.0",
    netns: await sandbox.container(id),
    containerId: id,
    plugins: [
      {
        type: "bridge",
        bridge: bridgeName,
        isDefaultGateway: true,
        // With br_netfilter a container's way to its own port leads out of the port it came in by.
        hairpinMode: true,
        ipMasq: true,
        ipMasqBackend: variant.backend,
        ipam: hostLocal(sandbox, "10.1.2.0/24", "2001:db8:1::/64"),
      },
      {
        type: "portmap",
        backend: variant.backend,
        capabilities: { portMappings: true },
        ...keys,
      },
    ],
    capabilityArgs: { portMappings: mappings.map((mapping) => ({ ...mapping })) },
  };
}

/** An attached container. */
interface Attached {
  readonly chain: Chain;
  readonly result: JsonObject;
  readonly netns: string;
  /** Its addresses, without prefixes. */
  readonly address4: string;
  readonly address6: string;
}

async function attach(
  sandbox: Sandbox,
  variant: Variant,
  id: string,
  what: Attach = { mappings: [] },
): Promise<Attached> {
  const chain = await chainOf(sandbox, variant, { id, ...what });
  const result = await addChain(sandbox, chain);
  const [address4 = "", address6 = ""] = addressesOf(result).map((cidr) => cidr.split("/")[0]!);
  return { chain, result, netns: chain.netns, address4, address6 };
}

/** The call of portmap alone. */
function portmapCall(
  { chain, result }: Pick<Attached, "chain" | "result">,
  verb: "ADD" | "DEL" | "CHECK" | "GC",
  extra: JsonObject = {},
) {
  const plugin = chain.plugins[1]!;
  return chainCall(chain, verb, { plugin, prevResult: result, extra });
}

/** A server for both families. */
async function serve(
  sandbox: Sandbox,
  netns: string,
  { transport, port }: { readonly transport: Transport; readonly port: number },
): Promise<void> {
  await sandbox.agent(netns).listen(transport, { port, address: "::" });
}

/**
 * A call, with the caller's IPv4 address as such where the server sees it through
 * IPv6. The first IPv6 packets wait until the bridge's link-local address is sure.
 */
async function ask(
  sandbox: Sandbox,
  netns: string,
  { address, port, transport = "tcp", timeout = 6000 }: {
    readonly address: string;
    readonly port: number;
    readonly transport?: Transport;
    readonly timeout?: number;
  },
): Promise<Outcome> {
  const outcome = await sandbox.agent(netns).call(address, port, { transport, timeout });
  return outcome.is === "answered" ? from(outcome.from.replace(/^::ffff:/, "")) : outcome;
}

const from = (address: string): Outcome => ({ is: "answered", from: address });

variantTest("every way to a mapped port works and goes with DEL", ["tool:conntrack"], async (
  sandbox,
  variant,
) => {
  const outside = await sandbox.outside();
  const other = await attach(sandbox, variant, "b");
  const before = await snapshot(sandbox);
  const a = await attach(sandbox, variant, "a", {
    mappings: [
      { hostPort: 8080, containerPort: 80, protocol: "tcp" },
      { hostPort: 8053, containerPort: 53, protocol: "UDP" },
      { hostPort: 8083, containerPort: 83, protocol: "tcp", hostIP: host4 },
      { hostPort: 8086, containerPort: 86, protocol: "tcp", hostIP: host6 },
      { hostPort: 8084, containerPort: 84, protocol: "tcp", hostIP: "0.0.0.0" },
    ],
  });
  for (const port of [80, 83, 84, 86]) await serve(sandbox, a.netns, { transport: "tcp", port });
  await serve(sandbox, a.netns, { transport: "udp", port: 53 });
  await checkChain(sandbox, a.chain, a.result);

  const call = (netns: string, address: string, port: number, transport: Transport = "tcp") =>
    ask(sandbox, netns, { address, port, transport });
  const ports = [[8080, "tcp"], [8053, "udp"]] as const;
  const cases = ["1", "0"].flatMap((filter) => ports.map((port) => [filter, ...port] as const));
  for (const [filter, port, transport] of cases) {
    await filterBridges(sandbox, filter);
    const seen = async (netns: string, address: string) =>
      assertEquals(
        await call(netns, address, port, transport),
        expected.get(`${netns} ${address}`),
        `${transport} from ${netns} to ${address}, bridge-nf-call ${filter}`,
      );
    const expected = new Map([
      [`${outside} ${host4}`, from(client4)],
      [`${outside} ${host6}`, from(client6)],
      [`${sandbox.host} ${host4}`, from(host4)],
      [`${sandbox.host} 127.0.0.1`, from(gateway4)],
      [`${a.netns} ${host4}`, from(gateway4)],
      [`${a.netns} ${host6}`, from(gateway6)],
      [`${a.netns} ${gateway4}`, from(gateway4)],
      [`${other.netns} ${host4}`, from(gateway4)],
      [`${other.netns} ${host6}`, from(gateway6)],
      [`${other.netns} ${gateway4}`, from(gateway4)],
    ]);
    for (const key of expected.keys()) {
      const [netns, address] = key.split(" ");
      await seen(netns!, address!);
    }
    assertEquals((await call(sandbox.host, host6, port, transport)).is, "answered");
  }

  // A mapping of one address is for that address only, in its family only.
  assertEquals(await call(outside, host4, 8083), from(client4));
  assertEquals(await call(other.netns, host4, 8083), from(gateway4));
  assertEquals((await call(other.netns, gateway4, 8083)).is, "refused");
  assertEquals((await call(sandbox.host, "127.0.0.1", 8083)).is, "refused");
  assertEquals((await call(outside, host6, 8083)).is, "refused");
  assertEquals(await call(outside, host6, 8086), from(client6));
  assertEquals((await call(outside, host4, 8086)).is, "refused");
  assertEquals((await call(other.netns, gateway6, 8086)).is, "refused");
  assertEquals(await call(outside, host4, 8084), from(client4));
  assertEquals(await call(other.netns, gateway4, 8084), from(gateway4));
  assertEquals((await call(outside, host6, 8084)).is, "refused");

  await delChain(sandbox, a.chain, a.result);
  assertEquals((await call(outside, host4, 8080)).is, "refused");
  assertEquals((await call(sandbox.host, "127.0.0.1", 8080)).is, "refused");
  await sandbox.removeNetns("a");
  assertSame(before, await snapshot(sandbox), {
    allow: ["hostLocal", "routeLocalnet", "portClaims", "bridge", ...variant.residue],
    only: /^host|^files$/,
  });
});

/** Whether rules of iptables also see what stays on a bridge, where the kernel has br_netfilter. */
async function filterBridges(sandbox: Sandbox, value: string): Promise<void> {
  const script = `cd /proc/sys/net/bridge 2>/dev/null || exit 0
    echo ${value} >bridge-nf-call-iptables; echo ${value} >bridge-nf-call-ip6tables`;
  await sandbox.inside(sandbox.host, ["sh", "-c", script]);
}

variantTest("without snat the client is never hidden", [], async (sandbox, variant) => {
  const outside = await sandbox.outside();
  const a = await attach(sandbox, variant, "a", {
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
    keys: { snat: false },
  });
  await serve(sandbox, a.netns, { transport: "tcp", port: 80 });
  await checkChain(sandbox, a.chain, a.result);
  assertEquals(await ask(sandbox, outside, { address: host4, port: 8080 }), from(client4));
  const local = await ask(sandbox, sandbox.host, {
    address: "127.0.0.1",
    port: 8080,
    timeout: 500,
  });
  assert(local.is !== "answered", "127.0.0.1 is mapped without masquerade");
  // CHECK with snat misses what only snat brings; a repeated ADD brings it.
  const call = (verb: "ADD" | "CHECK" | "DEL") => portmapCall(a, verb, { snat: true });
  assertEquals((await fail(sandbox, call("CHECK"))).code, 105);
  await succeed(sandbox, call("ADD"));
  await succeed(sandbox, call("CHECK"));
  assertEquals(
    await ask(sandbox, sandbox.host, { address: "127.0.0.1", port: 8080 }),
    from(gateway4),
  );
  await succeed(sandbox, call("DEL"));
  assertEquals((await fail(sandbox, call("CHECK"))).code, 105);
});

variantTest("masqAll hides every client", [], async (sandbox, variant) => {
  const outside = await sandbox.outside();
  const a = await attach(sandbox, variant, "a", {
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
    keys: { masqAll: true },
  });
  await serve(sandbox, a.netns, { transport: "tcp", port: 80 });
  await checkChain(sandbox, a.chain, a.result);
  assertEquals(await ask(sandbox, outside, { address: host4, port: 8080 }), from(gateway4));
  assertEquals(await ask(sandbox, outside, { address: host6, port: 8080 }), from(gateway6));
  assertEquals(
    await ask(sandbox, sandbox.host, { address: "127.0.0.1", port: 8080 }),
    from(gateway4),
  );
});

variantTest("ranges of ports keep their order, moved or not", [], async (sandbox, variant) => {
  const outside = await sandbox.outside();
  const a = await attach(sandbox, variant, "a", {
    mappings: [
      { hostPort: "30000-39999", containerPort: "30000-39999", protocol: "tcp" },
      { hostPort: "20000-20002", containerPort: 7000, protocol: "tcp" },
      { hostPort: "21000-21009", containerPort: 21000, protocol: "tcp", hostIP: host4 },
    ],
  });
  for (const port of [30000, 34567, 39999, 7000, 7001, 7002, 21005]) {
    await serve(sandbox, a.netns, { transport: "tcp", port });
  }
  await checkChain(sandbox, a.chain, a.result);
  const client = {
    call: (address: string, port: number) => ask(sandbox, outside, { address, port }),
  };
  for (const port of [30000, 34567, 39999, 20000, 20001, 20002, 21005]) {
    assertEquals(await client.call(host4, port), from(client4), `port ${port}`);
  }
  assertEquals(await client.call(host6, 34567), from(client6));
  assertEquals(await client.call(host6, 20001), from(client6));
  for (const port of [29999, 40000, 20003]) {
    assertEquals((await client.call(host4, port)).is, "refused", `port ${port}`);
  }
  assertEquals((await client.call(host6, 21005)).is, "refused");
  await delChain(sandbox, a.chain, a.result);
  assertEquals((await client.call(host4, 34567)).is, "refused");
});

variantTest("traffic to other hosts is left alone (CVE-2025-67499)", [], async (
  sandbox,
  variant,
) => {
  const outside = await sandbox.outside();
  await attach(sandbox, variant, "a", {
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  });
  const b = await attach(sandbox, variant, "b");
  // The container has no server: whoever is sent there is refused.
  await serve(sandbox, outside, { transport: "tcp", port: 8080 });
  assertEquals(await ask(sandbox, b.netns, { address: client4, port: 8080 }), from(host4));
  assertEquals(await ask(sandbox, b.netns, { address: client6, port: 8080 }), from(host6));
  assertEquals(await ask(sandbox, sandbox.host, { address: client4, port: 8080 }), from(host4));
  assertEquals((await ask(sandbox, outside, { address: host4, port: 8080 })).is, "refused");
});

variantTest("a service's rule for the same port wins (CVE-2019-9946)", [], async (
  sandbox,
  variant,
) => {
  const outside = await sandbox.outside();
  const b = await attach(sandbox, variant, "b");
  const service = variant.backend === "iptables"
    ? `iptables -w -t nat -A PREROUTING -d ${host4} -p tcp --dport 8080 -j DNAT --to-destination ${b.address4}:99`
    : `nft 'add table ip services
        add chain ip services dispatch { type nat hook prerouting priority dstnat; }
        add rule ip services dispatch ip daddr ${host4} tcp dport 8080 dnat to ${b.address4}:99'`;
  await sandbox.inside(sandbox.host, ["sh", "-ec", service]);
  const a = await attach(sandbox, variant, "a", {
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  });
  await serve(sandbox, a.netns, { transport: "tcp", port: 80 });
  // Nobody listens where the service leads: an answer would be the mapping's.
  assertEquals((await ask(sandbox, outside, { address: host4, port: 8080 })).is, "refused");
  assertEquals(await ask(sandbox, outside, { address: host6, port: 8080 }), from(client6));
});

variantTest("neighbours do not reach what listens on 127.0.0.1 (CVE-2020-8558)", [], async (
  sandbox,
  variant,
) => {
  await attach(sandbox, variant, "a", {
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  });
  const b = await attach(sandbox, variant, "b");
  await sandbox.agent(sandbox.host).listen("tcp", { port: 9999, address: "127.0.0.1" });
  await sandbox.inside(b.netns, [
    "sh",
    "-ec",
    `echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
     ip link set lo down
     ip route add 127.0.0.0/8 via ${gateway4} src ${b.address4}`,
  ]);
  const attack = () => ask(sandbox, b.netns, { address: "127.0.0.1", port: 9999, timeout: 700 });
  assertEquals((await attack()).is, "timeout");
  // Without the guard the attack works: the test would notice if it were not there.
  const open = variant.backend === "iptables"
    ? "iptables -w -t raw -F PREROUTING"
    : "nft flush chain inet denocni_hostport guard";
  await sandbox.inside(sandbox.host, ["sh", "-c", open]);
  assertEquals((await attack()).is, "answered");
});

variantTest("only flows to the mapped UDP ports are forgotten", ["tool:conntrack"], async (
  sandbox,
  variant,
) => {
  await sandbox.outside();
  const remember = () =>
    sandbox.inside(sandbox.host, [
      "sh",
      "-ec",
      [8053, 9053].map((port) =>
        `conntrack -I -p udp -s ${client4} -d ${host4} --sport 7000 --dport ${port} -t 600 2>&1`
      ).join("\n"),
    ]);
  const flows = async () =>
    (await sandbox.inside(sandbox.host, ["conntrack", "-L", "-p", "udp"]))
      .matchAll(/ dport=(\d053) /g).map(([, port]) => port).toArray().sort();
  const a = await attach(sandbox, variant, "a");
  const chain = await chainOf(sandbox, variant, {
    id: "a",
    mappings: [
      { hostPort: 8053, containerPort: 53, protocol: "udp" },
      { hostPort: 9053, containerPort: 53, protocol: "tcp" },
    ],
  });
  const mapped = { chain, result: a.result };
  await remember();
  assertEquals(await flows(), ["8053", "9053"]);
  await succeed(sandbox, portmapCall(mapped, "ADD"));
  assertEquals(await flows(), ["9053"]);
  await sandbox.inside(sandbox.host, ["conntrack", "-F"]);
  await remember();
  await succeed(sandbox, portmapCall(mapped, "DEL"));
  assertEquals(await flows(), ["9053"]);
});

variantTest("a port is for one container, and a dead one gives it up", [], async (
  sandbox,
  variant,
) => {
  const outside = await sandbox.outside();
  const mappings = [
    { hostPort: 8080, containerPort: 80, protocol: "tcp" },
    { hostPort: "9000-9010", containerPort: "9000-9010", protocol: "tcp" },
  ];
  const a = await attach(sandbox, variant, "a", { mappings });
  await serve(sandbox, a.netns, { transport: "tcp", port: 80 });
  const b = await attach(sandbox, variant, "b");
  const before = await snapshot(sandbox);
  const rivals: readonly Mapping[] = [
    mappings[0]!,
    { hostPort: 9005, containerPort: 80, protocol: "tcp" },
    { hostPort: "8000-9000", containerPort: "8000-9000", protocol: "tcp" },
  ];
  for (const rival of rivals) {
    const chain = await chainOf(sandbox, variant, { id: "b", mappings: [rival] });
    const error = await fail(sandbox, portmapCall({ chain, result: b.result }, "ADD"));
    assertEquals(error.code, 109);
    assertMatch(error.msg, /held by container "a" \(network "net1", interface "eth0"\)/);
    assertSame(before, await snapshot(sandbox));
  }
  // Another protocol, another port and the container itself are no rivals.
  const chain = await chainOf(sandbox, variant, {
    id: "b",
    mappings: [
      { hostPort: 8080, containerPort: 80, protocol: "udp" },
      { hostPort: 9011, containerPort: 80, protocol: "tcp" },
    ],
  });
  await succeed(sandbox, portmapCall({ chain, result: b.result }, "ADD"));
  await succeed(sandbox, portmapCall(a, "ADD"));
  assertEquals(await ask(sandbox, outside, { address: host4, port: 8080 }), from(client4));

  // The container goes without a DEL: its rules would come first.
  await sandbox.removeNetns("a");
  const heir = await chainOf(sandbox, variant, { id: "b", mappings: [rivals[0]!] });
  await succeed(sandbox, portmapCall({ chain: heir, result: b.result }, "ADD"));
  await serve(sandbox, b.netns, { transport: "tcp", port: 80 });
  assertEquals(await ask(sandbox, outside, { address: host4, port: 8080 }), from(client4));
  assertEquals((await ask(sandbox, outside, { address: host4, port: 9005 })).is, "refused");
  // A late DEL takes nothing from the heir.
  await succeed(sandbox, portmapCall(a, "DEL"));
  assertEquals(await ask(sandbox, outside, { address: host4, port: 8080 }), from(client4));
});

variantTest("what a killed ADD has left of its claims goes with DEL", [], async (
  sandbox,
  variant,
) => {
  const mappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
  const a = await attach(sandbox, variant, "a", { mappings });
  const self = { network: "net1", containerId: "a", ifName: "eth0" };
  const name = `.tmp-${await attachmentHash(self)}`;
  Deno.writeTextFileSync(`${claimDirs.ports}/${name}`, "net1\na");
  // The repetition of the ADD has its ports, and nothing else reads the file.
  await succeed(sandbox, portmapCall(a, "ADD"));
  assert(listNames(claimDirs.ports).includes(name));
  await succeed(sandbox, portmapCall(a, "DEL"));
  assertEquals(listNames(claimDirs.ports), []);
});

variantTest("a container with an address that was another's keeps what it has", [], async (
  sandbox,
  variant,
) => {
  const outside = await sandbox.outside();
  const a = await attach(sandbox, variant, "a", {
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  });
  const b = await attach(sandbox, variant, "b");
  // B takes over A's addresses before A's DEL has come.
  await sandbox.removeNetns("a");
  await sandbox.ip(b.netns, [
    `addr add ${a.address4}/24 dev eth0`,
    `addr add ${a.address6}/64 dev eth0 nodad`,
  ]);
  const chain = await chainOf(sandbox, variant, {
    id: "b",
    mappings: [{ hostPort: 8081, containerPort: 80, protocol: "tcp" }],
  });
  const ips = (a.result["ips"] as JsonObject[]).map(({ address }) => ({ address: address! }));
  const heir = { chain, result: { ...b.result, ips } };
  await serve(sandbox, b.netns, { transport: "tcp", port: 80 });
  await succeed(sandbox, portmapCall(heir, "ADD"));
  await succeed(sandbox, portmapCall(a, "DEL"));
  await succeed(sandbox, portmapCall(heir, "CHECK"));
  assertEquals(await ask(sandbox, outside, { address: host4, port: 8081 }), from(client4));
  assertEquals(
    await ask(sandbox, sandbox.host, { address: "127.0.0.1", port: 8081 }),
    from(gateway4),
  );
  assertEquals((await ask(sandbox, outside, { address: host4, port: 8080 })).is, "refused");
});

variantTest("a container on two networks keeps its port until both are gone", [], async (
  sandbox,
  variant,
) => {
  const outside = await sandbox.outside();
  const mappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
  const first = await attach(sandbox, variant, "a", { mappings });
  const chain = { ...first.chain, name: "net2" };
  const second = { chain, result: first.result };
  await serve(sandbox, first.netns, { transport: "tcp", port: 80 });
  await succeed(sandbox, portmapCall(second, "ADD"));
  await succeed(sandbox, portmapCall(second, "CHECK"));
  assertEquals(await ask(sandbox, outside, { address: host4, port: 8080 }), from(client4));
  await succeed(sandbox, portmapCall(second, "DEL"));
  assertEquals(await ask(sandbox, outside, { address: host4, port: 8080 }), from(client4));
  await succeed(sandbox, portmapCall(first, "DEL"));
  assertEquals((await ask(sandbox, outside, { address: host4, port: 8080 })).is, "refused");
});

variantTest("an address of the host wins over any address, whoever comes first", [], async (
  sandbox,
  variant,
) => {
  const outside = await sandbox.outside();
  const a = await attach(sandbox, variant, "a", {
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  });
  const b = await attach(sandbox, variant, "b", {
    mappings: [{ hostPort: 8080, containerPort: 81, protocol: "tcp", hostIP: host4 }],
  });
  await serve(sandbox, a.netns, { transport: "tcp", port: 80 });
  await sandbox.ip(sandbox.host, ["addr add 203.0.113.7/24 dev out0"]);
  assertEquals((await ask(sandbox, outside, { address: host4, port: 8080 })).is, "refused");
  assertEquals(await ask(sandbox, outside, { address: "203.0.113.7", port: 8080 }), from(client4));
  await serve(sandbox, b.netns, { transport: "tcp", port: 81 });
  assertEquals(await ask(sandbox, outside, { address: host4, port: 8080 }), from(client4));
});

variantTest("conditions are for their container alone", [], async (sandbox, variant) => {
  const outside = await sandbox.outside();
  await sandbox.ip(outside, ["addr add 203.0.113.66/24 dev eth0"]);
  const conditionsV4 = variant.backend === "iptables"
    ? ["!", "-s", "203.0.113.66"]
    : ["ip", "saddr", "!=", "203.0.113.66"];
  const a = await attach(sandbox, variant, "a", {
    mappings: [
      { hostPort: 8080, containerPort: 80, protocol: "tcp" },
      { hostPort: "9000-9001", containerPort: 90, protocol: "tcp" },
      { hostPort: "9100-9110", containerPort: "9100-9110", protocol: "tcp", hostIP: host4 },
    ],
    keys: { conditionsV4 },
  });
  const b = await attach(sandbox, variant, "b", {
    mappings: [{ hostPort: 8081, containerPort: 80, protocol: "tcp" }],
  });
  await checkChain(sandbox, a.chain, a.result);
  for (const port of [80, 91, 9105]) await serve(sandbox, a.netns, { transport: "tcp", port });
  await serve(sandbox, b.netns, { transport: "tcp", port: 80 });
  const client = {
    call: (address: string, port: number) => ask(sandbox, outside, { address, port }),
  };
  for (const port of [8080, 9001, 9105]) {
    assertEquals(await client.call(host4, port), from(client4), `port ${port}`);
  }
  assertEquals(await client.call(host6, 8080), from(client6));
  await sandbox.ip(outside, [`route add ${host4}/32 dev eth0 src 203.0.113.66`]);
  assertEquals((await client.call(host4, 8080)).is, "refused");
  assertEquals((await client.call(host4, 9001)).is, "refused");
  assertEquals(await client.call(host4, 8081), from("203.0.113.66"));
  // Repeated ADD and DEL of one with conditions.
  await succeed(sandbox, portmapCall(a, "ADD"));
  await succeed(sandbox, portmapCall(a, "CHECK"));
  await succeed(sandbox, portmapCall(a, "DEL"));
  await sandbox.ip(outside, [`route del ${host4}/32 dev eth0`]);
  assertEquals((await client.call(host4, 8080)).is, "refused");
  assertEquals(await client.call(host4, 8081), from(client4));
});

variantTest("containers that come at once share what is made once", [], async (
  sandbox,
  variant,
) => {
  const ids = Array.from({ length: 8 }, (_, index) => `c${index}`);
  const base = await Promise.all(ids.map((id) => attach(sandbox, variant, id)));
  const before = await snapshot(sandbox);
  const all = await Promise.all(base.map(async ({ result }, index) => ({
    result,
    chain: await chainOf(sandbox, variant, {
      id: ids[index]!,
      mappings: [
        { hostPort: 8000 + index, containerPort: 80, protocol: "tcp" },
        { hostPort: 7000, containerPort: 80, protocol: "tcp" },
      ],
    }),
  })));
  // One port is wanted by all: one gets it, and the others leave nothing.
  const outcomes = await Promise.all(
    all.map((one) => callPlugin(sandbox, portmapCall(one, "ADD"))),
  );
  const won = outcomes.filter(({ code }) => code === 0).length;
  assertEquals(won, 1);
  const single = all.map(({ chain, result }, index) => ({
    result,
    chain: {
      ...chain,
      capabilityArgs: {
        portMappings: [{ hostPort: 8000 + index, containerPort: 80, protocol: "tcp" }],
      },
    },
  }));
  const loser = outcomes.findIndex(({ code }) => code !== 0);
  assertEquals(outcomes[loser]!.json!["code"], 109);
  await Promise.all(single.map((one) => succeed(sandbox, portmapCall(one, "ADD"))));
  await Promise.all(single.map((one) => succeed(sandbox, portmapCall(one, "CHECK"))));
  for (const program of variant.backend === "iptables" ? ["iptables", "ip6tables"] : []) {
    const saved = await sandbox.inside(sandbox.host, [`${program}-save`, "-t", "nat"]);
    const rules = saved.split("\n").filter((line) => line.startsWith("-A"));
    assertEquals(rules.length, new Set(rules).size, "a rule is there twice");
    assertEquals(rules.filter((line) => line.includes("--dst-type LOCAL")).length, 2);
  }
  await Promise.all(all.map((one) => succeed(sandbox, portmapCall(one, "DEL"))));
  assertSame(before, await snapshot(sandbox), {
    allow: ["routeLocalnet", "portClaims", ...variant.residue],
  });
});

variantTest("ADD starts one program for each family, one with nftables", [], async (
  sandbox,
  variant,
) => {
  if (variant.name === "iptables-legacy") return await budget(sandbox, variant, undefined);
  await using faults = await Faults.install();
  await budget(sandbox, variant, faults);
});

async function budget(sandbox: Sandbox, variant: Variant, faults: Faults | undefined) {
  const first = await attach(sandbox, variant, "a", {
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  });
  const b = await attach(sandbox, variant, "b");
  const started = () => {
    const programs = (faults?.log ?? "").split("\n").filter(Boolean)
      .map((line) => line.split(" ")[0]!.split("/").at(-1)!);
    faults?.arm(0);
    return programs.filter((program) => !["ip", "sh"].includes(program));
  };
  const run = async (mappings: readonly Mapping[], verb: "ADD" | "DEL") => {
    const chain = await chainOf(sandbox, variant, { id: "b", mappings });
    started();
    await succeed(sandbox, portmapCall({ chain, result: b.result }, verb));
    return started();
  };
  const tcp = [{ hostPort: 8081, containerPort: 80, protocol: "tcp" }];
  const udp = [{ hostPort: 8053, containerPort: 53, protocol: "udp" }];
  const transaction = variant.backend === "iptables"
    ? ["iptables-restore", "ip6tables-restore"]
    : ["nft"];
  const added = await run(tcp, "ADD");
  const removed = await run(tcp, "DEL");
  const addedUdp = await run(udp, "ADD");
  await run(udp, "DEL");
  const nothing = [...await run([], "ADD"), ...await run([], "DEL")];
  await succeed(sandbox, portmapCall(first, "CHECK"));
  if (!faults) return;
  assertEquals(added, transaction);
  // Two families are two looks; nothing is there to forget.
  assertEquals(addedUdp, [...transaction, "conntrack", "conntrack"]);
  assertEquals(nothing, []);
  assertEquals(
    removed.toSorted(),
    variant.backend === "iptables"
      ? ["ip6tables-restore", "ip6tables-save", "iptables-restore", "iptables-save", "nft"]
      : ["ip6tables-save", "iptables-save", "nft", "nft", "nft"],
  );
}

kernelTest("GC of one network keeps the other's, in both back ends", {
  needs: [...common, "iptables-nat", "nft-nat"],
}, async (sandbox) => {
  const [iptables, , nftables] = variants as [Variant, Variant, Variant];
  const mapped = (id: string, port: number) => ({
    id,
    mappings: [{ hostPort: port, containerPort: 80, protocol: "tcp" }],
  });
  const one = await attach(sandbox, iptables, "a", mapped("a", 8001));
  const two = await attach(sandbox, nftables, "b", mapped("b", 8002));
  const three = await attach(sandbox, nftables, "c", { ...mapped("c", 8003), network: "net2" });
  const four = await attach(sandbox, iptables, "d", { ...mapped("d", 8004), network: "net2" });
  const collect = (valid: readonly JsonObject[]) =>
    succeed(sandbox, {
      ...portmapCall(one, "GC", { "cni.dev/valid-attachments": [...valid] }),
      containerId: "",
      ifname: "",
      netns: "",
    });
  const present = async () => {
    const codes = [];
    for (const attached of [one, two, three, four]) {
      codes.push((await callPlugin(sandbox, portmapCall(attached, "CHECK"))).code);
    }
    return codes;
  };
  const key = (containerID: string) => ({ containerID, ifname: "eth0" });
  await collect([key("a"), key("b")]);
  assertEquals(await present(), [0, 0, 0, 0]);
  await collect([key("b")]);
  assertEquals(await present(), [1, 0, 0, 0]);
  await collect([]);
  assertEquals(await present(), [1, 1, 0, 0]);
  const claims = [...Deno.readDirSync("/run/cni/denocni/ports")].map(({ name }) => name).sort();
  assertEquals(
    claims,
    [8003, 8004].flatMap((port) => [4, 6].map((family) => `${family}-tcp-${port}-${port}-any`))
      .sort(),
  );
});

kernelTest("DEL removes what the reference's nftables back end has made", {
  needs: [...common, "nft-nat"],
}, async (sandbox) => {
  const nftables = variants[2]!;
  const a = await attach(sandbox, nftables, "a");
  const rule = (family: string, chain: string, text: string) =>
    `add rule ${family} cni_hostport ${chain} ${text}`;
  const before = await sandbox.inside(sandbox.host, ["nft", "list", "ruleset"]);
  await sandbox.inside(sandbox.host, ["nft", "-f", "-"], {
    stdin: ["ip", "ip6"].flatMap((family) => [
      `add table ${family} cni_hostport`,
      `add chain ${family} cni_hostport hostports`,
      `add chain ${family} cni_hostport masquerading`,
      rule(family, "hostports", `tcp dport 8080 counter comment "a"`),
      rule(family, "hostports", `tcp dport 8081 counter comment "b"`),
      rule(family, "masquerading", `tcp dport 8080 masquerade comment "a"`),
      rule(family, "masquerading", `tcp dport 8080 masquerade comment "a"`),
    ]).join("\n") + "\n",
  });
  const localnet = `echo 1 >/proc/sys/net/ipv4/conf/${bridgeName}/route_localnet`;
  await sandbox.inside(sandbox.host, ["sh", "-c", localnet]);
  const chain = await chainOf(sandbox, nftables, {
    id: "a",
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  });
  const mapped = { chain, result: a.result };
  // By the reference's own measure its rules are complete.
  await succeed(sandbox, portmapCall(mapped, "CHECK"));
  await succeed(sandbox, portmapCall(mapped, "DEL"));
  const after = await sandbox.inside(sandbox.host, ["nft", "list", "ruleset"]);
  assertEquals(after.match(/comment "a"/g), null);
  assertEquals(after.match(/tcp dport 8081 .* comment "b"/g)?.length, 2);
  assertStringIncludes(after, before.trim().split("\n")[0]!);
  assertEquals((await fail(sandbox, portmapCall(mapped, "CHECK"))).code, 105);
});

kernelTest("without iptables nftables takes over; a back end that is named does not give way", {
  needs: [...common, "nft-nat"],
}, async (sandbox) => {
  const nftables = variants[2]!;
  const a = await attach(sandbox, nftables, "a");
  const chain = await chainOf(sandbox, nftables, {
    id: "a",
    mappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  });
  const mapped = { chain, result: a.result };
  const call = (verb: "ADD" | "CHECK" | "DEL", backend: string | null) =>
    portmapCall(mapped, verb, { backend });
  await using _broken = await breakIptables();
  await succeed(sandbox, call("ADD", null));
  await serve(sandbox, a.netns, { transport: "tcp", port: 80 });
  assertEquals(
    (await ask(sandbox, sandbox.host, { address: "127.0.0.1", port: 8080 })).is,
    "answered",
  );
  await succeed(sandbox, call("CHECK", null));
  await succeed(sandbox, call("DEL", null));
  const error = await fail(sandbox, call("ADD", "iptables"));
  assertEquals(error.code, 106);
});

/** iptables of a kernel that has none. */
async function breakIptables(): Promise<AsyncDisposable> {
  const programs = await useLegacyIptables();
  for (const family of ["iptables", "ip6tables"]) {
    for (const end of ["save", "restore"]) {
      const path = `/usr/local/sbin/${family}-${end}`;
      Deno.removeSync(path);
      Deno.writeTextFileSync(
        path,
        `#!/bin/sh
cat >/dev/null
echo '${family}-${end} v1.8.9 (nf_tables): Could not fetch rule set generation id: Invalid argument' >&2
exit 4
`,
        { mode: 0o755 },
      );
    }
  }
  return programs;
}
