import { assertEquals } from "@std/assert";
import { decodeOrThrow } from "../cni/decode.ts";
import { dnsDecoder } from "../cni/sections.ts";
import type { Dns } from "../cni/types.ts";
import { overrideDns } from "./dns.ts";

const ipam: Dns = { nameservers: ["10.0.0.1"], domain: "ipam.example", search: ["a"], options: [] };

const configured: readonly (readonly [title: string, Record<string, unknown>])[] = [
  ["name servers", { nameservers: ["10.0.0.9"] }],
  ["a domain", { domain: "x.example" }],
  ["search domains", { search: ["x"] }],
  ["options", { options: ["ndots:5"] }],
  ["an empty list", { nameservers: [] }],
  ["three empty lists", { nameservers: [], search: [], options: [] }],
];
for (const [title, dns] of configured) {
  Deno.test(`a configuration with ${title} replaces all that IPAM says`, () => {
    assertEquals(overrideDns(decodeOrThrow(dnsDecoder, dns, "dns"), ipam), dns as Dns);
  });
}

Deno.test("IPAM's dns stays where the configuration says nothing", () => {
  assertEquals(overrideDns(undefined, ipam), ipam);
  for (const dns of [{}, { domain: "" }, { nameservers: null }]) {
    assertEquals(overrideDns(decodeOrThrow(dnsDecoder, dns, "dns"), ipam), ipam);
  }
});
