import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { codes, toCniError } from "../cni/error.ts";
import { formatResult, stringifyResult } from "../cni/result.ts";
import type { TestCall } from "../cni/testing.ts";
import { add, call, testTraits } from "../cni/testing.ts";
import type { JsonObject, Verb } from "../cni/types.ts";
import { versions } from "../cni/version.ts";
import { plugin } from "./static.ts";

async function error(verb: Exclude<Verb, "VERSION">, test: TestCall) {
  return toCniError(await assertRejects(() => call(plugin, verb, test)));
}

const routes = [
  { dst: "0.0.0.0/0" },
  { dst: "192.168.0.0/16", gw: "10.10.5.1" },
  { dst: "3ffe:ffff:0:01ff::1/64" },
];

const full: JsonObject = {
  type: "static",
  addresses: [
    { address: "10.10.0.1/24", gateway: "10.10.0.254" },
    { address: "3ffe:ffff:0:01ff::1/64", gateway: "3ffe:ffff:0::1" },
  ],
  routes,
  dns: {
    nameservers: ["8.8.8.8"],
    domain: "example.com",
    search: ["example.com"],
    options: ["rotate"],
  },
};

const parsedRoutes = [...routes.slice(0, 2), { dst: "3ffe:ffff:0:1ff::1/64" }];
const two = [{ address: "10.10.0.1/24" }, { address: "11.11.0.1/24" }];
const twoTexts = ["10.10.0.1/24", "11.11.0.1/24"];

/** Two IPv4 addresses, where the version has room for them. */
async function assertTwo(test: TestCall, ips: JsonObject[] = two): Promise<void> {
  if (String(test.config.cniVersion) >= "0.3.0") {
    const result = await add(plugin, test);
    assertEquals(result.ips as unknown, ips);
    return assertEquals(result.routes, parsedRoutes);
  }
  const { code, msg } = await error("ADD", test);
  assertEquals(code, codes.invalidNetworkConfig);
  assertStringIncludes(msg, "does not support more than 1 address per family");
}

for (const cniVersion of versions) {
  Deno.test(`${cniVersion}: what is configured is given, in its order`, async () => {
    const result = await add(plugin, { config: { cniVersion, ipam: full } });
    assertEquals(result, {
      interfaces: [],
      ips: [
        { address: "10.10.0.1/24", gateway: "10.10.0.254" },
        { address: "3ffe:ffff:0:1ff::1/64", gateway: "3ffe:ffff::1" },
      ],
      routes: parsedRoutes,
      dns: full.dns as JsonObject,
    });
    const raw = stringifyResult(formatResult(result, cniVersion));
    assertEquals(raw.includes('"version":'), ["0.3.0", "0.3.1", "0.4.0"].includes(cniVersion));
  });

  Deno.test(`${cniVersion}: equal routes by two gateways are kept`, async () => {
    const routes = [{ dst: "0.0.0.0/0", gw: "10.10.0.254" }, {
      dst: "0.0.0.0/0",
      gw: "10.10.0.253",
    }];
    const ipam = { addresses: [{ address: "10.10.0.1/24" }], routes };
    assertEquals((await add(plugin, { config: { cniVersion, ipam } })).routes, routes);
  });

  Deno.test(`${cniVersion}: CNI_ARGS give an address and its gateway`, async () => {
    const config = { cniVersion, ipam: { routes } };
    const args = "IP=10.10.0.1/24;GATEWAY=10.10.0.254";
    const result = await add(plugin, { config, args });
    assertEquals(result.ips, [{ address: "10.10.0.1/24", gateway: "10.10.0.254" }]);
    assertEquals(result.routes, parsedRoutes);
  });

  Deno.test(`${cniVersion}: CNI_ARGS give several addresses, each the gateway of its subnet`, async () => {
    const args = "IP=10.10.0.1/24, 11.11.0.1/24;GATEWAY=10.10.0.254";
    await assertTwo({ config: { cniVersion, ipam: { routes } }, args }, [
      { address: "10.10.0.1/24", gateway: "10.10.0.254" },
      { address: "11.11.0.1/24" },
    ]);
  });

  Deno.test(`${cniVersion}: the capability gives addresses`, async () => {
    await assertTwo({
      config: { cniVersion, ipam: { routes }, RuntimeConfig: { ips: twoTexts } },
    });
  });

  Deno.test(`${cniVersion}: args give addresses`, async () => {
    await assertTwo({ config: { cniVersion, ipam: { routes }, args: { cni: { ips: twoTexts } } } });
  });

  Deno.test(`${cniVersion}: the capability outranks args, CNI_ARGS and the configuration`, async () => {
    await assertTwo({
      config: {
        cniVersion,
        ipam: { routes, addresses: [{ address: "not an address" }] },
        args: { cni: { ips: ["12.12.0.1/24"] } },
        runtimeConfig: { ips: twoTexts },
      },
      args: "IP=13.13.0.1/24;GATEWAY=10.10.0.254",
    });
  });
}

Deno.test("CNI_ARGS come after the configured addresses; their gateways touch no other", async () => {
  const config = { ipam: { addresses: [{ address: "10.10.0.1/24" }] } };
  const args = "IP=10.10.0.2/24;GATEWAY=10.10.0.253,10.10.0.254;IgnoreUnknown=true;X=Y";
  assertEquals((await add(plugin, { config, args })).ips, [
    { address: "10.10.0.1/24" },
    { address: "10.10.0.2/24", gateway: "10.10.0.254" },
  ]);
});

Deno.test("no address at all is a result without one", async () => {
  assertEquals((await add(plugin, { config: { ipam: {} } })).ips, []);
  const config = { ipam: { dns: {} }, args: { cni: {} }, runtimeConfig: { ips: [] } };
  assertEquals((await add(plugin, { config })).ips, []);
});

for (
  const [title, test, code, message] of [
    ["no ipam", { args: "IP=10.10.0.1/24" }, 7, "IPAM config missing 'ipam' key"],
    [
      "no ipam",
      { config: { runtimeConfig: { ips: twoTexts } } },
      7,
      "IPAM config missing 'ipam' key",
    ],
    [
      "no prefix in addresses",
      { config: { ipam: { addresses: [{ address: "10.10.0.1" }] } } },
      7,
      "ipam.addresses[0].address: the 'address' field is expected to be in CIDR notation, got: '10.10.0.1'",
    ],
    [
      "no prefix in CNI_ARGS",
      { config: { ipam: {} }, args: "IP=10.10.0.1" },
      4,
      "the 'ip' field is expected to be in CIDR notation, got: '10.10.0.1'",
    ],
    [
      "no prefix in CNI_ARGS, though outranked",
      { config: { ipam: {}, args: { cni: { ips: twoTexts } } }, args: "IP=10.10.0.1" },
      4,
      "the 'ip' field is expected to be in CIDR notation, got: '10.10.0.1'",
    ],
    [
      "no prefix in args",
      { config: { ipam: {}, args: { cni: { ips: ["10.10.0.1"] } } } },
      7,
      "args.cni.ips[0]: an entry in the 'ips' field is NOT in CIDR notation, got: '10.10.0.1'",
    ],
    [
      "no prefix in the capability",
      { config: { ipam: {}, runtimeConfig: { ips: ["10.10.0.1"] } } },
      7,
      "runtimeConfig.ips[0]: an entry in the 'ips' field is NOT in CIDR notation, got: '10.10.0.1'",
    ],
    [
      "a gateway that is no address",
      { config: { ipam: {} }, args: "IP=10.10.0.1/24;GATEWAY=10.10.0" },
      4,
      "invalid gateway address: 10.10.0",
    ],
    ["unknown CNI_ARGS", { config: { ipam: {} }, args: "X=Y" }, 4, "unknown args"],
  ] as const
) {
  Deno.test(`ADD refuses ${title}: ${message}`, async () => {
    const { code: found, msg } = await error("ADD", { config: {}, ...test } as unknown as TestCall);
    assertEquals(found, code);
    assertStringIncludes(msg, message);
  });
}

/** The result of an ADD, as a runtime hands it back. */
function after(ipam: JsonObject, ...ips: JsonObject[]): TestCall {
  return { config: { ipam, prevResult: { cniVersion: "1.1.0", ips } } };
}

Deno.test("CHECK wants the result to hold the addresses with their gateways", async () => {
  const ipam = { addresses: [{ address: "10.10.0.1/24", gateway: "10.10.0.254" }] };
  await call(plugin, "CHECK", after(ipam, { address: "10.10.0.1/16", gateway: "10.10.0.254" }));
  const other = await error(
    "CHECK",
    after(ipam, { address: "10.10.0.1/24", gateway: "10.10.0.1" }),
  );
  assertEquals(other.code, codes.checkFailed);
  assertStringIncludes(other.msg, "gateway of 10.10.0.1 is 10.10.0.1 instead of 10.10.0.254");
  const absent = await error("CHECK", after(ipam, { address: "10.10.0.2/24" }));
  assertStringIncludes(absent.msg, "the result of ADD has no address 10.10.0.1");
  const none = await error("CHECK", { config: { ipam } });
  assertEquals(none.msg, "Required prevResult missing");
  const free = { addresses: [{ address: "10.10.0.1/24" }] };
  await call(plugin, "CHECK", after(free, { address: "10.10.0.1/24", gateway: "10.10.0.9" }));
});

Deno.test("DEL, GC and STATUS have nothing to do; DEL does not mind a broken configuration", async () => {
  await call(plugin, "DEL", { config: { ipam: 7 }, containerId: "unknown", args: "nonsense" });
  await call(plugin, "GC", { config: { ipam: {}, "cni.dev/valid-attachments": [] } });
  await call(plugin, "STATUS", { config: { ipam: full } });
});

Deno.test("callers need no interface for it, and release last", () => {
  assertEquals(plugin.ipam, testTraits.local);
});
