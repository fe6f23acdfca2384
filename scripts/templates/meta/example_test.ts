import { assertEquals, assertRejects } from "@std/assert";
import { CniError, codes } from "../../../cni/error.ts";
import { callPlugin } from "../../../cni/request.ts";
import { makeCall } from "../../../cni/testing.ts";
import type { JsonObject, Result, Verb } from "../../../cni/types.ts";
import { processes } from "../../../host/fold.ts";
import { describe } from "../../../host/step.ts";
import { FakeHost } from "../../../ns/testing.ts";
import { planAdd, planDel, plugin } from "./example.ts";

const facts = { netns: { path: "/run/netns/c1" }, link: { name: "eth0", promiscuity: 0 } };
const inside = "nsenter --net=/run/netns/c1 ip";

Deno.test("planAdd() sets the mode and can take it back, in one process", () => {
  const steps = planAdd({ promisc: true }, facts);
  assertEquals(steps.map(({ do: action, undo }) => [describe(action), undo && describe(undo)]), [
    [`${inside} link set dev eth0 promisc on`, `${inside} link set dev eth0 promisc off`],
  ]);
  assertEquals(processes(steps), 1);
});

Deno.test("planAdd() has nothing to do where the mode is right, or not asked for", () => {
  const on = { ...facts, link: { name: "eth0", promiscuity: 1 } };
  assertEquals([planAdd({ promisc: true }, on), planAdd({ promisc: false }, facts)], [[], []]);
});

Deno.test("planDel() takes the mode back, and does not mind a link that is gone", () => {
  const steps = planDel(facts);
  assertEquals(steps.map(({ do: action, tolerate }) => [describe(action), tolerate]), [
    [`${inside} link set dev eth0 promisc off`, ["missing"]],
  ]);
});

/** Any namespace will do: nothing is carried out. */
const netns = "/proc/self/ns/net";
const prevResult = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "eth0", mac: "02:00:00:00:00:01", sandbox: netns }],
  ips: [{ address: "10.1.2.3/24", interface: 0 }],
};

function hostWith(promiscuity: number): FakeHost {
  const address = "02:00:00:00:00:01";
  const eth0 = { ifindex: 2, ifname: "eth0", address, flags: ["UP"], mtu: 1500, promiscuity };
  return new FakeHost({ [`nsenter --net=${netns} ip -d -j addr show dev eth0`]: [eth0] });
}

function call(
  verb: Exclude<Verb, "VERSION">,
  { config = {}, host }: { config?: JsonObject; host: FakeHost },
): Promise<Result | undefined> {
  const made = makeCall({ config: { prevResult, ...config }, netns });
  return callPlugin(plugin, verb, { ...made, netnsOverride: true }, { host });
}

Deno.test("ADD passes the result on", async () => {
  const host = hostWith(0);
  const result = await call("ADD", { host });
  assertEquals(result!.ips, prevResult.ips);
  assertEquals(host.lines, [`nsenter --net=${netns} ip link set dev eth0 promisc on`]);
});

Deno.test("ADD wants a result and an interface", async () => {
  const missing = { stderr: 'Device "eth0" does not exist.\n' };
  const host = new FakeHost({ [`nsenter --net=${netns} ip -d -j addr show dev eth0`]: missing });
  const error = await assertRejects(() => call("ADD", { host }), CniError);
  assertEquals([error.code, host.lines], [codes.objectMissing, []]);
  const config = { prevResult: null };
  const unchained = await assertRejects(() => call("ADD", { host, config }), CniError);
  assertEquals(unchained.msg, "must be called as chained plugin");
});

Deno.test("an interface that the result does not mean is left alone", async () => {
  const config = {
    prevResult: {
      ...prevResult,
      interfaces: [{ name: "eth0", mac: "02:00:00:00:00:02", sandbox: netns }],
    },
  };
  const host = hostWith(0);
  const error = await assertRejects(() => call("ADD", { host, config }), CniError);
  assertEquals(error.code, codes.objectMissing);
  const unlike = await assertRejects(() => call("CHECK", { host, config }), CniError);
  assertEquals([unlike.code, host.lines], [codes.checkFailed, []]);
});

Deno.test("CHECK notices that the mode has changed", async () => {
  await call("CHECK", { host: hostWith(1) });
  await call("CHECK", { host: hostWith(0), config: { promisc: false } });
  const error = await assertRejects(() => call("CHECK", { host: hostWith(0) }), CniError);
  assertEquals(
    error.msg,
    'Cannot confirm attachment to network "mynet": ' +
      'container interface "eth0" takes no packets for others',
  );
});
