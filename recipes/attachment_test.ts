import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import type { Link } from "../host/ip_link.ts";
import type { AttachmentKey } from "../cni/attachment_key.ts";
import { attachmentNames, isHostEndOf, sharedMac, staleLinks } from "./attachment.ts";

const attachment: AttachmentKey = { network: "mynet", containerId: "dummy", ifName: "eth0" };

function link(rest: Partial<Link>): Link {
  return { name: "veth1", mac: "02:00:00:00:00:01", alias: undefined, ...rest } as Link;
}

Deno.test("attachmentNames() never changes: a DEL of tomorrow finds the ADD of today", async () => {
  assertEquals(await attachmentNames(attachment), {
    hostVeth: "veth65007d48",
    temporaryName: "cni34c3cb0417b5",
    hostMac: "96:7d:ee:8c:1b:c3",
    containerMac: "be:43:a5:79:4e:14",
    alias: "cni:mynet/dummy/eth0",
  });
});

Deno.test("attachmentNames() differ as soon as one part does, or a letter changes sides", async () => {
  const others = [
    { ...attachment, network: "mynet2" },
    { ...attachment, containerId: "dummz" },
    { ...attachment, ifName: "eth1" },
    { network: "mynetd", containerId: "ummy", ifName: "eth0" },
    { network: "mynet", containerId: "dummye", ifName: "th0" },
  ];
  const all = await Promise.all([attachment, ...others].map(attachmentNames));
  for (const key of ["hostVeth", "hostMac", "containerMac", "alias"] as const) {
    assertEquals(new Set(all.map((own) => own[key])).size, all.length, key);
  }
});

Deno.test("attachmentNames() are names and addresses that the kernel takes", async () => {
  for (let index = 0; index < 100; index++) {
    const own = await attachmentNames({ ...attachment, containerId: `c${index}` });
    assertMatch(own.hostVeth, /^veth[0-9a-f]{8}$/);
    // Locally administered, unicast.
    assertMatch(own.hostMac, /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
    assertMatch(own.containerMac, /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
    assertNotEquals(own.hostMac, own.containerMac);
  }
});

/** Bytes that the kernel keeps of an alias. */
const limit = 255;
const bytes = (text: string) => new TextEncoder().encode(text).length;
const longest = limit - bytes("cni:mynet//eth0");

Deno.test("an alias names the attachment as long as the kernel keeps it whole", async () => {
  const containerId = "x".repeat(longest);
  const { alias } = await attachmentNames({ ...attachment, containerId });
  assertEquals(alias, `cni:mynet/${containerId}/eth0`);
  assertEquals(bytes(alias), limit);
});

Deno.test("an alias that would be too long is hashed, and still tells attachments apart", async () => {
  const containerId = "x".repeat(longest + 1);
  const { alias } = await attachmentNames({ ...attachment, containerId });
  assertMatch(alias, /^cni:~[0-9a-f]{16}\/~[0-9a-f]{32}\/eth0$/);
  const others = [
    { ...attachment, containerId: `${containerId}x` },
    { ...attachment, containerId, network: "other" },
    { ...attachment, containerId, ifName: "eth1" },
  ];
  const all = await Promise.all(others.map(attachmentNames));
  assertEquals(new Set([alias, ...all.map((own) => own.alias)]).size, 4);
  const wide = await attachmentNames({
    network: "n".repeat(5000),
    containerId,
    ifName: "ééééééé",
  });
  assert(bytes(wide.alias) <= limit);
});

Deno.test("sharedMac() gives each name its own address, always the same", async () => {
  const macs = await Promise.all(["cni0", "cni1", "cni0.100"].map(sharedMac));
  assertEquals(new Set(macs).size, 3);
  assertEquals(await sharedMac("cni0"), macs[0]);
  for (const mac of macs) assertMatch(mac, /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
});

Deno.test("isHostEndOf() goes by the mark, and without one by the address", async () => {
  const own = await attachmentNames(attachment);
  assert(isHostEndOf(link({ alias: own.alias }), own));
  assert(isHostEndOf(link({ alias: own.alias, mac: own.hostMac }), own));
  assert(isHostEndOf(link({ mac: own.hostMac }), own));
  assert(!isHostEndOf(link({}), own));
  assert(!isHostEndOf(link({ alias: "cni:mynet/other/eth0", mac: own.hostMac }), own));
});

const longId = "x".repeat(300);
const valid = ["a", longId].map((containerId) => ({ network: "net", containerId, ifName: "eth0" }));

async function stale(...aliases: (string | undefined)[]): Promise<(string | undefined)[]> {
  const links = aliases.map((alias) => link({ alias }));
  return (await staleLinks(links, "net", valid)).map(({ alias }) => alias);
}

const aliasOf = async (rest: Partial<AttachmentKey>) =>
  (await attachmentNames({ network: "net", containerId: "a", ifName: "eth0", ...rest })).alias;

Deno.test("staleLinks() gives the network's links that belong to no valid attachment", async () => {
  const gone = [await aliasOf({ containerId: "b" }), await aliasOf({ ifName: "eth1" })];
  assertEquals(await stale(await aliasOf({}), ...gone), gone);
});

Deno.test("staleLinks() knows hashed marks", async () => {
  const kept = await aliasOf({ containerId: longId });
  const gone = await aliasOf({ containerId: `${longId}y` });
  assertEquals(await stale(kept, gone), [gone]);
});

Deno.test("staleLinks() leaves alone what is not the network's", async () => {
  const others = [
    undefined,
    "",
    "uplink",
    "cni:net",
    "cni:net2/b/eth0",
    "xcni:net/b/eth0",
    await aliasOf({ network: "other", containerId: longId }),
  ];
  assertEquals(await stale(...others), []);
});

Deno.test("staleLinks() of an empty list are all of the network's", async () => {
  const alias = await aliasOf({});
  const links = [link({ alias }), link({ alias: "cni:other/a/eth0" })];
  assertEquals((await staleLinks(links, "net", [])).map(({ alias }) => alias), [alias]);
});
