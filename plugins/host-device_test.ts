import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { anyObject } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { IpamTraits, Plugin } from "../cni/plugin.ts";
import { callPlugin } from "../cni/request.ts";
import { makeCall, spy, testTraits } from "../cni/testing.ts";
import type { JsonObject, Result, Verb } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import { describe } from "../host/step.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import { FakeHost, testLink } from "../ns/testing.ts";
import { configureContainerLink } from "../recipes/container_link.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { deviceFromLink, newDeviceRecord } from "./host-device/record.ts";
import { planTake, plugin } from "./host-device.ts";

const sandbox = "/proc/self/ns/net";
const netns = { path: "/run/netns/c1" };
const card = {
  ifindex: 3,
  ifname: "eth1",
  flags: ["BROADCAST", "UP"],
  mtu: 9000,
  address: "02:00:00:00:ca:01",
  parentbus: "pci",
  parentdev: "0000:00:03.0",
  addr_info: [{ family: "inet", local: "192.0.2.1", prefixlen: 24, scope: "global" }],
};
const attachment = { network: "mynet", containerId: "dummy", ifName: "eth0" };
const { temporaryName: passing } = await attachmentNames(attachment);

const record = await newDeviceRecord(
  { ...attachment, sandbox: { is: "missing", path: "" } },
  { device: deviceFromLink(testLink({ name: "eth1" }), []), netns: netns.path, passing },
);

Deno.test("planTake() moves by one message under a name of its own, then names and marks", () => {
  const lines = planTake(record, netns).map(({ do: action }) => describe(action));
  assertStringIncludes(lines[1]!, record.path);
  assertEquals([lines[0], ...lines.slice(2)], [
    "mkdir -p /run/cni/denocni/devices",
    `ip link set dev eth1 netns /run/netns/c1 name ${passing}`,
    `nsenter --net=/run/netns/c1 ip link set dev ${passing} name eth0 alias eth1`,
    "nsenter --net=/run/netns/c1 ip -d -j addr show dev eth0",
  ]);
});

Deno.test("an ADD starts two processes after its look, and nothing in it is undone by itself", () => {
  const result = { ...emptyResult(), ips: [{ address: "10.1.1.2/24", gateway: "10.1.1.1" }] };
  const steps = [
    ...planTake(record, netns),
    ...configureContainerLink({ netns, ifName: "eth0", result, dad: true }),
  ];
  assertEquals(processes(steps), 2);
  assertEquals(steps.filter(({ undo }) => undo), []);
});

async function call(
  verb: Exclude<Verb, "VERSION">,
  { config, host, ipam = spy(anyObject()), args = "", netns = sandbox }: {
    config: JsonObject;
    host: FakeHost;
    ipam?: ReturnType<typeof spy>;
    args?: string;
    netns?: string;
  },
): Promise<Result | undefined> {
  const made = { ...makeCall({ config, netns, args }), netnsOverride: true };
  const load = () => Promise.resolve(ipam.plugin as Plugin);
  return await callPlugin(plugin, verb, made, { host, load, inProcessIfMissing: true });
}

const shown = { "ip -d -j addr show dev eth1": [card] };
const links = "ip -d -j addr show";

Deno.test("ADD looks once, and reports what the device is", async () => {
  const host = new FakeHost(shown);
  const dns = { nameservers: ["10.9.9.9"] };
  assertEquals(await call("ADD", { config: { device: "eth1", dns }, host }), {
    interfaces: [{
      name: "eth0",
      mac: "02:00:00:00:ca:01",
      mtu: 9000,
      sandbox,
      pciID: "0000:00:03.0",
    }],
    ips: [],
    routes: [],
    dns,
  });
  assertEquals(host.asked, Object.keys(shown));
  assertEquals(host.undos.map(({ why }) => why), ['take "eth1"']);
});

Deno.test("ADD does not read CNI_ARGS", async () => {
  const host = new FakeHost(shown);
  const args = "MAC=02:00:00:00:00:77;K";
  const { interfaces } = (await call("ADD", { config: { device: "eth1" }, host, args }))!;
  assertEquals(interfaces[0]!.mac, card.address);
});

Deno.test("ADD takes the first link with the hardware address, else the one that came with it", async () => {
  const changed = { ...card, address: "02:00:00:00:09:09", permaddr: card.address };
  const second = { ...card, ifindex: 4, ifname: "eth2" };
  const listed: readonly (readonly [string, object[]])[] = [
    ["eth1", [card, second]],
    ["eth2", [{ ...changed, ifname: "eth1" }, second]],
    ["eth3", [{ ...changed, ifname: "eth3" }, { ...second, address: "02:00:00:00:00:78" }]],
  ];
  for (const [name, answer] of listed) {
    const host = new FakeHost({ [links]: answer });
    await call("ADD", { config: { hwaddr: card.address }, host });
    assertEquals(host.undos.map(({ why }) => why), [`take "${name}"`]);
  }
});

Deno.test("ADD records the device before it moves", async () => {
  const host = new FakeHost(shown);
  await call("ADD", { config: { device: "eth1" }, host });
  const [written, moved] = ["record ", "move "].map((word) =>
    host.steps.findIndex(({ why }) => why.startsWith(word))
  );
  assert(written! >= 0 && written! < moved!);
  const { do: action } = host.steps[written!]!;
  assert(action.kind === "write");
  const { data } = JSON.parse(action.text);
  assertEquals(data.device, {
    name: "eth1",
    mac: "02:00:00:00:ca:01",
    hardware: "pci/0000:00:03.0",
    mtu: 9000,
    up: true,
    promisc: false,
    addresses: [{ address: "192.0.2.1", prefix: 24, scope: "global" }],
  });
});

Deno.test("ADD asks an IPAM plugin that may need the device when it is there, and up", async () => {
  const order: string[] = [];
  class Watched extends FakeHost {
    override apply(steps: Parameters<FakeHost["apply"]>[0]): Promise<string> {
      order.push(...steps.map(({ why }) => why));
      return super.apply(steps);
    }
  }
  const ipamOf = (traits: IpamTraits) =>
    spy(anyObject(), {
      ipam: traits,
      add() {
        order.push("IPAM");
        return Promise.resolve({ ...emptyResult(), ips: [{ address: "10.1.1.2/24" }] });
      },
    });
  for (const [type, first] of [["spy", 'set container interface "eth0" up'], ["static", "IPAM"]]) {
    order.length = 0;
    const ipam = ipamOf(type === "spy" ? testTraits.unknown : testTraits.local);
    const config: JsonObject = { device: "eth1", ipam: { type: type! } };
    await call("ADD", { config, host: new Watched(shown), ipam });
    const at = order.indexOf("IPAM");
    assertEquals(type === "spy" ? order[at - 1] : order[at], first);
    assertEquals(order.indexOf('move "eth1" into the container') < at, type === "spy");
  }
});

Deno.test("an IPAM plugin without an address is refused before the device moves", async () => {
  const host = new FakeHost(shown);
  const config = { device: "eth1", ipam: { type: "static" } };
  const ipam = spy(anyObject(), { ipam: testTraits.local });
  const error = await assertRejects(() => call("ADD", { config, host, ipam }), CniError);
  assertEquals(error.code, codes.noAddress);
  assertEquals(host.lines, []);
});

const missing: FakeAnswer = { stderr: 'Device "eth7" does not exist.\n' };

Deno.test("ADD and STATUS name the key, its value and the links that there are", async () => {
  const answers = {
    "ip -d -j addr show dev eth7": missing,
    [links]: [{ ...card, ifname: "lo" }, card, { ...card, ifname: "eth2", address: "02::02" }],
  };
  const expected = {
    device: [
      "eth7",
      'device "eth7": no such link on this host; there are: "eth1", "eth2"',
    ],
    hwaddr: [
      "02:00:00:00:00:77",
      'hwaddr "02:00:00:00:00:77": failed to find physical interface; ' +
      'there are: "eth1" (02:00:00:00:ca:01), "eth2" (02::02)',
    ],
    kernelpath: [
      "/sys/devices/nothing",
      'kernelpath "/sys/devices/nothing": no folder "net" in /sys/devices/nothing; ' +
      'there are: "eth1", "eth2"',
    ],
  } as const;
  for (const [key, [value, state]] of Object.entries(expected)) {
    for (const verb of ["ADD", "STATUS"] as const) {
      const host = new FakeHost(answers);
      const error = await assertRejects(
        () => call(verb, { config: { [key]: value }, host }),
        CniError,
      );
      assertEquals(
        [error.code, error.msg],
        [
          verb === "ADD" ? codes.objectMissing : codes.notAvailable,
          `failed to find host device: ${state}`,
        ],
      );
    }
  }
});

Deno.test("ADD and STATUS tell a PCI device that is not there", async () => {
  for (
    const [verb, code] of [["ADD", codes.objectMissing], ["STATUS", codes.notAvailable]] as const
  ) {
    const config = { pciBusID: "0000:ff:1f.7" };
    const error = await assertRejects(() => call(verb, { config, host: new FakeHost() }), CniError);
    assertEquals([error.code, error.msg], [
      code,
      'error with host device: PCI device "0000:ff:1f.7": no such device',
    ]);
  }
});

Deno.test("STATUS without a selector asks IPAM alone: a runtime may select at ADD", async () => {
  const host = new FakeHost();
  const ipam = spy(anyObject());
  await call("STATUS", { config: { ipam: { type: "spy" } }, host, ipam });
  assertEquals([host.asked, ipam.seen.map(({ verb }) => verb)], [[], ["STATUS"]]);
});

Deno.test("ADD and CHECK want a namespace before they ask anybody", async () => {
  for (const verb of ["ADD", "CHECK"] as const) {
    const host = new FakeHost();
    const ipam = spy(anyObject());
    const config = { pciBusID: "0000:ff:1f.7", ipam: { type: "spy" } };
    const error = await assertRejects(
      () => call(verb, { config, host, ipam, netns: "/no/such/namespace" }),
      CniError,
    );
    assertEquals([error.code, host.asked, ipam.seen], [codes.invalidNetns, [], []]);
  }
});

Deno.test("DEL releases the addresses first, whatever becomes of the device", async () => {
  const denied: FakeAnswer = { stderr: "RTNETLINK answers: Operation not permitted\n" };
  const configs: JsonObject[] = [
    { device: "eth1" },
    {},
    { device: 7, hwaddr: "x", kernelpath: [], pciBusID: "nothing" },
    { runtimeConfig: { deviceID: "0000:ff:1f.7" } },
  ];
  for (const config of configs) {
    const ipam = spy(anyObject());
    const ipamKeys = { ipam: { type: "spy" } };
    const host = new FakeHost({ [links]: denied });
    const error = await assertRejects(
      () => call("DEL", { config: { ...config, ...ipamKeys }, host, ipam }),
      CniError,
    );
    assertEquals(error.code, codes.permissionDenied);
    assertEquals(ipam.seen.map(({ verb }) => verb), ["DEL"]);
    await call("DEL", { config: { ...config, ...ipamKeys }, host: new FakeHost({ [links]: [] }) });
  }
});

Deno.test("DEL names what the kernel brought back by its alias, if the configuration selects it", async () => {
  const returned = { ...card, ifindex: 7, ifname: "dev7", ifalias: "eth1", flags: [] };
  const given = ["ip link set dev dev7 name eth1 alias ''"];
  const cases: readonly (readonly [config: JsonObject, link: object, lines: string[]])[] = [
    [{ device: "eth1" }, returned, given],
    [{ hwaddr: "02:00:00:00:ca:01" }, returned, given],
    [{ pciBusID: "0000:00:03.0" }, returned, given],
    [{ runtimeConfig: { deviceID: "0000:00:03.0" } }, returned, given],
    [{ device: "eth1" }, { ...returned, ifname: "eth0" }, [
      "ip link set dev eth0 name eth1 alias ''",
    ]],
    // Another's link, a name that somebody chose, an alias that may be somebody's, a mark that is no name.
    [{ device: "eth2" }, returned, []],
    [{ device: "dev7" }, { ...returned, ifalias: "uplink" }, []],
    [{ hwaddr: "02:00:00:00:ca:01" }, { ...returned, ifname: "eth0", ifalias: "uplink" }, []],
    [{ device: "eth1" }, { ...returned, ifname: "dev8" }, []],
    [{}, returned, []],
    [{ device: "eth1" }, { ...returned, ifname: "wan" }, []],
    [{ device: "eth1" }, { ...returned, ifalias: "cni:net/c1/eth0" }, []],
  ];
  for (const [config, link, lines] of cases) {
    const host = new FakeHost({ [links]: [link] });
    await call("DEL", { config, host });
    const done = host.lines.filter((line) => !line.startsWith("rm -f "));
    assertEquals(done, lines, JSON.stringify([config, link]));
  }
});
