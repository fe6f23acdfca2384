import { assertEquals, assertRejects } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import type { GcRequest } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { addAddresses, delWithIpam, gcWithIpam, needsInterface } from "./ipam.ts";

type IpamRequest = GcRequest<{ readonly ipam: { readonly type: string } }>;

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

/** What a DEL and a GC do with an IPAM plugin of this type, in order, and the codes of their failures. */
async function removals(
  type: string,
  failing: { link?: CniError; release?: CniError } = {},
): Promise<string[]> {
  const events: string[] = [];
  const run = (name: string, error?: CniError) => () => {
    events.push(name);
    return error ? Promise.reject(error) : Promise.resolve();
  };
  const [del, gc] = ["ipam del", "ipam gc"].map((name) => run(name, failing.release));
  const req = { conf: { ipam: { type } }, ipam: { type, del, gc } } as unknown as IpamRequest;
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
  for (const type of ["host-local", "static", "whereabouts"]) {
    assertEquals(await removals(type), [
      ...["link", "rules", "ipam del"],
      ...["link", "rules", "ipam gc"],
    ]);
    assertEquals(await removals(type, { release }), [
      ...["link", "rules", "ipam del", "code 11"],
      ...["link", "rules", "ipam gc", "code 11"],
    ]);
    const kept = ["link", "rules", "code 100"];
    assertEquals(await removals(type, { link }), [...kept, ...kept]);
  }
});

Deno.test("delWithIpam() and gcWithIpam() release a lease first, over the interface", async () => {
  const [link, release] = [new CniError(codes.refused, "no"), new CniError(11, "not now")];
  for (const type of ["dhcp"]) {
    assertEquals(await removals(type), [
      ...["ipam del", "link", "rules"],
      ...["ipam gc", "link", "rules"],
    ]);
    for (const [failing, code] of [[{ release }, 11], [{ link }, 100]] as const) {
      assertEquals(await removals(type, failing), [
        ...["ipam del", "link", "rules", `code ${code}`],
        ...["ipam gc", "link", "rules", `code ${code}`],
      ]);
    }
  }
});

Deno.test("delWithIpam() and gcWithIpam() release nothing without an IPAM plugin", async () => {
  assertEquals(await removals(""), ["link", "rules", "link", "rules"]);
});
