import { assertEquals, assertRejects } from "@std/assert";
import { CniError, codes } from "../../../cni/error.ts";
import { add, call } from "../../../cni/testing.ts";
import { plugin } from "./example.ts";

const ipam = { type: "example", address: "10.1.2.7/24", gateway: "10.1.2.1" };

Deno.test("ADD gives the configured address", async () => {
  const result = await add(plugin, { config: { ipam } });
  assertEquals(result.ips, [{ address: "10.1.2.7/24", gateway: "10.1.2.1" }]);
});

Deno.test("ADD needs an address", async () => {
  for (const config of [{}, { ipam: {} }, { ipam: { gateway: "10.1.2.1" } }]) {
    const error = await assertRejects(() => add(plugin, { config }), CniError);
    assertEquals([error.code, error.msg], [
      codes.invalidNetworkConfig,
      "Cannot use network configuration: " +
      "ipam.address: expected IP address with prefix length but received nothing",
    ]);
  }
});

Deno.test("CHECK wants the address in the result of ADD", async () => {
  const after = (address: string) => ({
    config: { ipam, prevResult: { cniVersion: "1.1.0", ips: [{ address }] } },
  });
  await call(plugin, "CHECK", after("10.1.2.7/24"));
  const error = await assertRejects(() => call(plugin, "CHECK", after("10.1.2.8/24")), CniError);
  assertEquals([error.code, error.msg], [
    codes.checkFailed,
    'Cannot confirm attachment to network "mynet": the result of ADD has no address 10.1.2.7/24',
  ]);
});

Deno.test("DEL does not mind a configuration that no longer validates", async () => {
  await call(plugin, "DEL", { config: { ipam: { address: "nonsense" } } });
});
