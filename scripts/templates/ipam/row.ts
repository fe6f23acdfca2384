import type { Row } from "../../../tests/harness/rows.ts";

/** What `deno task new-plugin` puts at the end of the rows. */
export const row: Row = {
  name: "example: IPv4",
  type: "example",
  kind: "ipam",
  needs: [],
  conf: () => ({ ipam: { type: "example", address: "10.1.2.7/24", gateway: "10.1.2.1" } }),
  beside: (index) => ({ ipam: { type: "example", address: `10.1.2.${10 + index}/24` } }),
  residue: [],
  repeatable: true,
  damage: [],
};
