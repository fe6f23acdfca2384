import { assertEquals } from "@std/assert";
import type { Identity } from "./duid.ts";
import { identityOf } from "./duid.ts";
import { option } from "../codec/options6.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };
const text = ({ duid, iaid }: Identity) => `${duid.toHex()} ${iaid.toString(16)}`;

Deno.test("an attachment has the same identity for ever", async () => {
  // Other values would make every server take every container for a new one.
  assertEquals(text(await identityOf(attachment)), "0004bbc5650a15dc854fb86e5f2cd56140ac e87c19b8");
  assertEquals(
    text(await identityOf(attachment, { host: "" })),
    "0004bbc5650a15dc854fb86e5f2cd56140ac e87c19b8",
  );
  assertEquals(
    text(await identityOf(attachment, { host: "0123456789abcdef0123456789abcdef" })),
    "00044644bd7954728c07a09be57781856035 1098de18",
  );
});

Deno.test("the DUID is a UUID of version 8 and the variant of RFC 9562", async () => {
  for (let run = 0; run < 50; run++) {
    const { duid, iaid } = await identityOf({ ...attachment, containerId: `c${run}` });
    assertEquals(duid.length, 18);
    assertEquals([duid[0], duid[1], duid[8]! >> 4, duid[10]! >> 6], [0, 4, 8, 2]);
    assertEquals(option.clientId.read(duid), duid);
    assertEquals([iaid, iaid >= 0 && iaid < 2 ** 32], [Math.floor(iaid), true]);
  }
});

Deno.test("attachments that differ in anything have different DUIDs and IAIDs", async () => {
  const others = [
    identityOf(attachment),
    identityOf({ ...attachment, network: "net2" }),
    identityOf({ ...attachment, containerId: "c2" }),
    identityOf({ ...attachment, ifName: "eth1" }),
    identityOf(attachment, { host: "a" }),
    // The same letters, parted otherwise.
    identityOf({ network: "netc1", containerId: "", ifName: "eth0" }),
    identityOf({ network: "net", containerId: "c1eth0", ifName: "" }),
    identityOf({ network: "net", containerId: "c1", ifName: "eth" }, { host: "0" }),
  ];
  const found = await Promise.all(others);
  assertEquals(new Set(found.map(({ duid }) => duid.toHex())).size, others.length);
  assertEquals(new Set(found.map(({ iaid }) => iaid)).size, others.length);
});
