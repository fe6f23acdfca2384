import { assertEquals } from "@std/assert";
import type { Decoder, Issue } from "./decode.ts";
import { dnsDecoder, ipamDecoder, ipOrEmpty, routeDecoder } from "./sections.ts";

function decode<T>(
  decoder: Decoder<T>,
  value: unknown,
): [T | undefined, Issue[]] {
  const issues: Issue[] = [];
  return [decoder.decode(value, "at", issues), issues];
}

Deno.test("a route keeps the host bits of its destination", () => {
  assertEquals(decode(routeDecoder, { dst: "3ffe:ffff:0:01ff::1/64" }), [
    { dst: "3ffe:ffff:0:1ff::1/64" },
    [],
  ]);
});

Deno.test("a route carries every field, and keys match whatever their case", () => {
  const all = {
    DST: "10.0.0.0/8",
    Gw: "10.1.2.1",
    mtu: 1400,
    AdvMSS: 1360,
    priority: 100,
    table: 0,
    scope: 0,
  };
  assertEquals(decode(routeDecoder, all), [{
    dst: "10.0.0.0/8",
    gw: "10.1.2.1",
    mtu: 1400,
    advmss: 1360,
    priority: 100,
    table: 0,
    scope: 0,
  }, []]);
});

Deno.test("a route's empty gateway and zero sizes count as absent", () => {
  const zero = { dst: "0.0.0.0/0", gw: "", mtu: 0, advmss: 0, priority: 0 };
  assertEquals(decode(routeDecoder, zero), [{ dst: "0.0.0.0/0" }, []]);
});

Deno.test("a route without destination, or with a wrong one, is an issue with its path", () => {
  for (const dst of [undefined, "", "10.0.0.1", 7]) {
    const [route, issues] = decode(routeDecoder, { dst });
    assertEquals(route, undefined);
    assertEquals(issues.map(({ path }) => path), ["at.dst"]);
  }
  const [, issues] = decode(routeDecoder, { dst: "::/0", mtu: -1, gw: "x" });
  assertEquals(issues.map(({ path }) => path), ["at.gw", "at.mtu"]);
});

Deno.test("the dns section keeps an empty list and leaves out an empty domain", () => {
  const given = {
    nameservers: ["192.0.2.1"],
    domain: "",
    search: [],
    options: null,
  };
  assertEquals(decode(dnsDecoder, given), [
    { nameservers: ["192.0.2.1"], search: [] },
    [],
  ]);
  assertEquals(decode(dnsDecoder, {}), [{}, []]);
});

Deno.test("the ipam section without a type means no addresses", () => {
  assertEquals(decode(ipamDecoder, {})[0], { type: "" });
  assertEquals(decode(ipamDecoder, { type: "host-local", subnet: 1 })[0], {
    type: "host-local",
  });
});

Deno.test("an empty address counts as absent, any other must be one", () => {
  assertEquals(decode(ipOrEmpty(), ""), [undefined, []]);
  assertEquals(decode(ipOrEmpty(), "2001:DB8::1"), ["2001:db8::1", []]);
  assertEquals(decode(ipOrEmpty(), "10.0.0.1/8")[1].length, 1);
});
