import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { decodeOrThrow, object } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { JsonObject } from "../cni/types.ts";
import type { NetnsState } from "../ns/netns.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import { FakeHost, testLink } from "../ns/testing.ts";
import {
  compareBelow,
  findMaster,
  masterFields,
  mtuBelow,
  requireMaster,
  takenMaster,
} from "./master.ts";

const decoder = object(masterFields);
const netns = { path: "/run/netns/c1" };
const live: NetnsState = { is: "namespace", netns, identity: { dev: 4, ino: 7 } };
const gone: NetnsState = { is: "missing", path: netns.path };
const inside = "nsenter --net=/run/netns/c1 ";

/** A link as iproute2 prints it. */
function raw(ifname: string, rest: JsonObject = {}): JsonObject {
  const flags = ["UP", "LOWER_UP"];
  const address = "02:00:00:00:00:09";
  return { ifindex: 9, ifname, flags, mtu: 1500, address, addr_info: [], ...rest };
}

const show = (name: string) => `ip -d -j addr show dev ${name}`;
const routes = (family: 4 | 6) => `ip -${family} -N -j route show default`;
const missing = { stderr: 'Device "x" does not exist.\n' };

function request(
  keys: JsonObject,
  answers: Record<string, FakeAnswer> = {},
  sandbox: NetnsState = live,
) {
  const host = new FakeHost(answers);
  const conf = decodeOrThrow(decoder, keys, "configuration");
  return { conf, host, netns: netns.path, sandbox };
}

Deno.test("findMaster() finds the configured master on the host with one look", async () => {
  const req = request({ master: "out0" }, { [show("out0")]: [raw("out0")] });
  const { link, netns } = await findMaster(req);
  assertEquals([link.name, link.index, netns], ["out0", 9, undefined]);
  assertEquals(req.host.asked, [show("out0")]);
});

Deno.test("findMaster() looks inside the container when it is told to", async () => {
  const keys = { master: "eth1", linkInContainer: true };
  const found = await findMaster(request(keys, { [inside + show("eth1")]: [raw("eth1")] }));
  assertEquals([found.link.name, found.netns], ["eth1", netns]);
  const error = await assertRejects(() => findMaster(request(keys, {}, gone)));
  assertEquals((error as CniError).code, codes.invalidNetns);
});

Deno.test("findMaster() takes a link that is named in place of the configured one", async () => {
  const found = await findMaster(request({}, { [show("net1")]: [raw("net1")] }), "net1");
  assertEquals(found.link.name, "net1");
});

const defaults: readonly (readonly [string, Record<4 | 6, FakeAnswer>, string | undefined])[] = [
  ["the one of IPv4", { 4: [{ dst: "default", dev: "a0" }], 6: [] }, "a0"],
  ["IPv4 before IPv6", {
    4: [{ dst: "default", dev: "a0", metric: 9 }],
    6: [{ dst: "default", dev: "b0", metric: 1 }],
  }, "a0"],
  ["the one of IPv6", { 4: [], 6: [{ dst: "default", dev: "b0" }] }, "b0"],
  ["the first that is listed", {
    4: [{ dst: "default", dev: "a0", metric: 1 }, { dst: "default", dev: "c0", metric: 2 }],
    6: [],
  }, "a0"],
  ["the first next hop of several", {
    4: [{ dst: "default", nexthops: [{ dev: "a0" }, { dev: "c0" }] }],
    6: [],
  }, "a0"],
  ["none that drops packets", {
    4: [{ type: "7", dst: "default", metric: 1 }, { dst: "default", dev: "a0", metric: 2 }],
    6: [{ type: "7", dst: "default", dev: "lo", metric: 4294967295 }],
  }, "a0"],
  ["none without IPv6", { 4: [], 6: { stderr: "Error: IPv6 not supported\n" } }, undefined],
  ["none without routes", { 4: [], 6: [] }, undefined],
];

for (const [title, answers, expected] of defaults) {
  Deno.test(`findMaster() takes the device of the default route: ${title}`, async () => {
    for (const at of ["", inside]) {
      const req = request({ linkInContainer: at !== "" }, {
        [at + routes(4)]: answers[4],
        [at + routes(6)]: answers[6],
        ...(expected && { [at + show(expected)]: [raw(expected)] }),
      });
      if (expected) {
        assertEquals((await findMaster(req)).link.name, expected);
        continue;
      }
      const error = await assertRejects(() => findMaster(req), CniError);
      assertEquals([error.code, error.msg], [
        codes.objectMissing,
        `Cannot choose a master: there is no default route ${
          at ? "in the container" : "on this host"
        }, and "master" is not set`,
      ]);
    }
  });
}

Deno.test("a missing master names the links there are, but for loopback and ours", async () => {
  const links = [
    raw("lo"),
    raw("eth0"),
    raw("vethabcd", { ifalias: "cni:net/c1/eth0" }),
    raw("wlan0", { ifalias: "uplink" }),
  ];
  const refused: readonly (readonly [string, JsonObject, FakeAnswer, string])[] = [
    ["", { master: "eht0" }, links, 'on this host; there are: "eth0", "wlan0"'],
    ["", { master: "eht0" }, [raw("lo")], "on this host; there are: none"],
    [
      inside,
      { master: "eht0", linkInContainer: true },
      links,
      'in the container; there are: "eth0", "wlan0"',
    ],
  ];
  for (const [at, keys, listed, end] of refused) {
    const answers = { [at + show("eht0")]: missing, [`${at}ip -d -j addr show`]: listed };
    const error = await assertRejects(() => findMaster(request(keys, answers)), CniError);
    assertEquals([error.code, error.msg], [
      codes.objectMissing,
      `Cannot use master "eht0": no such link ${end}`,
    ]);
  }
});

Deno.test("requireMaster() fails with code 50, and asks nothing about a container", async () => {
  const answers = { [show("eht0")]: missing, "ip -d -j addr show": [raw("eth0")] };
  const error = await assertRejects(
    () => requireMaster(request({ master: "eht0" }, answers)),
    CniError,
  );
  assertEquals([error.code, error.msg], [
    codes.notAvailable,
    'Cannot use master "eht0": no such link on this host; there are: "eth0"',
  ]);
  await requireMaster(request({ master: "eth0" }, { [show("eth0")]: [raw("eth0")] }));
  const req = request({ master: "eth1", linkInContainer: true }, {}, gone);
  await requireMaster(req);
  assertEquals(req.host.asked, []);
});

Deno.test("requireMaster() fails with code 50 where no default route names one", async () => {
  const req = request({}, { [routes(4)]: [], [routes(6)]: [] });
  const error = await assertRejects(() => requireMaster(req), CniError);
  assertEquals([error.code, error.msg], [
    codes.notAvailable,
    'Cannot choose a master: there is no default route on this host, and "master" is not set',
  ]);
});

Deno.test("mtuBelow() is the master's unless the configuration names one", () => {
  const master = { link: testLink({ mtu: 1500 }), netns: undefined };
  const conf = (mtu: number) => decodeOrThrow(decoder, { mtu }, "configuration");
  assertEquals([0, 1, 1400, 1500].map((mtu) => mtuBelow(master, conf(mtu))), [1500, 1, 1400, 1500]);
  for (const mtu of [1501, 1600, -1, -100]) {
    const error = assertThrows(() => mtuBelow(master, conf(mtu)), CniError);
    assertEquals([error.code, error.msg], [
      codes.invalidNetworkConfig,
      `invalid MTU ${mtu}, must be [0, master MTU(1500)]`,
    ]);
  }
});

Deno.test("takenMaster() names the bridge of a port, else the kind that may be there", () => {
  assertEquals(
    takenMaster(testLink({ name: "v0", master: "br0" }), "ipvlan"),
    '"v0" is a port of "br0": choose that as the master',
  );
  assertEquals(
    takenMaster(testLink({ name: "v0" }), "ipvlan"),
    'ipvlan links or others take the packets of "v0": choose another master, or the same kind',
  );
});

const onHost = testLink({ name: "eth0", kind: "macvlan", mode: "bridge", linkIndex: 9 });
const inContainer = testLink({ ...onHost, linkName: "eth1", linkIndex: 9 });
const host = { [show("out0")]: [raw("out0")] };
const container = { [inside + show("eth1")]: [raw("eth1")] };

Deno.test("compareBelow() holds for a link as it was made", async () => {
  assertEquals(await compareBelow(request({ master: "out0" }, host), onHost), []);
  const keys = { master: "eth1", linkInContainer: true };
  assertEquals(await compareBelow(request(keys, container), inContainer), []);
  // A master, a mode or an MTU that is not configured was chosen at ADD.
  assertEquals(await compareBelow(request({}), testLink({ ...onHost, mtu: 1400 })), []);
  assertEquals(await compareBelow(request({ mtu: 1500 }), onHost), []);
});

Deno.test("compareBelow() gives a line for each difference", async () => {
  const req = request({ master: "out0", mtu: 1400 }, host);
  assertEquals(
    await compareBelow({ ...req, conf: { ...req.conf, mode: "private" } }, {
      ...onHost,
      linkIndex: 8,
    }),
    [
      'container interface "eth0" is in mode bridge, expected private',
      'container interface "eth0" has MTU 1500, expected 1400',
      'container interface "eth0" does not stand on "out0"',
    ],
  );
});

Deno.test("compareBelow() tells a master on the host from one in the container", async () => {
  const line = (name: string) => [`container interface "eth0" does not stand on "${name}"`];
  assertEquals(await compareBelow(request({ master: "out0" }, host), inContainer), line("out0"));
  const keys = { master: "eth1", linkInContainer: true };
  assertEquals(await compareBelow(request(keys, container), onHost), line("eth1"));
});

Deno.test("compareBelow() notices a master that has another name by now", async () => {
  const req = request({ master: "out0" }, { [show("out0")]: missing });
  assertEquals(await compareBelow(req, onHost), ['master "out0" is missing on this host']);
});
