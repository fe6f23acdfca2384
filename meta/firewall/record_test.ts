import { assertRecordFormat } from "../../tests/harness/records.ts";
import { firewallRecords } from "./record.ts";

Deno.test("a record is read as it was written, and none of its parts may be damaged", () => {
  assertRecordFormat(firewallRecords, {
    backends: ["iptables", "nftables"],
    addresses: ["10.0.0.2/32", "fd00::2/128"],
    zone: "trusted",
    places: [{ family: "inet", table: "filter", chain: "forward" }],
  });
});
