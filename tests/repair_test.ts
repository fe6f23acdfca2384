/**
 * `cni repair` on a real kernel: rules come back after something has flushed
 * them, and packets go again.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { Firewalld } from "./harness/firewalld.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import { Lab } from "./harness/lab.ts";
import { fails, prints, Recorder } from "./harness/recorder.ts";
import { bridgeName } from "./harness/residue.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const { host4, client4, client6 } = outsideNet;

/** A lab with the network `mynet`. */
function labOf(sandbox: Sandbox, plugins: readonly JsonObject[]): Lab {
  const lab = new Lab(sandbox).network("mynet", plugins);
  lab.capabilityArgs = {
    portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
  };
  return lab;
}

/** What was missing of each attachment. */
function repair(lab: Lab): Promise<{ state: string; missing: string[] }[]> {
  return lab.json("repair", "mynet");
}

function plugins(sandbox: Sandbox, backend: string, firewall: JsonObject): JsonObject[] {
  const masquerade = { ipMasq: true, ipMasqBackend: backend };
  const subnets = ["10.1.2.0/24", "2001:db8:1::/64"];
  return [
    {
      type: "bridge",
      bridge: bridgeName,
      isDefaultGateway: true,
      ...masquerade,
      ...(backend === "nftables" && { macspoofchk: true }),
      ipam: hostLocal(sandbox, ...subnets),
    },
    { type: "portmap", backend, capabilities: { portMappings: true } },
    { type: "firewall", ...firewall },
  ];
}

const sh = (sandbox: Sandbox, script: string) =>
  sandbox.inside(sandbox.host, ["sh", "-ec", script]);

/** What the administrator loads, at first and after each flush. */
const dropByNft = `nft -f - <<'END'
add table inet filter
add chain inet filter forward { type filter hook forward priority 0; policy drop; }
END`;

const flushIptables = `for tool in iptables ip6tables; do
  for table in filter nat raw; do $tool -w -t $table -F; $tool -w -t $table -X; done
done`;

interface Disaster {
  readonly title: string;
  readonly backend: "iptables" | "nftables";
  readonly needs: readonly Need[];
  readonly firewall: JsonObject;
  readonly prepare: (sandbox: Sandbox) => Promise<unknown>;
  readonly strike: (sandbox: Sandbox) => Promise<unknown>;
  /** Mapped ports need rules of the host to accept them. */
  readonly noMapped?: boolean;
}

const dropByIptables = "iptables -w -P FORWARD DROP; ip6tables -w -P FORWARD DROP";
let running: Firewalld | undefined;

const disasters: readonly Disaster[] = [
  {
    title: "iptables -F and -X",
    backend: "iptables",
    needs: ["iptables-nat"],
    firewall: { backend: "iptables" },
    prepare: (sandbox) => sh(sandbox, dropByIptables),
    strike: (sandbox) => sh(sandbox, flushIptables),
    noMapped: true,
  },
  {
    title: "nft flush ruleset under iptables",
    backend: "iptables",
    needs: ["iptables-nat", "tool:nft"],
    firewall: { backend: "iptables" },
    prepare: (sandbox) => sh(sandbox, dropByIptables),
    strike: (sandbox) => sh(sandbox, `nft flush ruleset; ${dropByIptables}`),
    noMapped: true,
  },
  {
    title: "nft flush ruleset and a jump",
    backend: "nftables",
    needs: ["nft-nat"],
    firewall: {
      backend: "nftables",
      insertInto: { family: "inet", table: "filter", chain: "forward" },
    },
    prepare: (sandbox) => sh(sandbox, dropByNft),
    strike: (sandbox) => sh(sandbox, `nft flush ruleset; ${dropByNft}`),
  },
  {
    title: "firewalld told to reload",
    backend: "iptables",
    needs: ["iptables-nat", "tool:firewalld", "tool:dbus-daemon", "tool:busctl"],
    firewall: {},
    prepare: async (sandbox) => running = sandbox.keep(await Firewalld.start(sandbox)),
    // It flushes what iptables has, too.
    strike: () => running!.reload(),
    noMapped: true,
  },
];

const common: readonly Need[] = [
  "link:bridge",
  "link:veth",
  "plugin:bridge",
  "plugin:host-local",
  "plugin:portmap",
  "plugin:firewall",
];

for (const { title, backend, needs, firewall, prepare, strike, noMapped } of disasters) {
  kernelTest(`repair after ${title}`, { needs: [...common, ...needs] }, async (sandbox) => {
    const outside = await sandbox.outside();
    await sandbox.agent(outside).listen("tcp", { port: 80, address: "::" });
    await prepare(sandbox);
    const lab = labOf(sandbox, plugins(sandbox, backend, firewall));
    const netns = await sandbox.container("a");
    const before = await snapshot(sandbox);
    await lab.json("add", "mynet", netns);
    await sandbox.agent(netns).listen("tcp", { port: 80, address: "::" });
    const works = async (expected: boolean) => {
      const timeout = expected ? 8000 : 400;
      const ways = [[netns, client4, 80], [netns, client6, 80], [
        sandbox.host,
        host4,
        8080,
      ]] as const;
      const mapped = noMapped ? [] : [[outside, host4, 8080] as const];
      for (const [from, address, port] of [...ways, ...mapped]) {
        const { is } = await sandbox.agent(from).call(address, port, { timeout });
        assertEquals(is === "answered", expected, `from ${from} to ${address}: ${is}`);
      }
    };
    await works(true);
    assertEquals(await repair(lab), [await report(lab, "ok", [])]);
    await strike(sandbox);
    await works(false);

    const start = performance.now();
    const [repaired] = await repair(lab);
    const took = performance.now() - start;
    await works(true);
    assertEquals(repaired!.state, "repaired");
    for (const type of ["bridge", "portmap", "firewall"]) {
      assert(
        repaired!.missing.some((line) => line.startsWith(`${type}: `)),
        `${type} said nothing`,
      );
    }
    assert(took < 5_000, `took ${took} ms`);
    const state = await snapshot(sandbox);
    assertEquals(await repair(lab), [await report(lab, "ok", [])]);
    assertSame(state, await snapshot(sandbox));
    assertEquals((await lab.cni("check", "mynet", netns)).code, 0);

    await strike(sandbox);
    assertEquals((await lab.cni("del", "mynet", netns)).code, 0);
    assertSame(before, await snapshot(sandbox), {
      allow: [
        "bridge",
        "hostLocal",
        "forwarding4",
        "forwarding6",
        "firewallRecords",
        "portClaims",
        "iptablesTables",
      ],
      only: /^files$|^host\/links$/,
    });
  });
}

async function report(lab: Lab, state: string, missing: string[]): Promise<never> {
  const { attachments } = await lab.json("list");
  const [{ network, containerId, ifName }] = attachments as [JsonObject];
  return { network, containerId, ifName, state, missing, foreign: [] } as never;
}

kernelTest("repair puts the guard of 127.0.0.1 back", {
  needs: [...common, "iptables-nat"],
}, async (sandbox) => {
  const lab = labOf(sandbox, plugins(sandbox, "iptables", { backend: "iptables" }));
  await lab.json("add", "mynet", await sandbox.container("a"));
  await sh(sandbox, "iptables -w -t raw -F");
  const [repaired] = await repair(lab);
  assertEquals(repaired!.missing.length, 3);
  const rules = await sh(sandbox, "iptables -w -t raw -S");
  assertStringIncludes(rules, "-A PREROUTING ! -i lo -j CNI-HOSTPORT-GUARD");
});

kernelTest("repair leaves out what is gone, and plugins that are not ours", {
  needs: [...common, "nft-nat"],
}, async (sandbox) => {
  using recorder = new Recorder();
  const result = { cniVersion: "1.1.0", ips: [{ address: "10.9.9.9/24" }] };
  recorder.add("stranger", { ADD: prints(result), CHECK: fails(77, "never asked") });
  const firewall = { type: "firewall", backend: "nftables" };
  const lab = labOf(sandbox, [{ type: "stranger" }, firewall]);
  lab.path = `${recorder.dir}:${lab.path}`;
  const [kept, gone] = [await sandbox.container("a"), await sandbox.container("b")];
  for (const netns of [kept, gone]) await lab.json("add", "mynet", netns);
  await sandbox.removeNetns("b");
  await sh(sandbox, "nft flush ruleset");
  const all = await lab.json<JsonObject[]>("repair");
  assertEquals(all.map(({ state }) => state).sort(), ["netns gone", "repaired"]);
  assertEquals(all.find(({ state }) => state === "repaired")!.foreign, ["stranger"]);
  assertEquals(recorder.log(), ["stranger ADD", "stranger ADD"]);
  const { code, stdout } = await lab.cni("repair", "mynet");
  assertEquals(code, 0);
  assertStringIncludes(stdout, ": ok (not ours, left out: stranger)\n");
  assertStringIncludes(stdout, ": netns gone\n");
  assertEquals((await lab.cni("repair", "other")).stdout, "Nothing is attached to other\n");
});
