import { assertEquals, assertThrows } from "@std/assert";
import { shellLine } from "./command.ts";
import { deleteAllUdp, deleteUdp, listUdp, parseUdp } from "./conntrack.ts";
import { formatIp, parseIp } from "./ip.ts";

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

Deno.test("parseUdp() reads where flows first went", () => {
  assertEquals(shellLine(listUdp(6)), "conntrack -L -f ipv6 -p udp");
  // Recorded with conntrack 1.4.7; the second direction shows the container.
  const recorded =
    `udp      17 29 src=203.0.113.2 dst=203.0.113.1 sport=7000 dport=8053 [UNREPLIED] src=10.1.2.2 dst=203.0.113.2 sport=53 dport=7000 mark=0 use=1
udp      17 119 src=2001:db8:ff::2 dst=2001:db8:ff::1 sport=7000 dport=9053 src=2001:db8:ff::1 dst=2001:db8:ff::2 sport=9053 dport=7000 [ASSURED] mark=0 use=1
conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.
`;
  assertEquals(
    parseUdp(recorded).map(({ address, port }) => `${formatIp(address)} ${port}`),
    ["203.0.113.1 8053", "2001:db8:ff::1 9053"],
  );
  assertEquals(parseUdp(""), []);
});
