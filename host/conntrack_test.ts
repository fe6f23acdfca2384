import { assertEquals, assertThrows } from "@std/assert";
import { shellLine } from "./command.ts";
import { deleteAllUdp, deleteUdp } from "./conntrack.ts";
import { parseIp } from "./ip.ts";

Deno.test("deleteUdp() names family, protocol and port", () => {
  assertEquals(
    shellLine(deleteUdp({ family: 4, port: 53 })),
    "conntrack -D -f ipv4 -p udp --orig-port-dst 53",
  );
  assertEquals(
    shellLine(deleteUdp({ family: 6, port: 53, address: parseIp("2001:db8::1") })),
    "conntrack -D -f ipv6 -p udp --orig-port-dst 53 --orig-dst 2001:db8::1",
  );
});

Deno.test("deleteAllUdp() is one program for all", () => {
  const flows = [{ family: 4, port: 53 }, { family: 6, port: 54 }] as const;
  assertEquals(
    shellLine(deleteAllUdp(flows)),
    `conntrack -R - <<'EOF'
-D -f ipv4 -p udp --orig-port-dst 53
-D -f ipv6 -p udp --orig-port-dst 54
EOF`,
  );
});

Deno.test("a deletion without a port is refused: it would cut every connection", () => {
  assertThrows(() => deleteAllUdp([]), RangeError, "none are named");
  for (const port of [0, -1, 65536, NaN, 1.5]) {
    assertThrows(() => deleteUdp({ family: 4, port }), RangeError, "no such port");
    assertThrows(() => deleteAllUdp([{ family: 4, port }]), RangeError, "no such port");
  }
});
