import { assertRecordFormat } from "../../tests/harness/records.ts";
import { vrfRecords } from "./record.ts";

Deno.test("a record is read as it was written, and none of its parts may be damaged", () => {
  assertRecordFormat(vrfRecords, {
    netns: "/run/netns/c1",
    identity: { dev: 4, ino: 4026532281 },
    addresses: [{ words: ["fd00::2/64", "noprefixroute"], nodad: true, tentative: false }],
    routes: [{ words: ["0.0.0.0/0", "via", "10.0.0.1", "dev", "eth0"], table: 254 }],
    vrf: "red",
    table: 1,
    index: 7,
    held: ["10.0.0.2/24", "fd00::2/64"],
  });
});
