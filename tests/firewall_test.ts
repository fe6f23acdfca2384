/**
 * firewall on a real kernel, proved by packets: on hosts that drop what is
 * forwarded, with each back end, and between bridges with and without policies.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Chain } from "./harness/chain.ts";
import { addChain, chainCall } from "./harness/chain.ts";
import { Firewalld } from "./harness/firewalld.ts";
import { useLegacyIptables } from "./harness/legacy.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, fail, pluginEnv, pluginStdin, succeed } from "./harness/plugin.ts";
import type { InProcessReply } from "./harness/in_process.ts";
import { Child, must } from "./harness/process.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const { host4, client4, client6 } = outsideNet;

/** Bits of the mark in these tests. */
const mark = 0x100000;
const forward = { family: "inet", table: "filter", chain: "forward" } as const;

/** A way to let packets pass, and a host that drops them without it. */
interface Variant {
  readonly name: string;
  readonly needs: readonly Need[];
  readonly keys: JsonObject;
  /** What masquerades beside it. */
  readonly masquerade: "iptables" | "nftables";
  /** Makes the host drop what is forwarded. */
  readonly close: (sandbox: Sandbox) => Promise<unknown>;
  readonly enter?: () => Promise<AsyncDisposable>;
}

const sh = (sandbox: Sandbox, script: string) =>
  sandbox.inside(sandbox.host, ["sh", "-ec", script]);

const dropByIptables = (sandbox: Sandbox) =>
  sh(sandbox, "iptables -w -P FORWARD DROP; ip6tables -w -P FORWARD DROP");

const dropByNft = (sandbox: Sandbox, rule = "") =>
  sh(
    sandbox,
    `nft -f - <<'END'
add table inet filter
add chain inet filter forward { type filter hook forward priority 0; policy drop; }
${rule && `add rule inet filter forward ${rule}`}
END`,
  );

const variants: readonly Variant[] = [
  {
    name: "iptables",
    needs: ["iptables-nat"],
    keys: { backend: "iptables" },
    masquerade: "iptables",
    close: dropByIptables,
  },
  {
    name: "iptables-legacy",
    needs: ["iptables-nat", "tool:iptables-legacy"],
    keys: { backend: "iptables" },
    masquerade: "iptables",
    close: dropByIptables,
    enter: useLegacyIptables,
  },
  {
    name: "nftables with a mark",
    needs: ["nft-nat"],
    keys: { backend: "nftables", mark },
    masquerade: "nftables",
    close: (sandbox) => dropByNft(sandbox, `meta mark and ${mark} == ${mark} accept`),
  },
  {
    name: "nftables with a jump",
    needs: ["nft-nat"],
    keys: { backend: "nftables", insertInto: forward },
    masquerade: "nftables",
    close: (sandbox) => dropByNft(sandbox),
  },
  {
    name: "firewalld",
    needs: ["nft-nat", "tool:firewalld", "tool:dbus-daemon", "tool:busctl"],
    keys: { backend: "firewalld" },
    masquerade: "nftables",
    // Its default zone rejects what is forwarded.
    close: async (sandbox) => sandbox.keep(await Firewalld.start(sandbox)),
  },
];

const common: readonly Need[] = [
  "link:bridge",
  "link:veth",
  "plugin:bridge",
  "plugin:host-local",
  "plugin:firewall",
];

/** What a container is attached with. */
interface Attach {
  readonly bridge?: string;
  /** Numbers the subnets. */
  readonly subnet?: number;
  readonly masquerade?: "iptables" | "nftables";
  readonly firewall?: JsonObject;
}

/** A container on a bridge, and its firewall plugin, which has not been called yet. */
interface Attached {
  readonly netns: string;
  readonly address4: string;
  readonly address6: string;
  call(verb: "ADD" | "CHECK" | "DEL" | "GC" | "STATUS", keys?: JsonObject): PluginCall;
}

async function attach(sandbox: Sandbox, id: string, options: Attach = {}): Promise<Attached> {
  const { bridge = "br0", subnet = 1, masquerade, firewall = {} } = options;
  const chain: Chain = {
    name: `net-${bridge}`,
    cniVersion: "1.1.0",
    netns: await sandbox.container(id),
    containerId: id,
    plugins: [{
      type: "bridge",
      bridge,
      isDefaultGateway: true,
      ...(masquerade && { ipMasq: true, ipMasqBackend: masquerade }),
      ipam: hostLocal(sandbox, `10.1.${subnet}.0/24`, `2001:db8:${subnet}::/64`),
    }],
  };
  const prevResult = await addChain(sandbox, chain);
  const [address4 = "", address6 = ""] = addressesOf(prevResult).map((cidr) => cidr.split("/")[0]!);
  return {
    netns: chain.netns,
    address4,
    address6,
    call(verb, keys = {}) {
      const plugin = { type: "firewall", ...firewall, ...keys };
      const call = chainCall(chain, verb, {
        plugin,
        prevResult: verb === "GC" || verb === "STATUS" ? undefined : prevResult,
      });
      return verb === "GC" || verb === "STATUS"
        ? { ...call, containerId: "", ifname: "", netns: "" }
        : call;
    },
  };
}

/** A server for both families. */
async function serve(sandbox: Sandbox, netns: string, port = 80): Promise<void> {
  await sandbox.agent(netns).listen("tcp", { port, address: "::" });
}

/** Whether a call is answered. What shall be let through has time; what shall not, little. */
async function reaches(
  sandbox: Sandbox,
  netns: string,
  { address, expected, port = 80 }: {
    readonly address: string;
    readonly expected: boolean;
    readonly port?: number;
  },
): Promise<void> {
  const timeout = expected ? 8000 : 400;
  const { is } = await sandbox.agent(netns).call(address, port, { timeout });
  assertEquals(is === "answered", expected, `from ${netns} to ${address}: ${is}`);
}

for (const variant of variants) {
  const needs = [...common, ...variant.needs];
  const { keys: firewall, masquerade } = variant;

  kernelTest(`${variant.name}: a host that drops lets the container out`, { needs }, async (
    sandbox,
  ) => {
    await using _ = await variant.enter?.();
    const outside = await sandbox.outside();
    await serve(sandbox, outside);
    const other = await attach(sandbox, "other", { masquerade });
    const a = await attach(sandbox, "a", { masquerade, firewall });
    for (const address of [client4, client6]) {
      await reaches(sandbox, a.netns, { address, expected: true });
    }
    await variant.close(sandbox);
    const out = async ({ netns }: Attached, expected: boolean) => {
      for (const address of [client4, client6]) {
        await reaches(sandbox, netns, { address, expected });
      }
    };
    await out(a, false);
    await succeed(sandbox, a.call("ADD"));
    await out(a, true);
    await succeed(sandbox, a.call("CHECK"));
    await out(other, false);
    await succeed(sandbox, a.call("ADD"));
    await succeed(sandbox, a.call("DEL"));
    await out(a, false);
    assertEquals((await fail(sandbox, a.call("CHECK"))).code, 105);
  });

  kernelTest(`${variant.name}: DEL and CHECK after everything was flushed`, { needs }, async (
    sandbox,
  ) => {
    await using _ = await variant.enter?.();
    await variant.close(sandbox);
    const a = await attach(sandbox, "a", { firewall });
    await succeed(sandbox, a.call("ADD"));
    await sh(
      sandbox,
      `iptables -w -F; iptables -w -X; ip6tables -w -F; ip6tables -w -X; nft flush ruleset`,
    );
    if (variant.name !== "firewalld") {
      assertEquals((await fail(sandbox, a.call("CHECK"))).code, 105);
    }
    await succeed(sandbox, a.call("DEL"));
    await succeed(sandbox, a.call("DEL"));
  });

  kernelTest(`${variant.name}: a late DEL takes nothing from the address's next owner`, {
    needs,
  }, async (sandbox) => {
    await using _ = await variant.enter?.();
    await variant.close(sandbox);
    const a = await attach(sandbox, "a", { firewall });
    const next = { ...a.call("ADD"), containerId: "next" };
    await succeed(sandbox, a.call("ADD"));
    await succeed(sandbox, next);
    await succeed(sandbox, a.call("DEL"));
    await succeed(sandbox, { ...next, verb: "CHECK" });
    const before = await snapshot(sandbox);
    await succeed(sandbox, a.call("DEL"));
    assertSame(before, await snapshot(sandbox));
    await succeed(sandbox, { ...next, verb: "DEL" });
    assertEquals((await fail(sandbox, { ...next, verb: "CHECK" })).code, 105);
  });
}

for (const name of ["nftables with a mark", "nftables with a jump"]) {
  const variant = variants.find((variant) => variant.name === name)!;
  kernelTest(`${name}: a host that drops lets callers of mapped ports in`, {
    needs: [...common, "plugin:portmap", ...variant.needs],
  }, async (sandbox) => {
    const outside = await sandbox.outside();
    await variant.close(sandbox);
    const a = await attach(sandbox, "a", { firewall: variant.keys });
    await serve(sandbox, a.netns);
    const portmap = {
      ...a.call("ADD", {
        backend: "nftables",
        runtimeConfig: {
          portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
        },
      }),
      type: "portmap",
    };
    const { mark: _, insertInto: __, ...config } = portmap.config as JsonObject;
    await succeed(sandbox, { ...portmap, config });
    await reaches(sandbox, outside, { address: host4, port: 8080, expected: false });
    await succeed(sandbox, a.call("ADD"));
    await reaches(sandbox, outside, { address: host4, port: 8080, expected: true });
  });
}

for (
  const [backend, needs, rule] of [
    ["iptables", ["iptables-nat"], `iptables -w -A CNI-ADMIN -d ${client4} -j DROP`],
    ["nftables", ["nft-nat"], `nft add rule inet denocni_firewall admin ip daddr ${client4} drop`],
  ] as const
) {
  kernelTest(`${backend}: the administrator's rules come first and stay`, {
    needs: [...common, ...needs],
  }, async (sandbox) => {
    const outside = await sandbox.outside();
    await serve(sandbox, outside);
    const options = { masquerade: backend, firewall: { backend } };
    const a = await attach(sandbox, "a", options);
    await succeed(sandbox, a.call("ADD"));
    await reaches(sandbox, a.netns, { address: client4, expected: true });
    await sh(sandbox, rule);
    const b = await attach(sandbox, "b", options);
    await succeed(sandbox, b.call("ADD"));
    await succeed(sandbox, a.call("DEL"));
    await reaches(sandbox, b.netns, { address: client6, expected: true });
    await reaches(sandbox, b.netns, { address: client4, expected: false });
  });
}

/** Who reaches whom by policy: on one bridge, and on two. */
const policies = [
  ["open", true, true],
  ["same-bridge", true, false],
  ["isolated", false, false],
] as const;

for (const backend of ["iptables", "nftables", "firewalld"] as const) {
  const needs = variants.find(({ keys }) => keys.backend === backend)!.needs;
  for (const [ingressPolicy, within, across] of policies) {
    kernelTest(`${backend}: ingressPolicy ${ingressPolicy}`, {
      needs: [...common, ...needs],
    }, async (sandbox) => {
      if (backend === "firewalld") sandbox.keep(await Firewalld.start(sandbox));
      const outside = await sandbox.outside();
      await serve(sandbox, outside);
      const masquerade = backend === "iptables" ? "iptables" : "nftables";
      const firewall = { backend, ingressPolicy };
      const make = async (id: string, bridge: string, subnet: number) => {
        const made = await attach(sandbox, id, { bridge, subnet, masquerade, firewall });
        await serve(sandbox, made.netns);
        return made;
      };
      const [a, b] = [await make("a", "foo", 3), await make("b", "foo", 3)];
      const c = await make("c", "bar", 4);
      const all = [[a, b, within], [b, a, within], [a, c, across], [c, a, across]] as const;
      for (const each of [a, b, c]) await succeed(sandbox, each.call("ADD"));
      // Frames of one bridge come to inet and iptables only with br_netfilter; nftables needs none.
      for (const filtered of backend === "iptables" ? ["1"] : ["1", "0"]) {
        if (filtered === "0" && backend === "firewalld") continue;
        await sh(
          sandbox,
          `cd /proc/sys/net/bridge 2>/dev/null || exit 0
           echo ${filtered} >bridge-nf-call-iptables; echo ${filtered} >bridge-nf-call-ip6tables`,
        );
        for (const [source, target, expected] of all) {
          for (const address of [target.address4, target.address6]) {
            await reaches(sandbox, source.netns, { address, expected });
          }
        }
      }
      for (const each of [a, b, c]) {
        await succeed(sandbox, each.call("CHECK"));
        await reaches(sandbox, each.netns, { address: client4, expected: true });
      }
      // The bridge keeps its policy when one of its containers goes.
      await succeed(sandbox, b.call("DEL"));
      await succeed(sandbox, a.call("CHECK"));
      await reaches(sandbox, a.netns, { address: c.address4, expected: across });
    });
  }
}

const ips = ["10.0.0.2/24", "2001:db8:1:2::1/64"];

/** A call for a container that need not be there. */
function bare(sandbox: Sandbox, verb: "ADD" | "CHECK" | "DEL", keys: JsonObject = {}): PluginCall {
  const { cniVersion = "1.0.0", ips: given = ips, ...rest } = keys;
  return {
    type: "firewall",
    verb,
    containerId: "dummy",
    netns: sandbox.host.replace(/host$/, "none"),
    config: {
      cniVersion,
      name: "test",
      type: "firewall",
      backend: "iptables",
      prevResult: {
        cniVersion,
        interfaces: [{ name: "br0" }],
        ips: (given as string[]).map((address) => ({
          ...(String(cniVersion) < "1.0.0" && { version: address.includes(":") ? "6" : "4" }),
          address,
        })),
      },
      ...rest,
    },
  };
}

/** Rules and chains of table filter in a family, without its own chains. */
async function filterOf(sandbox: Sandbox, family: 4 | 6): Promise<string[]> {
  const tool = family === 4 ? "iptables" : "ip6tables";
  const text = await sandbox.inside(sandbox.host, [tool, "-w", "-S"]);
  return text.trim().split("\n").filter((line) => !line.startsWith("-P "));
}

const scaffold = (admin: string) => [
  ...["CNI-FORWARD", admin].sort().map((chain) => `-N ${chain}`),
  '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
  `-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j ${admin}`,
];

const own = (address: string) => [
  `-A CNI-FORWARD -d ${address} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
  `-A CNI-FORWARD -s ${address} -j ACCEPT`,
];

const filterNeeds: readonly Need[] = ["tool:iptables", "plugin:firewall"];

for (const cniVersion of ["0.3.0", "0.3.1", "0.4.0", "1.0.0"]) {
  kernelTest(`iptables: the reference's chains and rules, version ${cniVersion}`, {
    needs: filterNeeds,
  }, async (sandbox) => {
    const add = bare(sandbox, "ADD", { cniVersion });
    const result = await succeed(sandbox, add);
    assertEquals(addressesOf(result), ips);
    const expected = [
      [...scaffold("CNI-ADMIN"), ...own("10.0.0.2/32")],
      [...scaffold("CNI-ADMIN"), ...own("2001:db8:1:2::1/128")],
    ];
    const seen = async () => [await filterOf(sandbox, 4), await filterOf(sandbox, 6)];
    assertEquals(await seen(), expected);
    await succeed(sandbox, add);
    assertEquals(await seen(), expected);
    if (cniVersion >= "0.4.0") await succeed(sandbox, bare(sandbox, "CHECK", { cniVersion }));
    await succeed(sandbox, bare(sandbox, "DEL", { cniVersion }));
    assertEquals(await seen(), [scaffold("CNI-ADMIN"), scaffold("CNI-ADMIN")]);
  });
}

kernelTest("iptables: iptablesAdminChainName names the administrator's chain", {
  needs: filterNeeds,
}, async (sandbox) => {
  await succeed(sandbox, bare(sandbox, "ADD", { iptablesAdminChainName: "CNI-foobar" }));
  for (const [family, address] of [[4, "10.0.0.2/32"], [6, "2001:db8:1:2::1/128"]] as const) {
    const expected = [...scaffold("CNI-foobar"), ...own(address)];
    assertEquals(await filterOf(sandbox, family), expected);
  }
});

kernelTest("iptables: a wrong policy or bridge is refused before any change", {
  needs: filterNeeds,
}, async (sandbox) => {
  const before = await snapshot(sandbox);
  const without = bare(sandbox, "ADD", { ingressPolicy: "isolated" });
  const config = without.config as JsonObject;
  const prevResult = { ...config.prevResult as JsonObject, interfaces: [] };
  const calls = [
    bare(sandbox, "ADD", { ingressPolicy: "closed" }),
    bare(sandbox, "ADD", { backend: "iptable" }),
    { ...without, config: { ...config, prevResult } },
  ];
  for (const call of calls) assertEquals((await fail(sandbox, call)).code, 7);
  assertSame(before, await snapshot(sandbox));
});

/** Hides programs, which are links here, for the time of a test. */
async function hide(...names: string[]): Promise<AsyncDisposable> {
  const [dir, copy] = ["/etc/alternatives", "/run/denocni-alternatives"];
  await must(["cp", "-a", dir, copy]);
  for (const name of names) Deno.removeSync(`${copy}/${name}`);
  await must(["mount", "--bind", copy, dir]);
  return {
    async [Symbol.asyncDispose]() {
      await must(["umount", dir]);
      Deno.removeSync(copy, { recursive: true });
    },
  };
}

kernelTest("iptables: ip6tables may be missing while no address needs it", {
  needs: filterNeeds,
}, async (sandbox) => {
  await using _ = await hide("ip6tables-restore");
  const four = { ips: ["10.0.0.2/24"] };
  for (const verb of ["ADD", "CHECK", "DEL"] as const) {
    await succeed(sandbox, bare(sandbox, verb, four));
  }
  const { code, msg } = await fail(sandbox, bare(sandbox, "ADD"));
  assertEquals(code, 101);
  assertStringIncludes(msg, "ip6tables-restore");
  assertEquals(await filterOf(sandbox, 4), scaffold("CNI-ADMIN"));
});

kernelTest("the back end is firewalld where it runs, else iptables, else nftables", {
  needs: [...filterNeeds, "tool:nft", "tool:firewalld", "tool:dbus-daemon", "tool:busctl"],
}, async (sandbox) => {
  const tables = async () => (await sh(sandbox, "nft list tables")).trim().split("\n");
  const auto = (verb: "ADD" | "CHECK" | "DEL") =>
    bare(sandbox, verb, { backend: "", ips: ["10.0.0.2/24"] });
  await succeed(sandbox, auto("ADD"));
  assertEquals(await filterOf(sandbox, 4), [...scaffold("CNI-ADMIN"), ...own("10.0.0.2/32")]);
  {
    await using firewalld = await Firewalld.start(sandbox);
    assertEquals(await firewalld.sources("trusted"), []);
    const other = { ...auto("ADD"), containerId: "other" };
    await succeed(sandbox, other);
    assertEquals(await firewalld.sources("trusted"), ["10.0.0.2/32"]);
    await succeed(sandbox, { ...other, verb: "CHECK" });
    await succeed(sandbox, auto("DEL"));
    assertEquals(await firewalld.sources("trusted"), ["10.0.0.2/32"]);
    await succeed(sandbox, { ...other, verb: "DEL" });
    assertEquals(await firewalld.sources("trusted"), []);
  }
  await sh(sandbox, "nft flush ruleset");
  await using _ = await hide("iptables-restore");
  for (const verb of ["ADD", "CHECK"] as const) await succeed(sandbox, auto(verb));
  assert((await tables()).includes("table inet denocni_firewall"));
  await succeed(sandbox, auto("DEL"));
});

kernelTest("firewalld: zones, sources of others, CHECK and STATUS", {
  needs: ["plugin:firewall", "tool:firewalld", "tool:dbus-daemon", "tool:busctl"],
}, async (sandbox) => {
  const keys = { backend: "firewalld", firewalldZone: "internal", ips: ["10.0.0.2/24"] };
  const call = (verb: "ADD" | "CHECK" | "DEL", more: JsonObject = {}) =>
    bare(sandbox, verb, { ...keys, ...more });
  const status = {
    ...call("ADD", { cniVersion: "1.1.0" }),
    verb: "STATUS",
    containerId: "",
    ifname: "",
    netns: "",
  };
  assertEquals((await fail(sandbox, status)).code, 50);
  assertEquals((await fail(sandbox, call("ADD"))).code, 103);
  await succeed(sandbox, call("DEL"));
  await using firewalld = await Firewalld.start(sandbox);
  await succeed(sandbox, status);
  await succeed(sandbox, call("ADD"));
  assertEquals(await firewalld.sources("internal"), ["10.0.0.2/32"]);
  await succeed(sandbox, call("ADD"));
  await succeed(sandbox, call("CHECK"));
  // A source of another zone is not taken away from it.
  const { code, msg } = await fail(sandbox, {
    ...call("ADD", { firewalldZone: "trusted" }),
    containerId: "other",
  });
  assertEquals(code, 100);
  assertStringIncludes(msg, "ZONE_CONFLICT");
  assertEquals((await fail(sandbox, call("ADD", { firewalldZone: "none" }))).code, 103);
  await firewalld.reload();
  assertEquals(await firewalld.sources("internal"), []);
  assertEquals((await fail(sandbox, call("CHECK"))).code, 105);
  await succeed(sandbox, call("DEL"));
});

for (const ingressPolicy of ["isolated", "same-bridge"]) {
  kernelTest(`firewalld without iptables: ${ingressPolicy} leaves nothing`, {
    needs: [...common, "tool:nft", "tool:firewalld", "tool:dbus-daemon", "tool:busctl"],
  }, async (sandbox) => {
    await using _firewalld = await Firewalld.start(sandbox);
    await using _hidden = await hide("iptables-restore", "ip6tables-restore");
    const keys = { backend: "firewalld", ingressPolicy };
    const a = await attach(sandbox, "a", { firewall: keys, masquerade: "nftables" });
    await succeed(sandbox, a.call("ADD"));
    await succeed(sandbox, a.call("CHECK"));
    const ports = async () =>
      (await sh(sandbox, "nft list ruleset | grep -o 'veth[0-9a-f]*' || true")).split("\n");
    assertEquals((await ports())[0] !== "", ingressPolicy === "isolated");
    assertStringIncludes(await sh(sandbox, "nft list ruleset"), '"br0"');
    await succeed(sandbox, a.call("DEL"));
    assertEquals(await ports(), [""]);
  });
}

kernelTest("nftables: a place that does not exist is an error that changes nothing", {
  needs: ["tool:nft", "plugin:firewall"],
}, async (sandbox) => {
  const before = await snapshot(sandbox);
  const keys = { backend: "nftables", insertInto: forward, cniVersion: "1.1.0" };
  const add = bare(sandbox, "ADD", keys);
  const status = { ...add, verb: "STATUS", containerId: "", ifname: "", netns: "" };
  for (const prepare of ["true", "nft add table inet filter"]) {
    await sh(sandbox, prepare);
    const { code, msg } = await fail(sandbox, add);
    assertEquals(code, 103);
    assertStringIncludes(msg, "insertInto");
    assertEquals((await fail(sandbox, status)).code, 50);
  }
  await sh(sandbox, "nft delete table inet filter");
  assertSame(before, await snapshot(sandbox), { allow: ["firewallRecords"] });
  await sh(sandbox, "nft add table inet filter; nft add chain inet filter forward");
  await succeed(sandbox, status);
  await succeed(sandbox, add);
});

kernelTest("nftables: the administrator's chain gets one jump, or keeps its own", {
  needs: ["tool:nft", "plugin:firewall"],
}, async (sandbox) => {
  await dropByNft(sandbox);
  const chain = () => sh(sandbox, "nft list chain inet filter forward");
  const call = (index: number) => ({
    ...bare(sandbox, "ADD", {
      backend: "nftables",
      insertInto: forward,
      ips: [`10.0.0.${index + 2}/24`],
    }),
    containerId: `c${index}`,
  });
  const jumps = async () => (await chain()).match(/denocni_containers/g)?.length;
  await Promise.all(Array.from({ length: 20 }, (_, index) => succeed(sandbox, call(index))));
  assertEquals(await jumps(), 1);
  await sh(
    sandbox,
    `nft flush chain inet filter forward
     nft add rule inet filter forward ct state invalid drop
     nft add rule inet filter forward jump denocni_containers`,
  );
  await succeed(sandbox, call(20));
  assertEquals(await jumps(), 1);
  const elements = await sh(sandbox, "nft list set inet filter denocni_addresses4");
  assertEquals(elements.match(/10\.0\.0\.\d+/g)?.length, 21);
});

const crowd = 200;
/** So many are processes of their own, which all find nothing; the others come from some workers. */
const herd = 24;
const workers = 6;

/** Gives calls to a worker, one after the other. */
async function feed(sandbox: Sandbox, calls: readonly PluginCall[]): Promise<void> {
  const words = [Deno.execPath(), "run", "--allow-all", "--quiet", "--no-check"];
  const script = new URL("harness/in_process.ts", import.meta.url).pathname;
  await using child = new Child(["nsenter", `--net=${sandbox.host}`, "--", ...words, script], {});
  for (const call of calls) {
    const { type } = call;
    await child.say(JSON.stringify({ type, env: pluginEnv(call), stdin: pluginStdin(call) }));
    const reply: InProcessReply = JSON.parse((await child.line())!);
    assert("exit" in reply && reply.exit === 0, JSON.stringify(reply));
  }
}

kernelTest(`iptables: ${crowd} ADDs at once on a host without rules`, {
  needs: filterNeeds,
}, async (sandbox) => {
  const calls = Array.from({ length: crowd }, (_, index): PluginCall => ({
    ...bare(sandbox, "ADD", {
      ips: [`10.0.${index >> 7}.${index % 128 + 1}/16`],
      ingressPolicy: "same-bridge",
    }),
    containerId: `c${index}`,
    deadline: 300_000,
  }));
  const all = async (verb: "ADD" | "DEL") => {
    const turned = calls.map((call) => ({ ...call, verb }));
    const shares = Array.from(
      { length: workers },
      (_, worker) => turned.slice(herd).filter((_, index) => index % workers === worker),
    );
    await Promise.all([
      ...turned.slice(0, herd).map((call) => succeed(sandbox, call)),
      ...shares.map((share) => feed(sandbox, share)),
    ]);
  };
  await all("ADD");
  const rules = await filterOf(sandbox, 4);
  const count = (pattern: RegExp) => rules.filter((rule) => pattern.test(rule)).length;
  assertEquals(count(/^-A FORWARD .*-j CNI-FORWARD$/), 1);
  assertEquals(count(/^-A FORWARD .*-j CNI-ISOLATION-STAGE-1$/), 1);
  assertEquals(count(/^-A CNI-FORWARD .*-j CNI-ADMIN$/), 1);
  assertEquals(count(/^-A CNI-ISOLATION/), 4);
  assertEquals(count(/^-A CNI-FORWARD -d .*ACCEPT$/), crowd);
  assertEquals(count(/^-A CNI-FORWARD -s .*ACCEPT$/), crowd);
  await all("DEL");
  assertEquals((await filterOf(sandbox, 4)).filter((rule) => /ACCEPT$/.test(rule)), []);
});
