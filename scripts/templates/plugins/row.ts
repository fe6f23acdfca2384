import type { Row } from "../../../tests/harness/rows.ts";
import { hostLocal, inside, interfaceDamage, subnet4 } from "../../../tests/harness/rows.ts";

/** What `deno task new-plugin` puts at the end of the rows. */
export const row: Row = {
  name: "example: IPv4",
  type: "example",
  kind: "interface",
  delegates: true,
  needs: ["link:bridge", "plugin:host-local"],
  conf: (sandbox) => ({ mtu: 1400, ipam: hostLocal(sandbox, subnet4) }),
  residue: ["hostLocal"],
  damage: [
    ...interfaceDamage(4),
    inside("set down", "link set dev IFNAME down"),
    inside("MTU changed", "link set dev IFNAME mtu 1399"),
  ],
};
