import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Issue } from "../../cni/decode.ts";
import { CniError, codes } from "../../cni/error.ts";
import type { JsonObject } from "../../cni/types.ts";
import type { Conf } from "./conf.ts";
import { conf, selectDevice, selectsDevice } from "./conf.ts";

function decode(value: JsonObject): { decoded: Conf | undefined; issues: Issue[] } {
  const issues: Issue[] = [];
  return { decoded: conf.decode(value, "", issues), issues };
}

function good(value: JsonObject): Conf {
  const { decoded, issues } = decode(value);
  assertEquals(issues, []);
  return decoded!;
}

Deno.test("an address is read in every notation and of every length", () => {
  const texts = {
    "02:00:00:00:CA:01": "02:00:00:00:ca:01",
    "02-00-00-00-ca-01": "02:00:00:00:ca:01",
    "0200.0000.ca01": "02:00:00:00:ca:01",
    "02:00:5e:10:00:00:00:01": "02:00:5e:10:00:00:00:01",
    "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0a:6f:01":
      "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0a:6f:01",
    "": "",
  };
  for (const [text, hwaddr] of Object.entries(texts)) {
    assertEquals(good({ hwaddr: text }).hwaddr, hwaddr);
  }
});

Deno.test("what selects nothing real is refused, with its path", () => {
  const bad: readonly (readonly [key: string, values: readonly string[]])[] = [
    ["device", ["a b", "a/b", ".", "..", "eth0:1", "x".repeat(128), "a\n"]],
    ["hwaddr", ["02:00:00:00:ca", "02:00:00:00:ca:0", "02:00-00:00:ca:01", "02:00:00:00:ca:01:"]],
    ["kernelpath", [
      "devices/pci",
      "/sys/class/net/eth0",
      "/sys/devices/../class",
      "/sys/devices/",
    ]],
    ["pciBusID", ["0000:00:1f", "../0000:00:1f.6", "0000:00:1f.8", "00:1f.6"]],
  ];
  for (const [key, values] of bad) {
    for (const value of values) {
      const { issues } = decode({ [key]: value });
      assertEquals(issues.map(({ path }) => path), [key], value);
    }
  }
  for (const deviceID of ["../x", "a/b", "-a", ".", ""]) {
    const { issues } = decode({ runtimeConfig: { deviceID } });
    assertEquals(issues.length, deviceID === "" ? 0 : 1, deviceID);
  }
});

Deno.test("a longer name, which a link may have besides its own, selects it", () => {
  const selection = selectDevice(good({ device: "enx0200000000010203" }));
  assertEquals([selection.key, selection.value], ["device", "enx0200000000010203"]);
});

Deno.test("without a selector the words are the reference's", () => {
  for (const value of [{}, { device: "", hwaddr: "", kernelpath: "", pciBusID: "" }]) {
    assert(!selectsDevice(good(value)));
    const error = assertThrows(() => selectDevice(good(value)), CniError);
    assertEquals(
      [error.code, error.msg],
      [
        codes.invalidNetworkConfig,
        'specify either "device", "hwaddr", "kernelpath" or "pciBusID"',
      ],
    );
  }
});

Deno.test("device counts more than hwaddr, and that more than kernelpath", () => {
  const kernelpath = "/sys/devices/virtual";
  const all = { device: "eth1", hwaddr: "02:00:00:00:ca:01", kernelpath };
  assertEquals(selectDevice(good(all)).key, "device");
  assertEquals(selectDevice(good({ ...all, device: "" })).key, "hwaddr");
  const { key, folder } = selectDevice(good({ kernelpath }));
  assertEquals([key, folder], ["kernelpath", kernelpath]);
});

Deno.test("an address that PCI does not have is an error, whatever else selects the device", () => {
  const pciBusID = "ffff:ff:1f.7";
  for (const value of [{ pciBusID }, { pciBusID, device: "eth1" }]) {
    const error = assertThrows(() => selectDevice(good(value)), CniError);
    assertEquals(error.code, codes.objectMissing);
    assertEquals(error.msg, `error with host device: PCI device "${pciBusID}": no such device`);
  }
});

Deno.test("a device of the runtime that nobody has is an error with the reference's words", () => {
  const conf = good({ pciBusID: "0000:00:01.0", runtimeConfig: { deviceID: "no-such.sf.4" } });
  const error = assertThrows(() => selectDevice(conf), CniError);
  assertEquals(error.msg, "runtime config DeviceID no-such.sf.4 not found or unsupported");
  assert(error.details.includes("/sys/bus/auxiliary/devices"), error.details);
});
