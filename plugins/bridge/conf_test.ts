import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { decodeForRemoval, decodeOrThrow } from "../../cni/decode.ts";
import { CniError } from "../../cni/error.ts";
import { conf } from "./conf.ts";
import { trunkIds, vlanGatewayNames } from "./vlan.ts";

const decode = (keys: Record<string, unknown>) => decodeOrThrow(conf, keys, "configuration");

function refusal(keys: Record<string, unknown>): string {
  const error = assertThrows(() => decode(keys), CniError);
  assertEquals(error.code, 7);
  return error.msg;
}

Deno.test("conf has the reference's defaults", () => {
  const { bridge, isGateway, forceAddress, vlan, mtu, preserveDefaultVlan, ipam } = decode({});
  assertEquals({ bridge, isGateway, forceAddress, vlan, mtu, preserveDefaultVlan, ipam }, {
    bridge: "cni0",
    isGateway: false,
    forceAddress: false,
    vlan: 0,
    mtu: 0,
    preserveDefaultVlan: false,
    ipam: { type: "" },
  });
});

Deno.test("conf makes a default gateway a gateway", () => {
  assertEquals(decode({ isDefaultGateway: true }).isGateway, true);
});

Deno.test("conf matches keys without regard to case", () => {
  assertEquals(
    decode({ RuntimeConfig: { mac: "02:00:00:00:00:0A" } }).runtimeConfig?.mac,
    "02:00:00:00:00:0a",
  );
});

Deno.test("conf refuses VLAN IDs out of range with the reference's text", () => {
  for (const vlan of [-100, 5000]) {
    assertStringIncludes(
      refusal({ vlan }),
      `invalid VLAN ID ${vlan} (must be between 0 and 4094)`,
    );
  }
  assertEquals(decode({ vlan: 0 }).vlan, 0);
});

const badTrunks: readonly (readonly [Record<string, number>, string])[] = [
  [{ minID: -1, maxID: 4 }, "incorrect trunk minID parameter"],
  [{ minID: 5000, maxID: 5001 }, "incorrect trunk minID parameter"],
  [{ minID: 1, maxID: 5000 }, "incorrect trunk maxID parameter"],
  [{ minID: 1, maxID: -1 }, "incorrect trunk maxID parameter"],
  [{ id: 5000 }, "incorrect trunk id parameter"],
  [{ id: -1 }, "incorrect trunk id parameter"],
  [{ minID: 10, maxID: 5 }, "minID is greater than maxID in trunk parameter"],
  [{ minID: 10 }, "minID and maxID should be configured simultaneously, maxID is missing"],
  [{ maxID: 10 }, "minID and maxID should be configured simultaneously, minID is missing"],
];

Deno.test("conf refuses wrong trunk elements with the reference's texts", () => {
  for (const [element, text] of badTrunks) {
    assertStringIncludes(refusal({ vlanTrunk: [element] }), text);
  }
});

Deno.test("conf names the path of a wrong trunk element", () => {
  assertStringIncludes(refusal({ vlanTrunk: [{ id: 1 }, { id: 5000 }] }), "vlanTrunk[1].id: ");
});

Deno.test("trunkIds() gives a sorted set", () => {
  const ids = (vlanTrunk: unknown[]) => trunkIds(decode({ vlanTrunk }).vlanTrunk!);
  assertEquals(ids([]), []);
  assertEquals(ids([{ minID: 100, maxID: 105 }]), [100, 101, 102, 103, 104, 105]);
  assertEquals(ids([{ id: 10 }]), [10]);
  assertEquals(ids([{ id: 10 }, { minID: 9, maxID: 11 }]), [9, 10, 11]);
  assertEquals(ids([{ minID: 3, maxID: 4, id: 9 }]), [3, 4, 9]);
});

Deno.test("conf refuses what contradicts itself", () => {
  assertStringIncludes(
    refusal({ disableContainerInterface: true, ipam: { type: "static" } }),
    "disableContainerInterface: cannot be used together with IPAM",
  );
  assertStringIncludes(
    refusal({ hairpinMode: true, promiscMode: true }),
    "hairpinMode: cannot be used together with promiscMode",
  );
});

Deno.test("conf refuses names that no interface can have", () => {
  for (const bridge of ["", "../x", "a b", "averyveryverylongname", "..", "br%d", "all"]) {
    assertStringIncludes(refusal({ bridge }), "bridge: expected interface name");
  }
});

Deno.test("vlanGatewayNames() refuses a bridge whose name leaves no room for the VLAN's number", async () => {
  assertEquals((await vlanGatewayNames("elevenchars", 100)).name, "elevenchars.100");
  for (const [bridge, vlan] of [["elevenchars", 1000], ["brücke-zwölf", 1]] as const) {
    const error = await assertRejects(() => vlanGatewayNames(bridge, vlan), CniError);
    assertEquals([error.code, error.msg], [
      7,
      `Cannot use bridge "${bridge}" with VLAN ${vlan}: ` +
      `gateway link "${bridge}.${vlan}" is longer than 15 bytes`,
    ]);
  }
});

Deno.test("a removal goes on with a configuration that no longer validates", () => {
  const decoded = decodeForRemoval(
    conf,
    { bridge: "br0", vlan: 5000, ipMasq: true },
    "configuration",
  );
  assertEquals([decoded.bridge, decoded.vlan, decoded.ipMasq], ["br0", 0, true]);
});
