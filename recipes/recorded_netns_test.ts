import { assertEquals, assertThrows } from "@std/assert";
import { CniError } from "../cni/error.ts";
import { inspectNetns } from "../ns/netns.ts";
import { recordedNetns, recordNetns } from "./recorded_netns.ts";

const path = "/proc/self/ns/net";
const sandbox = inspectNetns(path);

Deno.test("recordedNetns() finds no other namespace at the same path", () => {
  const place = recordNetns({ netns: path, sandbox });
  assertEquals(place.netns, path);
  assertEquals(recordedNetns(place), { path });
  assertEquals(recordedNetns({ ...place, identity: { dev: 1, ino: 1 } }), undefined);
  assertEquals(recordedNetns({ ...place, netns: "/nowhere" }), undefined);
  assertEquals(recordedNetns({ ...place, netns: "/nowhere" }, sandbox), { path });
  assertEquals(recordedNetns({ ...place, netns: "/nowhere" }, inspectNetns("/x")), undefined);
});

Deno.test("recordNetns() wants a namespace", () => {
  const missing = { netns: "/nowhere", sandbox: inspectNetns("/nowhere") };
  assertThrows(() => recordNetns(missing), CniError, "Cannot use CNI_NETNS");
});
