import { assertEquals, assertThrows } from "@std/assert";
import { decodeOrThrow } from "../../cni/decode.ts";
import { CniError } from "../../cni/error.ts";
import type { JsonObject } from "../../cni/types.ts";
import { conf, delegateConf, readSubnetEnv } from "./conf.ts";

const ipv4 = {
  FLANNEL_NETWORK: "10.1.0.0/16",
  FLANNEL_SUBNET: "10.1.17.1/24",
  FLANNEL_MTU: "1472",
  FLANNEL_IPMASQ: "true",
};
const ipv6 = { FLANNEL_IPV6_NETWORK: "fc00::/48", FLANNEL_IPV6_SUBNET: "fc00::1/64" };

/** Writes flanneld's file and reads it. */
function envOf(values: Record<string, string>) {
  const path = Deno.makeTempFileSync();
  try {
    const lines = Object.entries(values).map(([key, value]) => `${key}=${value}\n`);
    Deno.writeTextFileSync(path, lines.join(""));
    return readSubnetEnv(path);
  } finally {
    Deno.removeSync(path);
  }
}

function decode(config: JsonObject) {
  return decodeOrThrow(conf, config, "network configuration");
}

function build(config: JsonObject = {}, values: Record<string, string> = ipv4): JsonObject {
  return delegateConf(decode(config), { name: "cni-flannel", env: envOf(values) });
}

const plain = {
  ipMasq: false,
  mtu: 1472,
  isGateway: true,
  name: "cni-flannel",
  type: "bridge",
};

Deno.test("delegateConf() makes a bridge with flannel's subnet", () => {
  assertEquals(build(), {
    ...plain,
    ipam: {
      type: "host-local",
      ranges: [[{ subnet: "10.1.17.0/24" }]],
      routes: [{ dst: "10.1.0.0/16" }],
    },
  });
});

Deno.test("delegateConf() has a range a family, and a route a network", () => {
  const ipamOf = (values: Record<string, string>) => build({}, values)["ipam"] as JsonObject;
  assertEquals(ipamOf({ ...ipv4, ...ipv6 }), {
    type: "host-local",
    ranges: [[{ subnet: "10.1.17.0/24" }], [{ subnet: "fc00::/64" }]],
    routes: [{ dst: "10.1.0.0/16" }, { dst: "fc00::/48" }],
  });
  const { FLANNEL_NETWORK: _, FLANNEL_SUBNET: __, ...rest } = ipv4;
  assertEquals(ipamOf({ ...rest, ...ipv6 })["ranges"], [[{ subnet: "fc00::/64" }]]);
  const two = { ...ipv4, FLANNEL_NETWORK: "10.1.0.0/16,192.168.0.0/16,10.1.0.0/16" };
  assertEquals(ipamOf(two)["routes"], [{ dst: "10.1.0.0/16" }, { dst: "192.168.0.0/16" }]);
});

Deno.test("delegateConf() keeps what the delegate has", () => {
  const delegate = { bridge: "mynet0", mtu: 1400, ipMasq: true, isGateway: false };
  const built = build({ delegate });
  assertEquals({ ...built, ...delegate }, built);
  assertEquals(build({}, { ...ipv4, FLANNEL_IPMASQ: "false" })["ipMasq"], true);
  assertEquals(build({}, { ...ipv4, FLANNEL_IPMASQ: "TRUE" })["ipMasq"], true);
});

Deno.test("delegateConf() gives only a bridge a gateway", () => {
  const built = build({ delegate: { type: "ipvlan", master: "eth0" } });
  assertEquals([built["type"], built["mtu"], "isGateway" in built], ["ipvlan", 1472, false]);
});

Deno.test("delegateConf() keeps the configured ipam, flannel's routes last", () => {
  const ipam = {
    type: "my-ipam",
    dataDir: "/x",
    "unknown-param": "unknown-value",
    routes: [{ dst: "10.96.0.0/12" }, { dst: "192.168.244.0/24", gw: "10.1.17.20" }],
  };
  assertEquals(build({ ipam })["ipam"], {
    ...ipam,
    ranges: [[{ subnet: "10.1.17.0/24" }]],
    routes: [...ipam.routes, { dst: "10.1.0.0/16" }],
  });
});

Deno.test("delegateConf() puts flannel's range in place of any other", () => {
  const ipam = { subnet: "10.9.0.0/24", rangeStart: "10.9.0.9", RangeEnd: "10.9.0.99" };
  const { env, ...rest } = { env: envOf(ipv4), name: "pods" };
  const config = delegateConf(decode({ ipam: { ...ipam, gateway: "10.9.0.1" } }), { ...rest, env });
  assertEquals(Object.keys(config["ipam"] as JsonObject), ["type", "ranges", "routes"]);
  const removal = delegateConf(decode({ ipam }), { ...rest, env: undefined });
  assertEquals(removal["ipam"], { type: "host-local", ...ipam });
});

Deno.test("delegateConf() passes the runtime's values on", () => {
  const runtimeConfig = { portMappings: [{ hostPort: 80, containerPort: 80 }] };
  assertEquals(build({ runtimeConfig })["runtimeConfig"], runtimeConfig);
  assertEquals("runtimeConfig" in build(), false);
});

Deno.test("a delegate without what flannel sets itself", () => {
  const bad: [delegate: JsonObject, message: string][] = [
    [{ name: "x" }, "delegate.name: expected nothing: flannel sets it itself"],
    [{ ipam: {} }, "delegate.ipam: expected nothing: flannel sets it itself"],
    [{ type: 1 }, "delegate.type: expected type of a plugin but received 1"],
    [{ type: "../x" }, 'delegate.type: expected type of a plugin but received "../x"'],
  ];
  for (const [delegate, message] of bad) {
    assertThrows(() => decode({ delegate }), CniError, message);
  }
});

Deno.test("readSubnetEnv() splits at the first sign and passes over what it does not know", () => {
  const more = { "# made by": "flanneld", FLANNEL_LATER: "a=b=c", "": "" };
  assertEquals(envOf({ ...more, ...ipv4 }), envOf(ipv4));
  assertThrows(
    () => envOf({ ...ipv4, FLANNEL_SUBNET: "10.1.17.1/24=x" }),
    CniError,
    'FLANNEL_SUBNET: expected IPv4 prefix but received "10.1.17.1/24=x"',
  );
});

Deno.test("readSubnetEnv() says what a file lacks", () => {
  assertThrows(
    () => envOf({ FLANNEL_SUBNET: "10.1.17.1/24" }),
    CniError,
    "it lacks FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_MTU, FLANNEL_IPMASQ",
  );
  assertThrows(
    () => envOf({ ...ipv4, FLANNEL_SUBNET: "10.1.17/24" }),
    CniError,
    'FLANNEL_SUBNET: expected IPv4 prefix but received "10.1.17/24"',
  );
  assertThrows(() => envOf({ ...ipv4, FLANNEL_SUBNET: "fd00::1/64" }), CniError, "FLANNEL_SUBNET");
  assertThrows(
    () => envOf({ ...ipv4, FLANNEL_IPV6_SUBNET: "fd00:1::1/64" }),
    CniError,
    "it lacks FLANNEL_IPV6_NETWORK",
  );
  assertThrows(
    () => envOf({ ...ipv4, FLANNEL_IPV6_NETWORK: "fd00::/48" }),
    CniError,
    "it lacks FLANNEL_IPV6_SUBNET",
  );
  assertThrows(() => envOf({ ...ipv4, FLANNEL_MTU: "-1" }), CniError, "FLANNEL_MTU");
  const error = assertThrows(() => readSubnetEnv("/nowhere/subnet.env"), CniError);
  assertEquals(error.code, 11);
});
