import { assertEquals, assertRejects } from "@std/assert";
import { CniError } from "../../../cni/error.ts";
import { allOrCancel } from "./all_or_cancel.ts";
import { mergeResults, withFamilyLabel } from "./dual_stack.ts";

Deno.test("together() gives what all parts give, in their order", async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const both = allOrCancel<number>([() => promise, () => Promise.resolve(2)]);
  resolve(1);
  assertEquals(await both, [1, 2]);
  assertEquals(await allOrCancel([]), []);
});

Deno.test("together() calls the others off where one fails, waits for them, and says the first failure", async () => {
  const log: string[] = [];
  const slow = async (signal: AbortSignal) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    log.push("called off");
    throw new Error("called off");
  };
  const failing = () => Promise.reject(new Error("no server"));
  await assertRejects(() => allOrCancel([slow, failing]), Error, "no server");
  assertEquals(log, ["called off"]);
});

Deno.test("together() is called off by its caller", async () => {
  const calling = new AbortController();
  const part = async (signal: AbortSignal) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    return "over";
  };
  const over = allOrCancel([part], { signal: calling.signal });
  calling.abort();
  assertEquals(await over, ["over"]);
});

Deno.test("results are merged: addresses and routes in order, words of DNS once", () => {
  const four = {
    interfaces: [],
    ips: [{ address: "192.168.1.5/24" }],
    routes: [{ dst: "0.0.0.0/0", gw: "192.168.1.1" }],
    dns: { nameservers: ["192.168.1.1"], search: ["lab", "example"], domain: "lab" },
  };
  const six = {
    interfaces: [],
    ips: [{ address: "2001:db8::5/128" }],
    routes: [],
    dns: { nameservers: ["2001:db8::53"], search: ["lab"] },
  };
  assertEquals(mergeResults([four, six]), {
    interfaces: [],
    ips: [{ address: "192.168.1.5/24" }, { address: "2001:db8::5/128" }],
    routes: [{ dst: "0.0.0.0/0", gw: "192.168.1.1" }],
    dns: {
      nameservers: ["192.168.1.1", "2001:db8::53"],
      domain: "lab",
      search: ["lab", "example"],
    },
  });
  assertEquals(mergeResults([six]), six);
});

Deno.test("an error names its family where there may be a doubt", () => {
  const error = new CniError(11, "Cannot", "3 SOLICIT sent");
  assertEquals(withFamilyLabel({ label: "" }, error), error);
  const told = withFamilyLabel({ label: "IPv6" }, error) as CniError;
  assertEquals([told.code, told.msg, told.details], [11, "IPv6: Cannot", "3 SOLICIT sent"]);
  assertEquals(withFamilyLabel({ label: "IPv4" }, new Error("no")).message, "IPv4: no");
});
