import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import { addTap } from "./ip_tuntap.ts";

Deno.test("addTap()", () => {
  assertEquals(shellLine(addTap({ name: "tap0" })), "ip tuntap add dev tap0 mode tap");
  assertEquals(
    shellLine(addTap({
      name: "tap0",
      owner: 0,
      group: 107,
      multiQueue: true,
      pi: true,
      vnetHdr: true,
      netns: { path: "/run/netns/c1" },
    })),
    "nsenter --net=/run/netns/c1 ip tuntap add dev tap0 mode tap user 0 group 107 " +
      "multi_queue pi vnet_hdr",
  );
});

Deno.test("addTap() writes the keyword: a device may be called as one", () => {
  assertEquals(shellLine(addTap({ name: "mode" })), "ip tuntap add dev mode mode tap");
});
