import type { Row } from "../../../tests/harness/rows.ts";
import { hostLocal, inside, subnet4 } from "../../../tests/harness/rows.ts";

/** What `deno task new-plugin` puts at the end of the rows. */
export const row: Row = {
  name: "example: IPv4",
  type: "example",
  kind: "chained",
  needs: ["link:veth", "plugin:ptp", "plugin:host-local"],
  before: (sandbox) => [{ type: "ptp", ipam: hostLocal(sandbox, subnet4) }],
  conf: () => ({}),
  residue: ["hostLocal", "forwarding4"],
  repeatable: true,
  damage: [inside("switched off", "link set dev IFNAME promisc off")],
};
