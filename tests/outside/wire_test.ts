import { assertEquals, assertRejects } from "@std/assert";
import type { FakeAnswer } from "@denocni/denocni/testing";
import type { JsonObject } from "@denocni/denocni/plugin";
import { ActionError, processes } from "@denocni/denocni/host";
import {
  attachmentNames,
  CniError,
  codes,
  emptyResult,
  ipamDecoder,
} from "@denocni/denocni/plugin";
import { call, FakeHost, spy, testNetns } from "@denocni/denocni/testing";
import { plugin } from "./wire.ts";

const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });
const inside = `nsenter --net=${testNetns}`;
const disable = `${inside} ethtool --features eth0 tx off`;
const pool = () =>
  spy(ipamDecoder, {
    type: "pool",
    add: () => Promise.resolve({ ...emptyResult(), ips: [{ address: "10.1.4.2/24" }] }),
  });

function test(config: JsonObject, host: FakeHost) {
  return { config, host, netns: testNetns, netnsOverride: true, delegates: [pool().plugin] };
}

Deno.test("ADD makes the pair, completes checksums, and configures the interface", async () => {
  const host = new FakeHost();
  const config = { checksums: true, ipam: { type: "pool" } };
  const result = await call(plugin, "ADD", test(config, host));
  assertEquals(result!.ips, [{ address: "10.1.4.2/24", interface: 1 }]);
  const commands = host.lines.filter((line) => !line.includes("/proc/sys/"));
  assertEquals(commands, [
    `ip link add name ${own.hostVeth} address ${own.hostMac} type veth peer name eth0 ` +
    `address ${own.containerMac} netns ${testNetns}`,
    `ip link set dev ${own.hostVeth} alias ${own.alias}`,
    `ip link set dev ${own.hostVeth} up`,
    disable,
    `${inside} ip addr add 10.1.4.2/24 brd + dev eth0`,
    `${inside} ip link set dev eth0 up`,
  ]);
  assertEquals(host.undoLines, [`ip link del dev ${own.hostVeth}`]);
  assertEquals(processes(host.steps), 3);
});

Deno.test("ADD fails where the kernel does not let checksums be completed", async () => {
  const host = new FakeHost({ [disable]: { stderr: "netlink error: Operation not supported" } });
  const error = await assertRejects(
    () => call(plugin, "ADD", test({ checksums: true }, host)),
    ActionError,
  );
  assertEquals(error.reason, "unsupported");
});

/** What CHECK looks at, by the line that asks for it. */
function attached(checksumming: "on" | "off"): Record<string, FakeAnswer> {
  const link = { ifname: "eth0", ifindex: 2, address: own.containerMac, flags: ["UP"] };
  return {
    [`${inside} ip -d -j addr show dev eth0`]: [{ ...link, linkinfo: { info_kind: "veth" } }],
    [`${inside} ip -4 -N -j route show table all`]: [],
    [`${inside} ip -6 -N -j route show table all`]: [],
    [`${inside} ethtool --show-features eth0`]:
      `Features for eth0:\ntx-checksumming: ${checksumming}\n`,
  };
}

Deno.test("CHECK notices checksums that are left to hardware", async () => {
  const entry = { name: "eth0", mac: own.containerMac, sandbox: testNetns };
  const config = { checksums: true, prevResult: { cniVersion: "1.1.0", interfaces: [entry] } };
  const check = (host: FakeHost) => call(plugin, "CHECK", test(config, host));
  await check(new FakeHost(attached("off")));
  const error = await assertRejects(() => check(new FakeHost(attached("on"))), CniError);
  assertEquals([error.code, error.msg], [
    codes.checkFailed,
    'Cannot confirm attachment to network "mynet": ' +
    'container interface "eth0" leaves checksums to hardware',
  ]);
});
