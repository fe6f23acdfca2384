import { assertEquals } from "@std/assert";
import { shellLine } from "../../host/command.ts";
import { processes } from "../../host/fold.ts";
import { planSources, zoneCall } from "./firewalld.ts";

const zone = "trusted";

Deno.test("zoneCall() asks firewalld on the system bus, and does not start it", () => {
  assertEquals(
    shellLine(zoneCall("addSource", { zone, address: "10.0.0.2/32" })),
    "busctl --system --auto-start=no call org.fedoraproject.FirewallD1 " +
      "/org/fedoraproject/FirewallD1 org.fedoraproject.FirewallD1.zone addSource ss trusted 10.0.0.2/32",
  );
});

Deno.test("each address is one process; one that is in the zone already is not taken out", () => {
  const steps = planSources({
    addresses: ["10.0.0.2/32", "2001:db8::2/128"],
    conf: { firewalldZone: zone },
  });
  assertEquals(processes(steps), 2);
  assertEquals(steps.map(({ tolerate }) => tolerate), [["exists"], ["exists"]]);
  assertEquals(steps.map(({ undo }) => undo), [
    zoneCall("removeSource", { zone, address: "10.0.0.2/32" }),
    zoneCall("removeSource", { zone, address: "2001:db8::2/128" }),
  ]);
});
