import { assertEquals } from "@std/assert";
import type { Link } from "../../host/ip_link.ts";
import { testLink } from "../../ns/testing.ts";
import type { DeviceRecord, LinkLocation } from "./record.ts";
import { assertRecordFormat } from "../../tests/harness/records.ts";
import { deviceFromLink, deviceRecords, findRecorded, recordForLink } from "./record.ts";

const card = testLink({ name: "eth1", index: 3, mac: "02:00:00:00:ca:01", hardware: "pci/1" });

function recordFor(link: Link, id = "c1"): DeviceRecord {
  return {
    network: "net",
    containerId: id,
    ifName: "net1",
    path: `/run/${id}`,
    data: {
      device: deviceFromLink(link, []),
      netns: `/run/netns/${id}`,
      identity: { dev: 4, ino: 1 },
      passing: "cni000000000001",
      index: 7,
    },
  };
}

/** Whether a link like the card but for these fields is found, among strangers. */
function isFound(fields: Partial<Link>, where: LinkLocation, link = card): boolean {
  const strangers = [
    testLink({ name: "lo", mac: "00:00:00:00:00:00", index: 1 }),
    testLink({ name: "net1", kind: "veth", mac: "02:00:00:00:00:77", index: 2 }),
    testLink({ name: "eth9", mac: "02:00:00:00:00:78", index: 9, hardware: "pci/2" }),
  ];
  const same = testLink({ ...link, ...fields });
  const found = findRecorded([...strangers, same], recordFor(link), { where, records: [] });
  return found === same;
}

const changed = { mac: "02:00:00:00:09:09", index: 99 };

Deno.test("a device is found wherever it is, by the address that it came with", () => {
  for (const where of ["host", "container", "elsewhere"] as const) {
    assertEquals(isFound({ name: "x", alias: "y", index: 99 }, where), true, where);
    const renewed = { ...changed, permanentMac: card.mac, name: "x", alias: "y" };
    assertEquals(isFound(renewed, where), true, where);
  }
});

Deno.test("a device is found by its alias when its name and its address are others", () => {
  for (const where of ["host", "container", "elsewhere"] as const) {
    assertEquals(isFound({ ...changed, name: "x", alias: "eth1" }, where), true, where);
  }
});

Deno.test("a device is found in its namespace by its index or its hardware alone", () => {
  const virtual = testLink({ ...card, hardware: undefined, kind: "veth" });
  const nothing = { ...changed, name: "x", alias: "y" };
  assertEquals(isFound({ ...nothing, index: 7 }, "container", virtual), true);
  assertEquals(isFound({ ...nothing, index: 7 }, "elsewhere", virtual), false);
  assertEquals(isFound({ ...nothing, index: 7 }, "host", virtual), false);
  assertEquals(isFound(nothing, "container"), true);
  assertEquals(isFound(nothing, "elsewhere"), false);
  assertEquals(isFound(nothing, "host"), false);
});

Deno.test("a link of another kind or of other hardware is another device", () => {
  for (const other of [{ kind: "bridge" }, { hardware: "pci/2" }, { hardware: undefined }]) {
    assertEquals(isFound({ ...other, alias: "eth1", index: 7, name: "net1" }, "container"), false);
  }
});

Deno.test("links without an address are not alike by that", () => {
  for (const mac of ["", "00:00:00:00:00:00"]) {
    const link = testLink({ name: "x7", mac, kind: "tun" });
    assertEquals(isFound({ name: "y", index: 99 }, "container", link), false);
  }
});

Deno.test("of two ports of one card each is its own", () => {
  const ports = [
    testLink({ ...card, name: "eth1", mac: "02:00:00:00:ca:01" }),
    testLink({ ...card, name: "eth2", mac: "02:00:00:00:ca:02" }),
  ] as const;
  const records = [recordFor(ports[0], "c1"), recordFor(ports[1], "c2")];
  for (const where of ["host", "container"] as const) {
    for (const [index, record] of records.entries()) {
      assertEquals(findRecorded(ports, record, { where, records }), ports[index]);
      assertEquals(recordForLink(ports[index]!, { where, records }), record);
    }
    // The first port is gone: the second is not taken for it.
    assertEquals(findRecorded([ports[1]], records[0]!, { where, records }), undefined);
  }
});

Deno.test("a record is read as it was written, and none of its parts may be damaged", () => {
  const given = {
    address: "192.0.2.1",
    prefix: 24,
    peer: "192.0.2.2",
    broadcast: "192.0.2.255",
    label: "eth1:1",
    scope: "global",
    metric: 7,
    nodad: true,
    noprefixroute: true,
  };
  const more = { kind: "vlan", permanentMac: "02:00:00:00:ca:09", alias: "a b", master: "br0" };
  const { data } = recordFor(testLink({ ...card, ...more }));
  assertRecordFormat(deviceRecords, {
    netns: data.netns,
    identity: data.identity,
    device: { ...data.device, addresses: [given, { ...given, address: "fd00::1", prefix: 64 }] },
    passing: data.passing,
    index: 7,
    folder: "/sys/bus/pci/devices/0000:00:1f.6",
  });
});

Deno.test("a record of a plain device has only what the device had", () => {
  const { data } = recordFor(testLink({ mac: "", kind: "tun" }));
  const decoded = deviceRecords.decoder.decode(JSON.parse(JSON.stringify(data)), "", []);
  const given = { address: "192.0.2.1", prefix: 24, scope: "global" };
  const device = { ...data.device, addresses: [given] };
  assertEquals(decoded?.device, data.device);
  assertEquals(deviceRecords.decoder.decode({ ...data, device }, "", [])?.device, device);
});
