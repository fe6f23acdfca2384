import { assertEquals, assertRejects } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import type { GcRequest, IpamTraits } from "../cni/plugin.ts";
import { testTraits } from "../cni/testing.ts";
import type { Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { addAddresses, delWithIpam, gcWithIpam, needsInterface } from "./ipam.ts";

type IpamRequest = GcRequest<{ readonly ipam: { readonly type: string } }>;

/** A request with an IPAM plugin that gives this, or counts as a failure when it is asked. */
function request(type: string, result?: Result): IpamRequest {
  const add = () => result ? Promise.resolve(result) : Promise.reject(new Error("asked"));
  return { conf: { ipam: { type } }, ipam: { type, add } } as IpamRequest;
}

const { local, leasing, unknown } = testTraits;

Deno.test("needsInterface() is true of every plugin that may use the network", async () => {
  const needs = (traits: IpamTraits) => {
    const ipam = { type: "any", traits: () => Promise.resolve(traits) };
    return needsInterface({ conf: { ipam }, ipam } as unknown as IpamRequest);
  };
  assertEquals(await Promise.all([local, leasing, unknown].map(needs)), [false, true, true]);
  assertEquals(await needsInterface(request("")), false);
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

/** What a DEL and a GC do with an IPAM plugin of these traits, in order, and the codes of their failures. */
async function removals(
  traits: IpamTraits | undefined,
  failing: { link?: CniError; release?: CniError } = {},
): Promise<string[]> {
  const events: string[] = [];
  const run = (name: string, error?: CniError) => () => {
    events.push(name);
    return error ? Promise.reject(error) : Promise.resolve();
  };
  const [del, gc] = ["ipam del", "ipam gc"].map((name) => run(name, failing.release));
  const type = traits ? "any" : "";
  const ipam = { type, del, gc, traits: () => Promise.resolve(traits) };
  const req = { conf: { ipam: { type } }, ipam } as unknown as IpamRequest;
  const tasks = [
    { why: "remove the link", run: run("link", failing.link) },
    { why: "remove the rules", run: run("rules") },
  ];
  for (const remove of [delWithIpam, gcWithIpam]) {
    await remove(req, tasks).catch(({ code }: CniError) => events.push(`code ${code}`));
  }
  return events;
}

Deno.test("delWithIpam() and gcWithIpam() release last, so that nobody else gets an address in use", async () => {
  const [link, release] = [new CniError(codes.refused, "no"), new CniError(11, "not now")];
  for (const traits of [local, unknown]) {
    assertEquals(await removals(traits), [
      ...["link", "rules", "ipam del"],
      ...["link", "rules", "ipam gc"],
    ]);
    assertEquals(await removals(traits, { release }), [
      ...["link", "rules", "ipam del", "code 11"],
      ...["link", "rules", "ipam gc", "code 11"],
    ]);
    const kept = ["link", "rules", "code 100"];
    assertEquals(await removals(traits, { link }), [...kept, ...kept]);
  }
});

Deno.test("delWithIpam() and gcWithIpam() release a lease first, over the interface", async () => {
  const [link, release] = [new CniError(codes.refused, "no"), new CniError(11, "not now")];
  assertEquals(await removals(leasing), [
    ...["ipam del", "link", "rules"],
    ...["ipam gc", "link", "rules"],
  ]);
  for (const [failing, code] of [[{ release }, 11], [{ link }, 100]] as const) {
    assertEquals(await removals(leasing, failing), [
      ...["ipam del", "link", "rules", `code ${code}`],
      ...["ipam gc", "link", "rules", `code ${code}`],
    ]);
  }
});

Deno.test("delWithIpam() and gcWithIpam() release nothing without an IPAM plugin", async () => {
  assertEquals(await removals(undefined), ["link", "rules", "link", "rules"]);
});
