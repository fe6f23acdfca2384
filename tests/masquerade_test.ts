/**
 * Masquerade and spoof check of the bridge plugin, proved by packets: outside has
 * no route to containers, so an answer can only come back to the host's address.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { Faults } from "./harness/fault.ts";
import { useLegacyIptables } from "./harness/legacy.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, callPlugin, fail, succeed } from "./harness/plugin.ts";
import type { ResidueId } from "./harness/residue.ts";
import { bridgeName } from "./harness/residue.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const { host4, host6, client4, client6 } = outsideNet;

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
    residue: ["iptablesTables"],
    enter: stay,
  },
  {
    name: "iptables-legacy",
    backend: "iptables",
    needs: ["iptables-nat", "tool:iptables-legacy"],
    residue: ["iptablesTables"],
    enter: useLegacyIptables,
  },
  {
    name: "nftables",
    backend: "nftables",
    needs: ["nft-nat"],
    residue: ["nftMasquerade"],
    enter: stay,
  },
];

const common: readonly Need[] = ["link:bridge", "link:veth", "plugin:bridge", "plugin:host-local"];
const shared = ["hostLocal", "bridge", "forwarding4", "forwarding6"] as const;

/** Registers a test for each program. */
function variantTest(
  name: string,
  body: (sandbox: Sandbox, variant: Variant) => Promise<void>,
): void {
  for (const variant of variants) {
    const needs = [...common, ...variant.needs];
    kernelTest(`${variant.name}: ${name}`, { needs }, async (sandbox) => {
      await using _programs = await variant.enter();
      await body(sandbox, variant);
    });
  }
}

/** What differs between calls. */
interface CallOptions {
  readonly id?: string;
  readonly ifname?: string;
  readonly network?: string;
  readonly keys?: JsonObject;
}

async function bridgeCall(
  sandbox: Sandbox,
  verb: "ADD" | "CHECK" | "DEL" | "GC",
  { id = "a", ifname = "eth0", network = "net1", keys = {} }: CallOptions = {},
): Promise<PluginCall> {
  return {
    type: "bridge",
    verb,
    netns: await sandbox.container(id),
    containerId: id,
    ifname,
    config: {
      cniVersion: "1.1.0",
      name: network,
      type: "bridge",
      bridge: bridgeName,
      isDefaultGateway: true,
      ipMasq: true,
      ipam: hostLocal(sandbox, "10.1.2.0/24", "2001:db8:1::/64"),
      ...keys,
    },
  };
}

/** Keys of a call with the result of the ADD. */
function withResult(keys: JsonObject, prevResult: JsonObject): JsonObject {
  return { ...keys, prevResult };
}

/** Servers outside and in a container, for both families. */
async function openServer(sandbox: Sandbox, netns: string): Promise<void> {
  await sandbox.agent(netns).listen("tcp", { port: 80, address: "::" });
}

async function seenAs(sandbox: Sandbox, netns: string, address: string): Promise<string> {
  const outcome = await sandbox.agent(netns).call(address, 80, { timeout: 6000 });
  return outcome.is === "answered" ? outcome.from.replace(/^::ffff:/, "") : outcome.is;
}

function plain(result: JsonObject): string[] {
  return addressesOf(result).map((cidr) => cidr.split("/")[0]!);
}

variantTest("outside sees the host, the own subnet sees the container", async (
  sandbox,
  { backend, residue },
) => {
  const outside = await sandbox.outside();
  await openServer(sandbox, outside);
  const keys = { ipMasqBackend: backend };
  const b = await bridgeCall(sandbox, "ADD", { id: "b", keys: { ipMasq: false } });
  const [b4, b6] = plain(await succeed(sandbox, b)) as [string, string];
  await openServer(sandbox, b.netns!);
  const before = await snapshot(sandbox);

  const add = await bridgeCall(sandbox, "ADD", { keys });
  const result = await succeed(sandbox, add);
  const [a4, a6] = plain(result) as [string, string];
  const a = add.netns!;
  assertEquals(await seenAs(sandbox, a, client4), host4);
  assertEquals(await seenAs(sandbox, a, client6), host6);
  assertEquals(await seenAs(sandbox, a, b4), a4);
  assertEquals(await seenAs(sandbox, a, b6), a6);
  // The other container has no masquerade: outside cannot answer it.
  const plainly = await sandbox.agent(b.netns!).call(client4, 80, { timeout: 700 });
  assertEquals(plainly.is, "timeout");

  await succeed(sandbox, await bridgeCall(sandbox, "CHECK", { keys: withResult(keys, result) }));
  await succeed(sandbox, await bridgeCall(sandbox, "DEL", { keys: withResult(keys, result) }));
  await sandbox.removeNetns("a");
  assertSame(before, await snapshot(sandbox), {
    allow: [...shared, ...residue],
    only: /^host|^files$/,
  });
});

variantTest("CHECK names every rule that is missing", async (sandbox, { backend }) => {
  const keys = { ipMasqBackend: backend };
  const result = await succeed(sandbox, await bridgeCall(sandbox, "ADD", { keys }));
  const flush = backend === "iptables"
    ? "iptables -w -t nat -F POSTROUTING; ip6tables -w -t nat -F POSTROUTING"
    : "nft flush chain inet cni_plugins_masquerade masq_checks";
  await sandbox.inside(sandbox.host, ["sh", "-c", flush]);
  const check = await bridgeCall(sandbox, "CHECK", { keys: withResult(keys, result) });
  const { code, msg } = await fail(sandbox, check);
  assertEquals(code, 105);
  for (const address of plain(result)) assert(msg.includes(address), msg);
});

variantTest("DEL finds the rules without container and result", async (
  sandbox,
  { backend, residue },
) => {
  const keys = { ipMasqBackend: backend };
  const before = await snapshot(sandbox);
  const add = await bridgeCall(sandbox, "ADD", { keys });
  await succeed(sandbox, add);
  const del = { ...add, verb: "DEL" as const };
  await sandbox.removeNetns("a");
  for (const netns of ["", add.netns!]) await succeed(sandbox, { ...del, netns });
  assertSame(before, await snapshot(sandbox), {
    allow: [...shared, ...residue],
    only: /^host|^files$/,
  });
});

variantTest("DEL finds the rules when the back end has changed", async (
  sandbox,
  { backend, residue },
) => {
  const before = await snapshot(sandbox);
  const result = await succeed(
    sandbox,
    await bridgeCall(sandbox, "ADD", { keys: { ipMasqBackend: backend } }),
  );
  const other = backend === "iptables" ? "nftables" : "iptables";
  const keys = withResult({ ipMasqBackend: other }, result);
  await succeed(sandbox, await bridgeCall(sandbox, "DEL", { keys }));
  await sandbox.removeNetns("a");
  assertSame(before, await snapshot(sandbox), {
    allow: [...shared, ...residue],
    only: /^host|^files$/,
  });
});

variantTest("GC removes what nobody lists, of its network only", async (sandbox, { backend }) => {
  const keys = { ipMasqBackend: backend };
  const attachments = [
    { id: "a", network: "net1" },
    { id: "b", network: "net1" },
    { id: "c", network: "net2" },
  ];
  const addresses: string[][] = [];
  for (const attachment of attachments) {
    const pool = attachment.network === "net1"
      ? {}
      : { bridge: "bridge1", ipam: hostLocal(sandbox, "10.9.9.0/24", "2001:db8:9::/64") };
    const result = await succeed(
      sandbox,
      await bridgeCall(sandbox, "ADD", { ...attachment, keys: { ...keys, ...pool } }),
    );
    addresses.push(plain(result));
  }
  const collect = async (valid: JsonObject[]) =>
    void await succeed(sandbox, {
      ...await bridgeCall(sandbox, "GC", {
        keys: { ...keys, "cni.dev/valid-attachments": valid },
      }),
      containerId: "",
      ifname: "",
      netns: "",
    });
  const present = async () => {
    const script = backend === "nftables"
      ? "nft list table inet cni_plugins_masquerade"
      : "iptables-save -t nat; ip6tables-save -t nat";
    const text = await sandbox.inside(sandbox.host, ["sh", "-c", script]);
    return addresses.map((own) => own.every((address) => new RegExp(`${address}\\b`).test(text)));
  };
  assertEquals(await present(), [true, true, true]);
  await collect([{ containerID: "b", ifname: "eth0" }]);
  assertEquals(await present(), [false, true, true]);
  await collect([]);
  assertEquals(await present(), [false, false, true]);
});

variantTest("a container twice on a network keeps the other's rules", async (
  sandbox,
  { backend },
) => {
  const outside = await sandbox.outside();
  await openServer(sandbox, outside);
  const keys = { ipMasqBackend: backend };
  const first = await succeed(sandbox, await bridgeCall(sandbox, "ADD", { keys }));
  const second = { ifname: "eth1", keys: { ...keys, isDefaultGateway: false, isGateway: true } };
  const result = await succeed(sandbox, await bridgeCall(sandbox, "ADD", second));
  const del = { ...second, keys: withResult(second.keys, result) };
  await succeed(sandbox, await bridgeCall(sandbox, "DEL", del));
  await succeed(sandbox, await bridgeCall(sandbox, "CHECK", { keys: withResult(keys, first) }));
  assertEquals(await seenAs(sandbox, await sandbox.container("a"), client4), host4);
});

kernelTest("ADD with masquerade starts one program for each family, one with nftables", {
  needs: [...common, "iptables-nat", "nft-nat"],
}, async (sandbox) => {
  await sandbox.container("a");
  const before = await snapshot(sandbox);
  await using faults = await Faults.install();
  const programs = async (verb: "ADD" | "DEL", keys: JsonObject) => {
    faults.arm(0);
    await succeed(sandbox, await bridgeCall(sandbox, verb, { keys }));
    return faults.log.split("\n").map((line) => line.split(" ")[0]!.split("/").at(-1)!)
      .filter((program) => /tables|nft/.test(program)).toSorted();
  };
  assertEquals(await programs("ADD", {}), ["ip6tables-restore", "iptables-restore"]);
  const listed = ["ip6tables-save", "iptables-save", "nft"];
  assertEquals(
    await programs("DEL", {}),
    ["ip6tables-restore", "ip6tables-save", "iptables-restore", "iptables-save", "nft"],
  );
  assertEquals(await programs("ADD", { ipMasqBackend: "nftables" }), ["nft"]);
  assertEquals(await programs("DEL", {}), [...listed, "nft"]);
  assertSame(before, await snapshot(sandbox), {
    allow: [...shared, "iptablesTables", "nftMasquerade", "loopback"],
  });
});

kernelTest("an unknown back end is refused before anything is done", {
  needs: common,
}, async (sandbox) => {
  const add = await bridgeCall(sandbox, "ADD", { keys: { ipMasqBackend: "ebtables" } });
  const before = await snapshot(sandbox);
  const { code, msg } = await fail(sandbox, add);
  assertEquals(code, 7);
  assert(msg.includes('unknown ipmasq backend "ebtables"'), msg);
  assertSame(before, await snapshot(sandbox));
  // A removal is not blocked by it.
  await succeed(sandbox, { ...add, verb: "DEL" });
});

kernelTest("the spoof check drops frames with any other source address", {
  needs: [...common, "tool:nft"],
}, async (sandbox) => {
  const keys = { ipMasq: false, macspoofchk: true };
  const before = await snapshot(sandbox);
  const add = await bridgeCall(sandbox, "ADD", { keys });
  const result = await succeed(sandbox, add);
  const a = add.netns!;
  const reaches = () => sandbox.agent(a).ping("10.1.2.1", 1500);
  assert(await reaches(), "the container does not reach its gateway");
  await sandbox.ip(a, ["link set eth0 address 02:00:00:00:00:99"]);
  assert(!await reaches(), "a forged source address came through");
  await succeed(sandbox, await bridgeCall(sandbox, "DEL", { keys: withResult(keys, result) }));
  await sandbox.removeNetns("a");
  assertSame(before, await snapshot(sandbox), {
    allow: [...shared, "nftSpoofCheck"],
    only: /^host|^files$/,
  });
});

kernelTest("GC removes the spoof check of links that are gone, and no other", {
  needs: [...common, "tool:nft"],
}, async (sandbox) => {
  const keys = { ipMasq: false, macspoofchk: true };
  for (const id of ["a", "b"]) {
    await succeed(sandbox, await bridgeCall(sandbox, "ADD", { id, keys }));
  }
  await succeed(sandbox, await bridgeCall(sandbox, "ADD", { id: "c", network: "net2", keys }));
  await sandbox.removeNetns("a");
  const collect = await bridgeCall(sandbox, "GC", {
    id: "b",
    keys: { ...keys, "cni.dev/valid-attachments": [{ containerID: "b", ifname: "eth0" }] },
  });
  await callPlugin(sandbox, { ...collect, containerId: "", ifname: "", netns: "" });
  const table = await sandbox.inside(sandbox.host, ["nft", "list", "table", "bridge", "nat"]);
  const chains = [...table.matchAll(/chain (cni-br-iface-\S+)/g)].map(([, name]) => name).sort();
  assertEquals(
    chains,
    ["b", "c"].flatMap((id) => [`cni-br-iface-${id}-eth0`, `cni-br-iface-${id}-eth0-mac`]),
  );
});
