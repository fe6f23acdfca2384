import { assertEquals, assertThrows } from "@std/assert";
import { decodeForRemoval, decodeOrThrow } from "../../cni/decode.ts";
import { CniError } from "../../cni/error.ts";
import type { JsonObject } from "../../cni/types.ts";
import { formatIp } from "../../host/ip.ts";
import { conf, staticGateway } from "./conf.ts";

const decode = (config: JsonObject) => decodeOrThrow(conf, config, "configuration");

Deno.test("gateways are for their families", () => {
  const both = decode({ gateways: ["192.168.1.254", "FD00::1"] });
  assertEquals(([4, 6] as const).map((family) => formatIp(staticGateway(both, family)!)), [
    "192.168.1.254",
    "fd00::1",
  ]);
  const one = decode({ gateways: ["fd00::1"] });
  assertEquals(staticGateway(one, 4), undefined);
  assertEquals(decode({}), { table: undefined, gateways: undefined, addSourceHints: false });
  assertEquals(decode({ gateways: [] }).gateways, []);
});

Deno.test("gateways are refused in the words of the reference", () => {
  const bad: [string[], string][] = [
    [
      ["1.1.1.1", "fd00::1", "2.2.2.2"],
      "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)",
    ],
    [["10.0.0"], "invalid static gateway IP address: 10.0.0"],
    [
      ["10.0.0.1", "10.0.0.2"],
      "gateways list contains multiple IPv4 addresses: 10.0.0.1 and 10.0.0.2",
    ],
    [["fd00::1", "fd00::2"], "gateways list contains multiple IPv6 addresses: fd00::1 and fd00::2"],
  ];
  for (const [gateways, message] of bad) {
    assertThrows(() => decode({ gateways }), CniError, message);
    // With a table of its own they do not matter.
    assertEquals(decode({ gateways, table: 5000 }).table, 5000);
  }
});

Deno.test("what is of another type is refused, and passed over by a removal", () => {
  const bad: JsonObject[] = [
    { table: "5000" },
    { table: 0 },
    { table: -1 },
    { table: 2 ** 32 },
    {
      gateways: "10.0.0.1",
    },
    { gateways: [1] },
    { addSourceHints: 1 },
  ];
  for (const config of bad) {
    assertThrows(() => decode(config), CniError, Object.keys(config)[0]!);
    assertEquals(decodeForRemoval(conf, config, "it").addSourceHints, false);
  }
});
