/**
 * The ptp plugin on a real kernel: what it makes, and what packets do there.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, fail, succeed, versions } from "./harness/plugin.ts";
import { fails, prints, Recorder } from "./harness/recorder.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertShape } from "./harness/shape.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs: readonly Need[] = ["link:veth", "plugin:ptp", "plugin:host-local"];
const subnet4 = "10.1.2.0/24";
const subnet6 = "2001:db8:1::/66";
const residue = ["hostLocal", "forwarding4", "forwarding6", "iptablesTables"] as const;

async function call(
  sandbox: Sandbox,
  verb: PluginCall["verb"],
  { id = "c1", config = {}, ...rest }: Omit<Partial<PluginCall>, "config"> & {
    id?: string;
    config?: JsonObject;
  } = {},
): Promise<PluginCall> {
  return {
    type: "ptp",
    verb,
    netns: await sandbox.container(id),
    containerId: id,
    ifname: "ptp0",
    config: { cniVersion: "1.1.0", name: "mynet", type: "ptp", ...config },
    ...rest,
  };
}

interface ShownLink {
  readonly ifname: string;
  readonly address: string;
  readonly mtu: number;
  readonly operstate: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

function hosts(result: JsonObject): string[] {
  return addressesOf(result).map((address) => address.split("/")[0]!);
}

for (const ipMasqBackend of [undefined, "iptables", "nftables"]) {
  kernelTest(`ptp: every version, masquerade by ${ipMasqBackend ?? "default"}`, {
    needs: [...needs, ipMasqBackend === "nftables" ? "nft-nat" : "iptables-nat"],
  }, async (sandbox, test) => {
    const outside = await sandbox.outside();
    const port = await sandbox.agent(outside).listen("tcp");
    const dns = { nameservers: ["10.1.2.123"], domain: "example.com", search: ["a.example"] };
    for (const cniVersion of versions) {
      await test.step(cniVersion, async () => {
        const config = {
          cniVersion,
          mtu: 5000,
          ipMasq: true,
          dns,
          ...(ipMasqBackend !== undefined && { ipMasqBackend }),
          ipam: hostLocal(sandbox, subnet4),
        };
        const before = await snapshot(sandbox);
        const add = await call(sandbox, "ADD", { config });
        const result = await succeed(sandbox, add);
        assertShape(result, cniVersion);
        assertEquals(result["dns"], dns);
        const agent = sandbox.agent(add.netns!);
        assert(await agent.ping("10.1.2.1"));
        assertEquals(await agent.call(outsideNet.client4, port), {
          is: "answered",
          from: outsideNet.host4,
        });
        const [live] = await sandbox.ipJson<ShownLink>(add.netns!, "addr show dev ptp0");
        assertEquals([live!.mtu, live!.operstate], [5000, "UP"]);
        if (cniVersion >= "0.3.0") {
          const [host, inside, ...others] = result["interfaces"] as JsonObject[];
          assertEquals(others, []);
          assertMatch(String(host!["name"]), /^veth[0-9a-f]{8}$/);
          assertEquals([host!["sandbox"], inside!["sandbox"]], [undefined, add.netns]);
          assertEquals([inside!["name"], inside!["mac"]], ["ptp0", live!.address]);
          assertEquals((result["ips"] as JsonObject[]).map((ip) => ip["interface"]), [1]);
        }
        const check = await call(sandbox, "CHECK", { config: { ...config, prevResult: result } });
        if (cniVersion >= "0.4.0") await succeed(sandbox, check);
        else assertEquals((await fail(sandbox, check)).code, 1);
        await succeed(sandbox, await call(sandbox, "DEL", { config }));
        assert(!await sandbox.hasLink(add.netns!, "ptp0"));
        assertSame(before, await snapshot(sandbox), {
          allow: [...residue, "nftMasquerade"],
          only: /^host|^files$/,
        });
      });
    }
  });
}

kernelTest("ptp: dual stack with routes", { needs }, async (sandbox) => {
  const ipam = {
    ...hostLocal(sandbox, subnet4, subnet6),
    routes: ["0.0.0.0/0", "192.168.0.0/16", "1.2.3.4/32", "::/0"].map((dst) => ({ dst })),
  };
  const config = { ipam };
  const add = await call(sandbox, "ADD", { config });
  const result = await succeed(sandbox, add);
  assertEquals(addressesOf(result), ["10.1.2.2/24", "2001:db8:1::2/66"]);
  const agent = sandbox.agent(add.netns!);
  assert(await agent.ping("10.1.2.1"));
  assert(await agent.ping("2001:db8:1::1"));
  const routes = await sandbox.inside(add.netns!, ["ip", "route", "show"]);
  assertMatch(routes, /^192\.168\.0\.0\/16 via 10\.1\.2\.1 dev ptp0/m);
  assertMatch(routes, /^1\.2\.3\.4 via 10\.1\.2\.1 dev ptp0/m);
  assertMatch(routes, /^10\.1\.2\.1 dev ptp0 scope link src 10\.1\.2\.2/m);
  assertMatch(routes, /^10\.1\.2\.0\/24 via 10\.1\.2\.1 dev ptp0 src 10\.1\.2\.2/m);
  await succeed(
    sandbox,
    await call(sandbox, "CHECK", { config: { ...config, prevResult: result } }),
  );
});

kernelTest("ptp: containers reach each other through the host, unmasqueraded", {
  needs: [...needs, "iptables-nat"],
}, async (sandbox) => {
  const config = { ipMasq: true, ipam: hostLocal(sandbox, subnet4, subnet6) };
  const adds = await Promise.all(["c1", "c2"].map((id) => call(sandbox, "ADD", { id, config })));
  const results = [];
  for (const add of adds) results.push(await succeed(sandbox, add));
  const [from, to] = adds.map(({ netns }) => sandbox.agent(netns!));
  for (const [slot, address] of ["0.0.0.0", "::"].entries()) {
    const port = await to!.listen("tcp", { address });
    const outcome = await from!.call(hosts(results[1]!)[slot]!, port);
    assertEquals(outcome, { is: "answered", from: hosts(results[0]!)[slot]! });
  }
});

kernelTest("ptp: name servers of IPAM stay unless the configuration names any", {
  needs,
}, async (sandbox, test) => {
  const resolvConf = `${sandbox.dir}/resolv.conf`;
  Deno.writeTextFileSync(
    resolvConf,
    "nameserver 10.1.2.123\ndomain some.domain.test\nsearch search.test\noptions option1:foo\n",
  );
  const ipam = { ...hostLocal(sandbox, subnet4), resolvConf };
  const fromIpam = {
    nameservers: ["10.1.2.123"],
    domain: "some.domain.test",
    search: ["search.test"],
    options: ["option1:foo"],
  };
  const cases: readonly [title: string, dns: JsonObject | undefined, expected: JsonObject][] = [
    ["none", undefined, fromIpam],
    ["empty object", {}, fromIpam],
    ["name servers", { nameservers: ["192.0.2.1"] }, { nameservers: ["192.0.2.1"] }],
    ["domain", { domain: "example.com" }, { domain: "example.com" }],
    ["search", { search: ["a.example"] }, { search: ["a.example"] }],
    ["options", { options: ["ndots:2"] }, { options: ["ndots:2"] }],
    ["empty lists", { nameservers: [], search: [], options: [] }, {}],
  ];
  for (const [index, [title, dns, expected]] of cases.entries()) {
    await test.step(title, async () => {
      const config = { ipam, ...(dns && { dns }) };
      const result = await succeed(
        sandbox,
        await call(sandbox, "ADD", { id: `c${index}`, config }),
      );
      assertEquals(result["dns"] ?? {}, expected);
    });
  }
});

kernelTest("ptp: DEL of a link that never was succeeds", { needs }, async (sandbox) => {
  const config = { ipMasq: true, ipam: hostLocal(sandbox, subnet4) };
  await succeed(sandbox, await call(sandbox, "DEL", { config }));
});

kernelTest(
  "ptp: addresses it cannot route are refused and given back",
  { needs },
  async (sandbox, test) => {
    const answers = {
      "no gateway": { ips: [{ address: "10.1.2.2/24" }] },
      "no address": { ips: [] },
    };
    for (const [title, answer] of Object.entries(answers)) {
      await test.step(title, async () => {
        using recorder = new Recorder();
        recorder.add("recorded", { ADD: prints({ cniVersion: "1.1.0", ...answer }) });
        const before = await snapshot(sandbox);
        const env = { CNI_PATH: recorder.dir };
        const config = { ipam: { type: "recorded" } };
        await fail(sandbox, await call(sandbox, "ADD", { config, env }));
        assertEquals(recorder.log(), ["recorded ADD", "recorded DEL"]);
        assertSame(before, await snapshot(sandbox), { only: /^host|^files$/ });
      });
    }
  },
);

kernelTest("ptp: single addresses and shared gateways work", { needs }, async (sandbox) => {
  using recorder = new Recorder();
  const ips = [
    { address: "10.1.2.2/32", gateway: "10.1.2.1" },
    { address: "10.1.2.3/32", gateway: "10.1.2.1" },
    { address: "2001:db8:1::2/128", gateway: "fd00::1" },
  ];
  const routes = [{ dst: "0.0.0.0/0" }, { dst: "::/0" }];
  recorder.add("recorded", { ADD: prints({ cniVersion: "1.1.0", ips, routes }) });
  const env = { CNI_PATH: recorder.dir };
  const config = { ipam: { type: "recorded" } };
  const before = await snapshot(sandbox);
  const add = await call(sandbox, "ADD", { config, env });
  const result = await succeed(sandbox, add);
  const agent = sandbox.agent(add.netns!);
  assert(await agent.ping("10.1.2.1"));
  assert(await agent.ping("fd00::1"));
  for (const address of hosts(result)) {
    assert(await sandbox.agent(sandbox.host).ping(address), address);
  }
  const known = { config: { ...config, prevResult: result }, env };
  await succeed(sandbox, await call(sandbox, "CHECK", known));
  await succeed(sandbox, await call(sandbox, "DEL", known));
  assertSame(before, await snapshot(sandbox), { allow: residue, only: /^host|^files$/ });
});

kernelTest("ptp: without an IPAM plugin it is refused", { needs }, async (sandbox) => {
  const before = await snapshot(sandbox);
  for (const config of [{}, { ipam: {} }, { ipam: { type: "" } }]) {
    await fail(sandbox, await call(sandbox, "ADD", { config }));
    await succeed(sandbox, await call(sandbox, "DEL", { config }));
  }
  assertSame(before, await snapshot(sandbox), { only: /^host|^files$/ });
});

kernelTest("ptp: a failing release is reported, and the link is gone all the same", {
  needs,
}, async (sandbox) => {
  using recorder = new Recorder();
  const ips = [{ address: "10.1.2.2/24", gateway: "10.1.2.1" }];
  recorder.add("recorded", {
    ADD: prints({ cniVersion: "1.1.0", ips }),
    DEL: fails(11, "the pool is locked"),
  });
  const rest = { config: { ipam: { type: "recorded" } }, env: { CNI_PATH: recorder.dir } };
  const add = await call(sandbox, "ADD", rest);
  await succeed(sandbox, add);
  const { code, msg } = await fail(sandbox, await call(sandbox, "DEL", rest));
  assertEquals(code, 11);
  assertStringIncludes(msg, "the pool is locked");
  assert(!await sandbox.hasLink(add.netns!, "ptp0"));
});
