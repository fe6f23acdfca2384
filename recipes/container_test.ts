import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import type { NetnsState } from "../ns/netns.ts";
import { currentNetns } from "../ns/netns.ts";
import { containerNetns, liveNetns } from "./container.ts";

const netns = { path: "/run/netns/c1" };
const other: NetnsState = { is: "namespace", netns, identity: { dev: 4, ino: 1 } };
const hosts: NetnsState = { is: "namespace", netns, identity: currentNetns() };
const missing: NetnsState = { is: "missing", path: netns.path };
const foreign: NetnsState = { is: "foreign", path: netns.path, what: "a cake" };

function refusal(sandbox: NetnsState): unknown {
  return assertThrows(() => containerNetns({ netns: netns.path, sandbox }), CniError).toJson();
}

Deno.test("containerNetns() gives a namespace, the host's own too", () => {
  for (const sandbox of [other, hosts]) {
    assertStrictEquals(containerNetns({ netns: netns.path, sandbox }), netns);
  }
});

Deno.test("containerNetns() says what is wrong with any other path", () => {
  assertEquals(refusal(missing), {
    code: codes.invalidNetns,
    msg: 'Cannot use CNI_NETNS "/run/netns/c1": no such file',
  });
  assertEquals(refusal(foreign), {
    code: codes.invalidNetns,
    msg: 'Cannot use CNI_NETNS "/run/netns/c1": a cake',
  });
});

Deno.test("liveNetns() gives a container's namespace and nothing else", () => {
  assertStrictEquals(liveNetns({ sandbox: other }), netns);
  for (const sandbox of [hosts, missing, foreign]) {
    assertEquals(liveNetns({ sandbox }), undefined);
  }
});
