import { assertEquals, assertThrows } from "@std/assert";
import type { JsonObject } from "../../../cni/types.ts";
import type { Conf } from "./conf.ts";
import { decodeForRemoval, decodeOrThrow } from "../../../cni/decode.ts";
import { CniError } from "../../../cni/error.ts";
import { clientId } from "../codec/testing_message4.ts";
import { clientSettings4 } from "./client_settings.ts";
import { confDecoder, dhcpFamilies } from "./conf.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };

const defaults: Conf = {
  socket: "/run/cni/dhcp.sock",
  ipv4: "dhcp",
  ipv6: "none",
  provide: [],
  request: [],
  priority: 0,
  oneShot: false,
  timeout: 90_000,
};

function decode(ipam: JsonObject): Conf {
  return decodeOrThrow(confDecoder, { ipam: { type: "dhcp", ...ipam } }, "network configuration");
}

Deno.test("an empty section has defaults", () => assertEquals(decode({}), defaults));

Deno.test("every key counts", () => {
  assertEquals(
    decode({
      daemonSocketPath: "/run/other.sock",
      ipv4: "none",
      ipv6: "slaac",
      provide: [{ option: "12", value: "host" }, { option: "host-name", fromArg: "K8S_POD_NAME" }],
      request: [{ skipDefault: true }, { option: "121" }],
      priority: 50,
      oneShot: true,
      timeout: 30_000,
    }),
    {
      socket: "/run/other.sock",
      ipv4: "none",
      ipv6: "slaac",
      provide: [
        { option: "12", value: "host", fromArg: undefined },
        { option: "host-name", value: undefined, fromArg: "K8S_POD_NAME" },
      ],
      request: [{ skipDefault: true, option: undefined }, {
        skipDefault: undefined,
        option: "121",
      }],
      priority: 50,
      oneShot: true,
      timeout: 30_000,
    },
  );
});

const wrong: readonly [ipam: JsonObject, says: string][] = [
  [{ provide: [{ option: "doNotparseMe" }] }, "ipam.provide[0]: Can not parse option"],
  [{ provide: [{ option: "12", value: "x".repeat(256) }] }, "ipam.provide[0]: value too long for"],
  [{ provide: [{ option: "53", value: "x" }] }, "ipam.provide[0]: Cannot provide option"],
  [{ provide: [{ value: "x" }] }, "ipam.provide[0].option: expected string"],
  [{ request: [{ option: "256" }] }, "ipam.request: Can not parse option"],
  [{ priority: -1 }, "ipam.priority: expected integer"],
  [{ daemonSocketPath: "dhcp.sock" }, "ipam.daemonSocketPath: expected absolute path"],
  [{ timeout: 0 }, "ipam.timeout: expected integer"],
  [{ ipv4: "none" }, "ipam.ipv6: expected dhcp or slaac where ipv4 is none"],
  [{ ipv4: "none", ipv6: "none" }, "ipam.ipv6: expected dhcp or slaac where ipv4 is none"],
  [{ ipv4: "slaac" }, "ipam.ipv4: expected"],
  [{ ipv6: true }, "ipam.ipv6: expected"],
  [{ oneShot: "yes" }, "ipam.oneShot: expected boolean"],
];

for (const [ipam, says] of wrong) {
  Deno.test(`refused: ${says}`, () => {
    assertThrows(() => decode(ipam), CniError, says);
  });
}

Deno.test("a configuration without the section is refused, and no reason for a DEL to fail", () => {
  assertThrows(
    () => decodeOrThrow(confDecoder, {}, "network configuration"),
    CniError,
    "IPAM config missing 'ipam' key",
  );
  assertEquals(decodeForRemoval(confDecoder, {}, "network configuration"), defaults);
  const broken = { ipam: { provide: [{ option: "no" }], priority: "much" } };
  assertEquals(decodeForRemoval(confDecoder, broken, "network configuration").priority, 0);
});

Deno.test("familiesOf() gives what DHCP is to bring, and names it where there are two", () => {
  const of = (ipv4: Conf["ipv4"], ipv6: Conf["ipv6"]) =>
    dhcpFamilies({ ipv4, ipv6 }).map(({ family, label }) => `${family} ${label}`);
  assertEquals(of("dhcp", "none"), ["4 "]);
  assertEquals(of("dhcp", "dhcp"), ["4 IPv4", "6 IPv6"]);
  assertEquals(of("dhcp", "slaac"), ["4 IPv4"]);
  assertEquals(of("none", "dhcp"), ["6 IPv6"]);
  assertEquals(of("none", "slaac"), []);
});

Deno.test("askOf() names the attachment, and takes values from CNI_ARGS", () => {
  const conf = decode({
    provide: [{ option: "host-name", fromArg: "K8S_POD_NAME" }],
    request: [{ option: "121" }],
    priority: 50,
  });
  const args = "IgnoreUnknown=1;K8S_POD_NAME=web";
  assertEquals(clientSettings4(conf, { attachment, args, broadcast: true }), {
    clientId,
    requested: [121, 3, 1],
    provided: new Map([[12, new TextEncoder().encode("web")]]),
    broadcast: true,
    priority: 50,
  });
});
