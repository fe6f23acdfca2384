import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import { parseCidr } from "./ip.ts";
import { addRule, deleteRule, parseRules } from "./ip_rule.ts";

const netns = { path: "/run/netns/c1" };

Deno.test("addRule() and deleteRule() name the family where iproute2 does not see it", () => {
  const four = { from: parseCidr("10.0.0.2/32")!, table: 100 };
  const six = { from: parseCidr("fd00::2/128")!, table: 4294967295, netns };
  assertEquals(shellLine(addRule(four)), "ip rule add from 10.0.0.2/32 table 100");
  assertEquals(shellLine(deleteRule(four)), "ip rule del from 10.0.0.2/32 table 100");
  assertEquals(
    shellLine(addRule(six)),
    "nsenter --net=/run/netns/c1 ip -6 rule add from fd00::2/128 table 4294967295",
  );
});

Deno.test("parseRules() tells rules by the source alone from others", () => {
  const all = [
    { priority: 0, src: "all", table: "255", protocol: "2" },
    { priority: 32762, src: "192.168.1.9", goto: 32766, protocol: "0" },
    { priority: 32763, src: "192.168.1.9", dst: "10.0.0.1", table: "100", protocol: "0" },
    { priority: 32764, src: "192.168.1.9", table: "100", protocol: "0" },
    { priority: 32765, src: "192.168.1.0", srclen: 24, fwmark: "0x3", table: "100" },
  ];
  assertEquals(
    parseRules(JSON.stringify(all), 4).map(({ from, table, plain }) => [from, table, plain]),
    [
      [undefined, 255, true],
      ["192.168.1.9/32", undefined, false],
      ["192.168.1.9/32", 100, false],
      ["192.168.1.9/32", 100, true],
      ["192.168.1.0/24", 100, false],
    ],
  );
  const [six] = parseRules('[{"priority":32765,"src":"fd00::10","table":"100"}]', 6);
  assertEquals(six, { family: 6, priority: 32765, from: "fd00::10/128", table: 100, plain: true });
  assertEquals(parseRules("", 6), []);
});
