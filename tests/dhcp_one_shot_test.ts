/**
 * dhcp's one-shot mode with a real server: the plugin itself asks for the lease.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { codes } from "../cni/error.ts";
import {
  configure,
  dhcpCall,
  joinContainer,
  joinLan,
  leaseFiles,
  until,
} from "./harness/dhcp_agent.ts";
import { Dnsmasq, subnet } from "./harness/dhcp_server.ts";
import { Faults } from "./harness/fault.ts";
import { killTimes } from "./harness/kill.ts";
import { kernelTest } from "./harness/need.ts";
import {
  addressesOf,
  callPlugin,
  errorObject,
  fail,
  startPlugin,
  succeed,
} from "./harness/plugin.ts";
import { seedOf } from "./harness/random.ts";
import { countSteps } from "./harness/rollback.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["link:bridge", "link:veth", "tool:dnsmasq", "plugin:dhcp"] as const;
const first = `${subnet.first}/${subnet.prefix}`;

kernelTest("dhcp: one shot, without any agent", { needs }, async (sandbox) => {
  await joinLan(sandbox);
  const server = await Dnsmasq.start(sandbox);
  const netns = await joinContainer(sandbox);
  const before = await snapshot(sandbox);
  const ipam = { oneShot: true };
  await succeed(sandbox, dhcpCall(sandbox, "STATUS", { ipam }));
  const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam }));
  assertEquals(addressesOf(result), [first]);
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
  await configure(sandbox, { netns, result });
  await succeed(
    sandbox,
    dhcpCall(sandbox, "CHECK", { netns, ipam, config: { prevResult: result } }),
  );
  await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, ipam }));
  await server.logged(/DHCPRELEASE/);
  await until(() => server.leased().length === 0);
  assertEquals(leaseFiles(), []);
});

kernelTest("dhcp: one shot, when nobody answers", { needs }, async (sandbox) => {
  await joinLan(sandbox);
  const netns = await joinContainer(sandbox);
  const ipam = { oneShot: true, timeout: 2000 };
  const error = await fail(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam }));
  assertEquals(error.code, codes.tryAgainLater);
  assertEquals(error.msg, 'Cannot get a lease for "eth0": no more tries');
  assertMatch(error.details!, /DISCOVER sent, 0 OFFER received; is spanning tree forwarding\?$/);
  assertEquals(leaseFiles(), []);
});

kernelTest(
  "dhcp: one shot, broken at any step or killed at random moments, leaves no lease",
  { needs },
  async (sandbox, test) => {
    await joinLan(sandbox);
    const server = await Dnsmasq.start(sandbox);
    const netns = await joinContainer(sandbox);
    const ipam = { oneShot: true };
    const add = dhcpCall(sandbox, "ADD", { netns, ipam });
    const del = dhcpCall(sandbox, "DEL", { netns, ipam });
    const isClean = async () => {
      await until(() => server.leased().length === 0);
      assertEquals(leaseFiles(), []);
    };
    await breakSteps(test, async () => {
      const output = await callPlugin(sandbox, add);
      if (output.code === 0) return await succeed(sandbox, del);
      errorObject(add, output);
      await isClean();
    });
    const victim = {
      start: () => startPlugin(sandbox, add),
      cleanUp: async () => {
        await succeed(sandbox, del);
        await isClean();
      },
      duration: 400,
    };
    await killTimes(test, victim, { times: 6, seed: seedOf(20_261_121) });
  },
);

/** Breaks each step of what is done, in turn. */
async function breakSteps(test: Deno.TestContext, run: () => Promise<unknown>): Promise<void> {
  await using faults = await Faults.install();
  const steps = await countSteps(faults, { type: "dhcp", run });
  for (const step of faults.each(steps)) {
    faults.arm(step);
    await test.step(`step ${step} of ${steps}`, async () => {
      await run();
    });
  }
}
