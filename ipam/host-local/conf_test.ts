import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { decodeForRemoval, decodeOrThrow } from "../../cni/decode.ts";
import { CniError } from "../../cni/error.ts";
import type { JsonObject } from "../../cni/types.ts";
import { formatIp } from "../../host/ip.ts";
import type { Conf } from "./conf.ts";
import { confDecoder } from "./conf.ts";
import { formatSet } from "./range.ts";

function decode(config: JsonObject): Conf {
  return decodeOrThrow(confDecoder, { cniVersion: "1.1.0", ...config }, "it");
}

function setsOf(config: JsonObject): string[] {
  return decode(config).sets.map(formatSet);
}

function refusal(config: JsonObject): string {
  const error = assertThrows(() => decode(config), CniError);
  assertEquals(error.code, 7);
  return error.msg;
}

Deno.test("a range directly in ipam is one set", () => {
  const { sets } = decode({
    ipam: {
      subnet: "10.1.2.0/24",
      rangeStart: "10.1.2.9",
      rangeEnd: "10.1.2.20",
      gateway: "10.1.2.30",
    },
  });
  assertEquals(sets.map(formatSet), ["10.1.2.9-10.1.2.20"]);
  assertEquals(formatIp(sets[0]![0]!.gateway), "10.1.2.30");
});

Deno.test("range keys without a subnet are ignored", () => {
  const ipam = {
    gateway: "10.1.2.30",
    rangeStart: "10.1.2.9",
    ranges: [[{ subnet: "10.0.0.0/8" }]],
  };
  assertEquals(setsOf({ ipam }), ["10.0.0.1-10.255.255.254"]);
});

Deno.test("two sets, the first with two ranges", () => {
  const ranges = [
    [{ subnet: "10.1.2.0/24", rangeStart: "10.1.2.9", rangeEnd: "10.1.2.20" }, {
      subnet: "10.1.4.0/24",
    }],
    [{
      subnet: "11.1.2.0/24",
      rangeStart: "11.1.2.9",
      rangeEnd: "11.1.2.20",
      gateway: "11.1.2.30",
    }],
  ];
  assertEquals(setsOf({ ipam: { ranges } }), [
    "10.1.2.9-10.1.2.20,10.1.4.1-10.1.4.254",
    "11.1.2.9-11.1.2.20",
  ]);
});

Deno.test("the capability's sets come first, then the legacy range, then ranges", () => {
  const config = {
    RuntimeConfig: { ipRanges: [[{ subnet: "12.1.3.0/24" }]], unknown: 1 },
    ipam: { subnet: "10.1.2.0/24", ranges: [[{ subnet: "11.1.2.0/24" }]] },
  };
  assertEquals(setsOf(config), [
    "12.1.3.1-12.1.3.254",
    "10.1.2.1-10.1.2.254",
    "11.1.2.1-11.1.2.254",
  ]);
});

Deno.test("requests of args come before those of the capability, prefixes ignored", () => {
  const { requests } = decode({
    args: { cni: { ips: ["10.1.2.11/24", "2001:db8::7"] } },
    runtimeConfig: { ips: ["192.168.0.1", "192.168.0.5/24", "2001:db8::1/64"] },
    ipam: { subnet: "10.1.2.0/24" },
  });
  assertEquals(requests.map(formatIp), [
    "10.1.2.11",
    "2001:db8::7",
    "192.168.0.1",
    "192.168.0.5",
    "2001:db8::1",
  ]);
});

Deno.test("defaults are the reference's", () => {
  const { dataDir, keepAcrossReboot, onDuplicate, resolvConf, exclude, routes } = decode({
    ipam: { subnet: "10.1.2.0/24" },
  });
  assertEquals([dataDir, keepAcrossReboot, onDuplicate, resolvConf, exclude, routes], [
    "/var/lib/cni/networks",
    false,
    "reuse",
    undefined,
    [],
    [],
  ]);
});

for (
  const [config, message] of [
    [{}, "IPAM config missing 'ipam' key"],
    [{ ipam: { type: "host-local" } }, "ipam: no IP ranges specified"],
    [{ ipam: { ranges: [[]] } }, "ipam: invalid range set 0: empty range set"],
    [{ ipam: { ranges: [[{}]] } }, "ipam.ranges[0][0].subnet: expected IP address with prefix"],
    [{ ipam: { subnet: "10.1.2.0/31" } }, "ipam.subnet: Network 10.1.2.0/31 too small"],
    [
      { ipam: { ranges: [[{ subnet: "10.1.0.0/16" }], [{ subnet: "10.1.2.0/24" }]] } },
      "ipam: range set 0 overlaps with 1",
    ],
    [
      { ipam: { ranges: [[{ subnet: "10.1.0.0/22" }, { subnet: "10.1.2.0/24" }]] } },
      "invalid range set 0: subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap",
    ],
    [
      { ipam: { ranges: [[{ subnet: "10.1.0.0/22" }, { subnet: "2001:db8:5::/64" }]] } },
      "invalid range set 0: mixed address families",
    ],
    [
      {
        cniVersion: "0.2.0",
        ipam: { ranges: [[{ subnet: "10.1.0.0/22" }], [{ subnet: "10.2.0.0/22" }]] },
      },
      "CNI version 0.2.0 does not support more than 1 address per family",
    ],
    [
      { args: { cni: { ips: [""] } }, ipam: { subnet: "10.1.2.0/24" } },
      "args.cni.ips[0]: expected IP address with or without prefix length",
    ],
    [
      { ipam: { subnet: "10.1.2.0/24", dataDir: "networks" } },
      "ipam.dataDir: expected absolute path",
    ],
    [
      { ipam: { subnet: "10.1.2.0/24", onDuplicate: "ignore", lockTimeout: 0 } },
      'ipam.onDuplicate: expected "reuse" or "error" but received "ignore"; ipam.lockTimeout',
    ],
    [
      { ipam: { subnet: "10.1.2.0/24", routes: [{ dst: "10.0.0.0/8" }, { gw: "10.0.0.1" }] } },
      "ipam.routes[1].dst: expected",
    ],
  ] as const
) {
  Deno.test(`refused: ${JSON.stringify(config)}`, () => {
    assertStringIncludes(refusal(config as unknown as JsonObject), message);
  });
}

Deno.test("an empty version is 0.1.0: one address of each family", () => {
  const ranges = [[{ subnet: "10.1.0.0/22" }], [{ subnet: "10.2.0.0/22" }]];
  assertStringIncludes(refusal({ cniVersion: "", ipam: { ranges } }), "more than 1 address");
});

Deno.test("a removal finds the data directory whatever else is wrong", () => {
  const broken = {
    cniVersion: 7,
    ipam: { dataDir: "/data", ranges: "none", routes: [{}], lockTimeout: "1s" },
    args: [],
  };
  const { dataDir, lockTimeout } = decodeForRemoval(confDecoder, broken, "it");
  assertEquals([dataDir, lockTimeout], ["/data", 10_000]);
  assertEquals(decodeForRemoval(confDecoder, {}, "it").dataDir, "/var/lib/cni/networks");
});
