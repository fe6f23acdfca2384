import { assertEquals } from "@std/assert";
import type { ClientIdentity6 } from "./duid.ts";
import { option6 } from "../codec/options6.ts";
import { clientIdentity6 } from "./duid.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };
const text = ({ duid, iaid }: ClientIdentity6) => `${duid.toHex()} ${iaid.toString(16)}`;

Deno.test("an attachment has the same identity for ever", async () => {
  // Other values would make every server take every container for a new one.
  assertEquals(
    text(await clientIdentity6(attachment)),
    "0004bbc5650a15dc854fb86e5f2cd56140ac e87c19b8",
  );
  assertEquals(
    text(await clientIdentity6(attachment, { host: "" })),
    "0004bbc5650a15dc854fb86e5f2cd56140ac e87c19b8",
  );
  assertEquals(
    text(await clientIdentity6(attachment, { host: "0123456789abcdef0123456789abcdef" })),
    "00044644bd7954728c07a09be57781856035 1098de18",
  );
});

Deno.test("the DUID is a UUID of version 8 and the variant of RFC 9562", async () => {
  for (let run = 0; run < 50; run++) {
    const { duid, iaid } = await clientIdentity6({ ...attachment, containerId: `c${run}` });
    assertEquals(duid.length, 18);
    assertEquals([duid[0], duid[1], duid[8]! >> 4, duid[10]! >> 6], [0, 4, 8, 2]);
    assertEquals(option6.clientId.read(duid), duid);
    assertEquals([iaid, iaid >= 0 && iaid < 2 ** 32], [Math.floor(iaid), true]);
  }
});

Deno.test("attachments that differ in anything have different DUIDs and IAIDs", async () => {
  const others = [
    clientIdentity6(attachment),
    clientIdentity6({ ...attachment, network: "net2" }),
    clientIdentity6({ ...attachment, containerId: "c2" }),
    clientIdentity6({ ...attachment, ifName: "eth1" }),
    clientIdentity6(attachment, { host: "a" }),
    // The same letters, parted otherwise.
    clientIdentity6({ network: "netc1", containerId: "", ifName: "eth0" }),
    clientIdentity6({ network: "net", containerId: "c1eth0", ifName: "" }),
    clientIdentity6({ network: "net", containerId: "c1", ifName: "eth" }, { host: "0" }),
  ];
  const found = await Promise.all(others);
  assertEquals(new Set(found.map(({ duid }) => duid.toHex())).size, others.length);
  assertEquals(new Set(found.map(({ iaid }) => iaid)).size, others.length);
});
