import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { decodeForRemoval, decodeOrThrow } from "../../cni/decode.ts";
import { CniError, codes } from "../../cni/error.ts";
import type { JsonObject } from "../../cni/types.ts";
import { conf } from "./conf.ts";

function decode(config: JsonObject) {
  return decodeOrThrow(conf, config, "network configuration");
}

const defaults = {
  backend: undefined,
  ingressPolicy: "open",
  iptablesAdminChainName: "CNI-ADMIN",
  firewalldZone: "trusted",
  mark: undefined,
  insertInto: [],
} as const;

Deno.test("defaults are the reference's", () => {
  assertEquals(decode({}), { ...defaults, insertInto: [] });
});

Deno.test("empty text counts as absent", () => {
  const empty = { backend: "", ingressPolicy: "", iptablesAdminChainName: "", firewalldZone: "" };
  assertEquals(decode(empty), { ...defaults, insertInto: [] });
});

Deno.test("keys match in any letter case, and `zone` is not one", () => {
  const value = decode({ Backend: "firewalld", FIREWALLDZONE: "internal", zone: "work" });
  assertEquals([value.backend, value.firewalldZone], ["firewalld", "internal"]);
});

Deno.test("insertInto takes one place or several", () => {
  const place = { family: "inet", table: "filter", chain: "forward" } as const;
  const other = { family: "ip6", table: "my.filter", chain: "my-chain" } as const;
  assertEquals(decode({ insertInto: place }).insertInto, [place]);
  assertEquals(decode({ insertInto: [place, other] }).insertInto, [place, other]);
});

const refused: readonly (readonly [JsonObject, string])[] = [
  [{ backend: "iptable" }, 'backend: unknown backend: "iptable"'],
  [{ backend: 1 }, "backend: expected "],
  [{ ingressPolicy: "closed" }, 'ingressPolicy: unknown ingress policy: "closed"'],
  [{ iptablesAdminChainName: "-N" }, "iptablesAdminChainName: expected name of a chain"],
  [{ iptablesAdminChainName: "a b" }, "iptablesAdminChainName: expected name of a chain"],
  [{ iptablesAdminChainName: "x".repeat(29) }, "iptablesAdminChainName: expected"],
  // A jump there would let everything pass, or lead in a circle.
  [{ iptablesAdminChainName: "ACCEPT" }, "iptablesAdminChainName: expected name of a chain"],
  [{ iptablesAdminChainName: "CNI-FORWARD" }, "iptablesAdminChainName: expected"],
  [{ iptablesAdminChainName: "FORWARD" }, "iptablesAdminChainName: expected"],
  [{ firewalldZone: "--help" }, "firewalldZone: expected name of a zone"],
  [{ mark: 0 }, "mark: expected integer 1–4294967295"],
  [{ mark: "0x1" }, "mark: expected integer"],
  [{ mark: 2 ** 32 }, "mark: expected integer"],
  [{ insertInto: {} }, "insertInto.family: expected"],
  [{ insertInto: { family: "bridge", table: "t", chain: "c" } }, "insertInto.family: expected"],
  [{ insertInto: [{ family: "ip", table: "t;", chain: "c" }] }, "insertInto[0].table: expected"],
  [{ insertInto: { family: "ip", table: "t", chain: "c { }" } }, "insertInto.chain: expected"],
  [{ insertInto: "forward" }, "insertInto: expected object"],
  [{ backend: "iptables", mark: 1 }, 'mark: only backend "nftables" understands it'],
  [
    { backend: "firewalld", insertInto: { family: "ip", table: "t", chain: "c" } },
    'insertInto: only backend "nftables" understands it',
  ],
];

for (const [config, message] of refused) {
  Deno.test(`refused: ${JSON.stringify(config)}`, () => {
    const error = assertThrows(() => decode(config), CniError);
    assertEquals(error.code, codes.invalidNetworkConfig);
    assertStringIncludes(error.msg, message);
  });
  Deno.test(`a removal goes on with ${JSON.stringify(config)}`, () => {
    decodeForRemoval(conf, config, "network configuration");
  });
}
