import { assertEquals } from "@std/assert";
import { addVlan, deleteVlan } from "./bridge_vlan.ts";
import { shellLine } from "./command.ts";

const netns = { path: "/run/netns/c1" };

Deno.test("addVlan()", () => {
  assertEquals(shellLine(addVlan("veth1", { vid: 7 })), "bridge vlan add dev veth1 vid 7 master");
  assertEquals(
    shellLine(addVlan("veth1", { vid: "200-210" })),
    "bridge vlan add dev veth1 vid 200-210 master",
  );
  assertEquals(
    shellLine(addVlan("veth1", { vid: 100, pvid: true, netns })),
    "nsenter --net=/run/netns/c1 bridge vlan add dev veth1 vid 100 pvid untagged master",
  );
});

Deno.test("deleteVlan()", () => {
  assertEquals(
    shellLine(deleteVlan("veth1", { vid: 1 })),
    "bridge vlan del dev veth1 vid 1 master",
  );
  assertEquals(
    shellLine(deleteVlan("veth1", { vid: 1, netns })),
    "nsenter --net=/run/netns/c1 bridge vlan del dev veth1 vid 1 master",
  );
});
