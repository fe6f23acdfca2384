import { assert, assertEquals } from "@std/assert";
import { burstWarnings, tbfOf } from "./bucket.ts";

const around = { mtu: 1500, latency: 25 };

Deno.test("tbfOf() has the reference's arithmetic", () => {
  assertEquals(tbfOf({ rate: 1000, burst: 10 }, around), { rate: 1000, burst: 10, limit: 35 });
  assertEquals(tbfOf({ rate: 1, burst: 1 }, around), { rate: 1, burst: 1, limit: 1 });
  assertEquals(tbfOf({ rate: 2, burst: 2 }, around).limit, 2);
});

Deno.test("tbfOf() of a rate beyond 32 bits", () => {
  const rate = 2 ** 33;
  assertEquals(tbfOf({ rate, burst: 1e6 }, around), {
    rate,
    burst: 1e6,
    limit: 214_748_364 + 1_000_000,
  });
  assertEquals(tbfOf({ rate: 2 ** 40, burst: undefined }, around).limit, 2 ** 32 - 1);
});

Deno.test("tbfOf() counts with another latency", () => {
  assertEquals(tbfOf({ rate: 1000, burst: 10 }, { ...around, latency: 100 }).limit, 110);
});

Deno.test("a default burst is some packets, or 25 ms of the rate", () => {
  const burst = (bits: number, mtu = 1500) =>
    tbfOf({ rate: bits / 8, burst: undefined }, { ...around, mtu }).burst;
  assertEquals(burst(1e6), 16_384);
  assertEquals(burst(1e7), 31_250);
  assertEquals(burst(1e9), 3_125_000);
  assertEquals(burst(1e6, 65_535), 65_553);
});

Deno.test("a default burst adds at most 5 % to what passes in 3 s, and 20 % to the first second", () => {
  for (const bits of [1e6, 1e7, 1e8, 1e9]) {
    const { rate, burst } = tbfOf({ rate: bits / 8, burst: undefined }, around);
    assert(burst <= 0.05 * 3 * rate, `${bits} bit/s`);
    assert(burst <= 0.2 * rate, `${bits} bit/s`);
  }
});

Deno.test("a burst whose time the kernel cannot count is cut", () => {
  assertEquals(tbfOf({ rate: 1000, burst: 2 ** 28 - 1 }, around).burst, 274_000);
});

Deno.test("a burst smaller than a packet is worth a line", () => {
  const lines = (burst: number) =>
    burstWarnings({ rate: 2000, burst, limit: burst }, { mtu: 1500, what: "ingressBurst" });
  assertEquals(lines(1514), []);
  assertEquals(lines(1513), [
    "ingressBurst of 1513 bytes is smaller than a packet of MTU 1500: such packets get lost",
  ]);
  assertEquals(lines(2000), []);
  assertEquals(lines(2001), [
    "ingressBurst of 2001 bytes is more than the rate gives in a second: all of it passes at once",
  ]);
});
