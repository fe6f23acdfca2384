import { assertEquals } from "@std/assert";
import { addVlan, deleteVlan, parseVlans, showVlans } from "./bridge_vlan.ts";
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

Deno.test("showVlans()", () => {
  assertEquals(shellLine(showVlans()), "bridge -j vlan show");
});

Deno.test("parseVlans() expands ranges", () => {
  const json = JSON.stringify([
    { ifname: "br0", vlans: [{ vlan: 1, flags: ["PVID", "Egress Untagged"] }] },
    {
      ifname: "veth1",
      vlans: [{ vlan: 7, flags: ["Egress Untagged"] }, { vlan: 200, vlanEnd: 201 }],
    },
    { ifname: "veth2" },
  ]);
  assertEquals([...parseVlans(json)], [
    ["br0", [{ vid: 1, pvid: true, untagged: true }]],
    ["veth1", [
      { vid: 7, pvid: false, untagged: true },
      { vid: 200, pvid: false, untagged: false },
      { vid: 201, pvid: false, untagged: false },
    ]],
    ["veth2", []],
  ]);
});

Deno.test("parseVlans() takes nothing printed for no port", () => {
  assertEquals([...parseVlans("")], []);
});
