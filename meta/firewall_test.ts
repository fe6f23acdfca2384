import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { decodeOrThrow } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { add, call } from "../cni/testing.ts";
import type { Interface, IpConfig, JsonObject } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { formatCidr } from "../host/ip.ts";
import { DryRun } from "../ns/machine.ts";
import { firewallRequest, plugin } from "./firewall.ts";

const sandbox = "/run/netns/c1";
const interfaces: readonly Interface[] = [
  { name: "br0" },
  { name: "veth1" },
  { name: "eth0", sandbox },
  { name: "net1", sandbox },
];

function job(ips: readonly IpConfig[], keys: JsonObject = {}, links = interfaces) {
  const result = { ...emptyResult(), interfaces: [...links], ips: [...ips] };
  const req = {
    conf: decodeOrThrow(plugin.conf, keys, "it"),
    host: new DryRun(),
    network: "net",
    containerId: "c1",
    ifName: "eth0",
  };
  return firewallRequest(req as unknown as Parameters<typeof firewallRequest>[0], {
    result,
    record: undefined,
  });
}

Deno.test("the container's addresses are let pass, each alone and once", () => {
  const { addresses, known } = job([
    { address: "10.0.0.1/24", interface: 0 },
    { address: "10.0.0.2/24", interface: 2 },
    { address: "10.0.0.2/16" },
    { address: "2001:db8::2/64", interface: 2 },
    { address: "10.9.0.2/24", interface: 3 },
  ]);
  assertEquals(addresses.map(formatCidr), ["10.0.0.2/32", "2001:db8::2/128"]);
  assertEquals(known, false);
});

Deno.test("a policy is for the first interface, and needs one", () => {
  const ips = [{ address: "10.0.0.2/24" }];
  assertEquals(job(ips, {}).ingress, undefined);
  assertEquals(job(ips, { ingressPolicy: "open" }).ingress, undefined);
  for (const policy of ["same-bridge", "isolated"] as const) {
    assertEquals(job(ips, { ingressPolicy: policy }).ingress, {
      policy,
      bridge: "br0",
      ports: ["veth1"],
    });
  }
  const bad: readonly (readonly Interface[])[] = [
    [],
    [{ name: "" }],
    [{ name: "eth0", sandbox }],
    [{ name: "br+" }],
    [{ name: "br*" }],
    [{ name: "!br" }],
  ];
  for (const links of bad) {
    const error = assertThrows(() => job(ips, { ingressPolicy: "isolated" }, links), CniError);
    assertEquals(error.code, codes.invalidNetworkConfig);
    assertEquals(error.msg.includes('make sure to chain "firewall" plugin with "bridge"'), true);
  }
});

const config = (keys: JsonObject = {}, ips: readonly string[] = ["10.0.0.2/24"]): JsonObject => ({
  cniVersion: "1.1.0",
  name: "net",
  backend: "iptables",
  prevResult: {
    cniVersion: "1.1.0",
    interfaces: [{ name: "br0" }],
    ips: ips.map((address) => ({ address })),
  },
  ...keys,
});

Deno.test("the result before it passes through unchanged", async () => {
  const result = await add(plugin, { config: config(), host: new DryRun() });
  assertEquals(result.ips, [{ address: "10.0.0.2/24" }]);
  assertEquals(result.interfaces, [{ name: "br0" }]);
});

Deno.test("ADD and CHECK want a result, DEL does without", async () => {
  const { prevResult: _, ...without } = config();
  const host = new DryRun();
  for (const verb of ["ADD", "CHECK"] as const) {
    const error = await assertRejects(
      () => call(plugin, verb, { config: without, host }),
      CniError,
    );
    assertEquals(error.code, codes.invalidNetworkConfig);
  }
  await call(plugin, "DEL", { config: without, host });
});

Deno.test("without addresses nothing is planned", async () => {
  const host = new DryRun();
  await add(plugin, { config: config({}, []), host });
  assertEquals(host.steps, []);
});

Deno.test("a wrong policy is refused before anything is planned", async () => {
  for (const keys of [{ ingressPolicy: "closed" }, { ingressPolicy: "isolated" }]) {
    const host = new DryRun();
    const bare = {
      ...config(keys),
      prevResult: { cniVersion: "1.1.0", ips: [{ address: "10.0.0.2/24" }] },
    };
    await assertRejects(() => add(plugin, { config: bare, host }), CniError);
    assertEquals(host.steps, []);
  }
});

Deno.test("a record comes before the rules it tells of", async () => {
  const host = new DryRun();
  await add(plugin, { config: config(), host });
  assertEquals(host.steps.map(({ do: action }) => action.kind), ["mkdir", "write", "command"]);
});
