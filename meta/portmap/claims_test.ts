import { assertEquals, assertNotEquals } from "@std/assert";
import { decodeOrThrow } from "../../cni/decode.ts";
import type { JsonObject } from "../../cni/types.ts";
import { claimsOf, holderText, portConflict } from "./claims.ts";
import { conf } from "./conf.ts";

function decode(config: JsonObject, ...portMappings: readonly JsonObject[]) {
  return decodeOrThrow(
    conf,
    { ...config, runtimeConfig: { portMappings: [...portMappings] } },
    "it",
  );
}

const port = { hostPort: 8080, containerPort: 80, protocol: "tcp" };

Deno.test("a claim is a file named after family, protocol, ports and address", async () => {
  const value = decode(
    {},
    port,
    { ...port, hostIP: "192.0.2.1" },
    { ...port, protocol: "udp", hostIP: "::" },
    { ...port, hostPort: "9000-9010", hostIP: "2001:db8::1" },
  );
  assertEquals((await claimsOf(value, [4, 6])).map(({ path, what }) => `${what} ${path}`), [
    "8080/tcp /run/cni/denocni/ports/4-tcp-8080-8080-any",
    "8080/tcp /run/cni/denocni/ports/4-tcp-8080-8080-192.0.2.1",
    "8080/tcp /run/cni/denocni/ports/6-tcp-8080-8080-any",
    "8080/udp /run/cni/denocni/ports/6-udp-8080-8080-any",
    "9000-9010/tcp /run/cni/denocni/port-ranges/6-tcp-9000-9010-2001:db8::1",
  ]);
});

Deno.test("conditions divide a port", async () => {
  const paths = async (conditionsV4: string[]) =>
    (await claimsOf(decode({ conditionsV4 }, port), [4, 6])).map(({ path }) => path);
  const [four, six] = await paths(["-s", "10.0.0.1"]);
  const [other, same] = await paths(["-s", "10.0.0.2"]);
  assertNotEquals(four, other);
  assertEquals([six, same], Array(2).fill("/run/cni/denocni/ports/6-tcp-8080-8080-any"));
  assertEquals(await paths(["-s", "10.0.0.1"]), [four, six]);
});

const holder = { network: "net1", containerId: "c1", ifName: "eth0", netns: "/run/netns/c1" };

Deno.test("a claim tells whose it is and where its container was", () => {
  assertEquals(
    holderText({ ...holder, identity: { dev: 4, ino: 4026532869 } }),
    "net1\nc1\neth0\n4\n4026532869\n/run/netns/c1\n",
  );
  assertEquals(
    holderText({ ...holder, netns: "", identity: undefined }),
    "net1\nc1\neth0\n0\n0\n\n",
  );
});

Deno.test("a conflict names the holder", () => {
  const { code, msg } = portConflict("8080/tcp", holder);
  assertEquals(code, 109);
  assertEquals(
    msg,
    'Cannot map host port 8080/tcp: held by container "c1" (network "net1", interface "eth0")',
  );
});
