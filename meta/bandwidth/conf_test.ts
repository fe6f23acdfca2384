import { assert, assertEquals, assertThrows } from "@std/assert";
import { decodeForRemoval, decodeOrThrow } from "../../cni/decode.ts";
import { CniError, codes } from "../../cni/error.ts";
import { formatCidr } from "../../host/ip.ts";
import { conf, hasLimits, replacedBursts, requestedLimits } from "./conf.ts";

const decode = (value: unknown) => decodeOrThrow(conf, value, "network configuration");
const limits = (value: unknown) => requestedLimits(decode(value));

function refused(value: unknown, text: string): void {
  const error = assertThrows(() => decode(value), CniError, text);
  assertEquals(error.code, codes.invalidNetworkConfig);
}

const reference = { burstPolicy: "reference" };

Deno.test("rates and bursts are bits, and become whole bytes", () => {
  const { to, from, subnets, latency, queue } = limits({
    ingressRate: 8007,
    ingressBurst: 87,
    egressRate: 16,
    egressBurst: 9,
  });
  assertEquals([to, from], [{ rate: 1000, burst: 10 }, { rate: 2, burst: 1 }]);
  assertEquals([subnets, latency, queue], [undefined, 25, "fifo"]);
});

Deno.test("nothing and zeros shape nothing", () => {
  assert(!hasLimits(limits({})));
  assert(!hasLimits(limits({ ingressRate: 0, ingressBurst: 0, egressRate: 0, egressBurst: 0 })));
  assert(!hasLimits(limits({ shapedSubnets: ["10.0.0.0/8"] })));
  assert(!hasLimits(limits({ runtimeConfig: {} })));
  assert(!hasLimits(limits({ ingressRate: null })));
});

Deno.test("one direction alone", () => {
  assertEquals(
    limits({ ingressRate: 0, ingressBurst: 0, egressRate: 8000, egressBurst: 80 }).to,
    undefined,
  );
  assertEquals(
    limits({ egressRate: 0, egressBurst: 0, ingressRate: 8000, ingressBurst: 80 }).from,
    undefined,
  );
});

Deno.test("the reference's validator", () => {
  const pair = (rate: number, burst: number) => ({
    ...reference,
    ingressRate: rate,
    ingressBurst: burst,
  });
  decode(pair(5000, 2 ** 35 - 16));
  decode(pair(0, 0));
  refused(pair(5000, 2 ** 35), "ingressBurst: burst cannot be more than 4GB");
  refused(pair(0, 1), "ingressRate: if burst is set, rate must also be set");
  refused(pair(1, 0), "ingressBurst: if rate is set, burst must also be set");
  refused(
    { ...reference, egressRate: 5000 },
    "egressBurst: if rate is set, burst must also be set",
  );
});

Deno.test("a burst without a rate, and one of 4 GB, are refused whatever the policy", () => {
  refused({ ingressRate: 0, ingressBurst: 123 }, "if burst is set, rate must also be set");
  refused({ egressBurst: 123 }, "egressRate: if burst is set, rate must also be set");
  refused({ egressRate: 5000, egressBurst: 2 ** 35 }, "burst cannot be more than 4GB");
});

Deno.test("both directions are named, ingress first", () => {
  refused(
    { ingressBurst: 8, egressBurst: 8 },
    "ingressRate: if burst is set, rate must also be set; egressRate: if burst is set",
  );
});

Deno.test("less than a byte a second, or at once, is refused", () => {
  refused(
    { ingressRate: 7, ingressBurst: 80 },
    "ingressRate: expected at least 8 bits but received 7",
  );
  refused(
    { egressRate: 80, egressBurst: 7 },
    "egressBurst: expected at least 8 bits but received 7",
  );
  decode({ ingressRate: 8, ingressBurst: 8 });
});

Deno.test("negative and fractional numbers, and texts, are refused", () => {
  for (const ingressRate of [-1, 0.5, "8000"]) {
    refused({ ingressRate, ingressBurst: 80 }, "ingressRate: expected integer from 0");
  }
});

Deno.test("without a burst there is a default, in place of Kubernetes' placeholder, too", () => {
  const bursts = [undefined, 0, 2 ** 31 - 1, 2 ** 31, 2 ** 34];
  for (const egressBurst of bursts) {
    assertEquals(limits({ egressRate: 8000, egressBurst }).from, { rate: 1000, burst: undefined });
  }
  assertEquals(limits({ egressRate: 8000, egressBurst: 2 ** 31 - 2 }).from?.burst, 2 ** 28 - 1);
  const given = { ...reference, egressRate: 8000, egressBurst: 2 ** 31 - 1 };
  assertEquals(limits(given).from?.burst, 2 ** 28 - 1);
});

Deno.test("a replaced placeholder is worth a line", () => {
  const given = { ingressRate: 8000, ingressBurst: 80, egressRate: 8000, egressBurst: 2147483647 };
  assertEquals(replacedBursts(decode(given)), [
    "egressBurst 2147483647 is a placeholder: replaced by the default",
  ]);
  assertEquals(replacedBursts(decode({ runtimeConfig: { bandwidth: given } })).length, 1);
  assertEquals(replacedBursts(decode({ ...given, ...reference })), []);
  assertEquals(replacedBursts(decode({ egressRate: 8000 })), []);
});

Deno.test("the runtime's values count, whatever the letters' case", () => {
  const bandWidth = { ingressRate: 8, ingressBurst: 8, egressRate: 16, egressBurst: 9 };
  const { to, from } = limits({ RuntimeConfig: { bandWidth } });
  assertEquals([to, from], [{ rate: 1, burst: 1 }, { rate: 2, burst: 1 }]);
});

Deno.test("any key at the top level makes the runtime's values count for nothing", () => {
  const runtimeConfig = { bandwidth: { ingressRate: 8000, ingressBurst: 80 } };
  assert(hasLimits(limits({ runtimeConfig })));
  assert(!hasLimits(limits({ runtimeConfig, egressRate: 0 })));
  assert(!hasLimits(limits({ runtimeConfig, unshapedSubnets: [] })));
  const { to, from } = limits({ runtimeConfig, egressRate: 800, egressBurst: 80 });
  assertEquals([to, from], [undefined, { rate: 100, burst: 10 }]);
});

Deno.test("invalid values at the top level are refused though the runtime's are valid", () => {
  const runtimeConfig = { bandwidth: { ingressRate: 8, ingressBurst: 8 } };
  refused(
    { runtimeConfig, ingressRate: 0, ingressBurst: 123 },
    "ingressRate: if burst is set, rate must also be set",
  );
  refused(
    { runtimeConfig: { bandwidth: { egressBurst: 8 } } },
    "runtimeConfig.bandwidth.egressRate: if burst is set, rate must also be set",
  );
});

Deno.test("subnets of both families, at the top level or from the runtime", () => {
  const list = ["10.0.0.0/8", "fd00:db8:abcd:1234:e000::/68"];
  const shaped = limits({ ShapedSubnets: list }).subnets!;
  assertEquals([shaped.shaped, ...shaped.list.map(formatCidr)], [true, ...list]);
  const unshaped = limits({ runtimeConfig: { bandwidth: { unshapedSubnets: list } } }).subnets!;
  assertEquals([unshaped.shaped, ...unshaped.list.map(formatCidr)], [false, ...list]);
  assertEquals(limits({ shapedSubnets: [], unshapedSubnets: [] }).subnets, undefined);
});

Deno.test("subnets at the top level beat the runtime's", () => {
  const runtimeConfig = { bandwidth: { unshapedSubnets: ["10.0.0.0/8", "fd00::/8"] } };
  const { subnets, from } = limits({
    runtimeConfig,
    unshapedSubnets: ["192.168.0.0/24"],
    egressRate: 123,
    egressBurst: 123,
  });
  assertEquals(subnets?.list.map(formatCidr), ["192.168.0.0/24"]);
  assertEquals(from, { rate: 15, burst: 15 });
});

Deno.test("subnets that are none, and both lists at once, are refused", () => {
  for (const key of ["shapedSubnets", "unshapedSubnets"]) {
    refused(
      { [key]: ["10.0.0.0/8", "10.0.0.0/33"] },
      `${key}[1]: bad subnet "10.0.0.0/33" provided, details invalid CIDR address: 10.0.0.0/33`,
    );
    refused({ [key]: [7] }, `${key}[0]: expected IP address with prefix length`);
  }
  refused(
    { shapedSubnets: ["10.0.0.0/8"], unshapedSubnets: ["192.168.0.0/24"] },
    "unshapedSubnets and shapedSubnets cannot be both specified, one of them should be discarded",
  );
});

Deno.test("a removal takes what does not validate", () => {
  decodeForRemoval(conf, { ingressBurst: 1, egressRate: "x", latency: 0, queue: 7 }, "it");
});
