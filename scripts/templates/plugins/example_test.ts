import { assertEquals, assertRejects } from "@std/assert";
import { decodeOrThrow } from "../../../cni/decode.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { callPlugin } from "../../../cni/request.ts";
import { makeCall } from "../../../cni/testing.ts";
import type { JsonObject, Result } from "../../../cni/types.ts";
import { processes } from "../../../host/fold.ts";
import { describe } from "../../../host/step.ts";
import { FakeHost } from "../../../ns/testing.ts";
import { attachmentNames } from "../../../recipes/attachment.ts";
import { planLink, plugin } from "./example.ts";

const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });
const facts = { own, netns: { path: "/run/netns/c1" }, ifName: "eth0", mac: own.containerMac };
const inside = "nsenter --net=/run/netns/c1 ip";

function plan(config: JsonObject) {
  const conf = decodeOrThrow(plugin.conf, config, "configuration") as Parameters<
    typeof planLink
  >[0];
  return planLink(conf, facts);
}

Deno.test("planLink() makes the link and marks it, in one process", () => {
  const steps = plan({ mtu: 1400 });
  assertEquals(steps.map(({ do: action }) => describe(action)), [
    `${inside} link add name eth0 mtu 1400 address ${own.containerMac} type bridge`,
    `${inside} link set dev eth0 alias ${own.alias}`,
  ]);
  assertEquals(steps.map(({ undo }) => undo && describe(undo)), [
    `${inside} link del dev eth0`,
    undefined,
  ]);
  assertEquals(processes(steps), 1);
});

/** Any namespace will do: nothing is carried out. */
const netns = "/proc/self/ns/net";

function add(config: JsonObject, host: FakeHost): Promise<Result | undefined> {
  const call = { ...makeCall({ config, netns }), netnsOverride: true };
  return callPlugin(plugin, "ADD", call, { host });
}

Deno.test("ADD reports the link", async () => {
  const host = new FakeHost();
  const result = await add({ runtimeConfig: { mac: "02:00:00:00:00:07" } }, host);
  assertEquals(result!.interfaces, [
    { name: "eth0", mac: "02:00:00:00:00:07", mtu: 1500, sandbox: netns },
  ]);
  assertEquals(host.lines.at(-1), `nsenter --net=${netns} ip link set dev eth0 up`);
});

Deno.test("a wrong configuration is refused before anything is done", async () => {
  const host = new FakeHost();
  const error = await assertRejects(() => add({ mtu: "big" }, host), CniError);
  assertEquals([error.code, error.msg, host.lines], [
    codes.invalidNetworkConfig,
    'Cannot use network configuration: mtu: expected integer 0–65535 but received "big"',
    [],
  ]);
});
