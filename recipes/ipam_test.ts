import { assertEquals, assertRejects } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import type { Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { addAddresses, needsInterface } from "./ipam.ts";

type IpamRequest = Request<{ readonly ipam: { readonly type: string } }>;

/** A request with an IPAM plugin that gives this, or counts as a failure when it is asked. */
function request(type: string, result?: Result): IpamRequest {
  const add = () => result ? Promise.resolve(result) : Promise.reject(new Error("asked"));
  return { conf: { ipam: { type } }, ipam: { type, add } } as IpamRequest;
}

Deno.test("needsInterface() is true of every plugin that may use the network", () => {
  const needs = (type: string) => needsInterface({ ipam: { type } });
  assertEquals(["", "host-local", "static"].map(needs), [false, false, false]);
  assertEquals(["dhcp", "whereabouts", "Host-Local"].map(needs), [true, true, true]);
});

Deno.test("addAddresses() gives what the IPAM plugin gives", async () => {
  const result = { ...emptyResult(), ips: [{ address: "10.1.2.2/24" }] };
  assertEquals(await addAddresses(request("static", result)), result);
});

Deno.test("addAddresses() asks nobody without an IPAM plugin", async () => {
  assertEquals(await addAddresses(request("")), emptyResult());
});

Deno.test("addAddresses() wants at least one address", async () => {
  const error = await assertRejects(() => addAddresses(request("x", emptyResult())), CniError);
  assertEquals([error.code, error.msg], [
    codes.noAddress,
    "IPAM plugin returned missing IP config",
  ]);
});
