import { assertEquals } from "@std/assert";
import { processes } from "../../host/fold.ts";
import { describe } from "../../host/step.ts";
import { testLink } from "../../ns/testing.ts";
import {
  asRemoval,
  changedVariables,
  compareAttributes,
  compareVariables,
  differingAttributes,
  restoringChanges,
  setAttributes,
  setVariables,
} from "./plan.ts";

const where = { netns: { path: "/run/netns/c1" }, ifName: "eth0" };
const inside = "nsenter --net=/run/netns/c1";
const wanted = {
  mac: "c2:11:22:33:44:55",
  promisc: true,
  mtu: 1400,
  allmulti: true,
  txQLen: 0,
};

Deno.test("every attribute is a step with its undo, in one process with the variables", () => {
  const from = differingAttributes(testLink(), wanted);
  const steps = setAttributes(where, { to: wanted, from });
  assertEquals(steps.map((step) => [describe(step.do), describe(step.undo!)]), [
    [
      `${inside} ip link set dev eth0 address c2:11:22:33:44:55`,
      `${inside} ip link set dev eth0 address 02:00:00:00:00:01`,
    ],
    [
      `${inside} ip link set dev eth0 promisc on`,
      `${inside} ip link set dev eth0 promisc off`,
    ],
    [`${inside} ip link set dev eth0 mtu 1400`, `${inside} ip link set dev eth0 mtu 1500`],
    [
      `${inside} ip link set dev eth0 allmulticast on`,
      `${inside} ip link set dev eth0 allmulticast off`,
    ],
    [
      `${inside} ip link set dev eth0 txqueuelen 0`,
      `${inside} ip link set dev eth0 txqueuelen 1000`,
    ],
  ]);
  const change = { name: "net.a", key: "net/a", value: "1", was: "0" };
  assertEquals(processes([...setVariables(where, [change]), ...steps]), 1);
});

Deno.test("what is right already is left alone", () => {
  const link = testLink({ mac: wanted.mac, promisc: true, mtu: 1400, txQLen: 0 });
  const from = differingAttributes(link, wanted);
  assertEquals(from, { allmulti: false });
  assertEquals(setAttributes(where, { to: wanted, from }).length, 1);
  assertEquals(differingAttributes(link, {}), {});
});

const variable = { name: "net.a", key: "net/a", value: "1" };

Deno.test("a variable is written when it holds something else, and taken back", () => {
  assertEquals(changedVariables([variable], new Map([["net/a", "1"]])), []);
  const changes = changedVariables([variable], new Map([["net/a", "0"]]));
  const [step] = setVariables(where, changes);
  assertEquals(describe(step!.do), `${inside} sh -c 'echo 1 > /proc/sys/net/a'`);
  assertEquals(describe(step!.undo!), `${inside} sh -c 'echo 0 > /proc/sys/net/a'`);
});

Deno.test("a variable that cannot be read is written for good", () => {
  const [step] = setVariables(where, changedVariables([variable], new Map()));
  assertEquals(describe(step!.do), `${inside} sh -c 'echo 1 > /proc/sys/net/a'`);
  assertEquals(step!.undo, undefined);
});

Deno.test("a removal puts back what nobody has changed since, the last one first", () => {
  const variables = [
    { key: "net/a", was: "0", set: "1" },
    { key: "net/b", was: "4\t5", set: "6 7" },
    { key: "net/c", was: "0", set: "1" },
    { key: "net/d", was: "0", set: "1" },
  ];
  const now = new Map([["net/a", "1"], ["net/b", "6\t7"], ["net/c", "2"]]);
  const steps = asRemoval(setVariables(where, restoringChanges(variables, now)));
  assertEquals(steps.map(({ do: action }) => describe(action)), [
    `${inside} sh -c 'echo '\\''4\t5'\\'' > /proc/sys/net/b'`,
    `${inside} sh -c 'echo 0 > /proc/sys/net/a'`,
  ]);
  assertEquals(steps.map(({ undo, tolerate }) => [undo, tolerate]), [
    [undefined, ["missing"]],
    [undefined, ["missing"]],
  ]);
});

Deno.test("CHECK tells every difference", () => {
  const link = testLink({ mtu: 1300 });
  assertEquals(compareAttributes(link, { mtu: 1400, allmulti: true, mac: link.mac }), [
    'container interface "eth0" has MTU 1300, expected 1400',
    'container interface "eth0" has all-multicast mode false, expected true',
  ]);
  assertEquals(compareVariables([variable], new Map([["net/a", "2"]])), [
    '/proc/sys/net/a is "2", expected "1"',
  ]);
  assertEquals(compareVariables([variable], new Map()), [
    '/proc/sys/net/a cannot be read, expected "1"',
  ]);
  assertEquals(compareVariables([variable], new Map([["net/a", "1"]])), []);
});

Deno.test("whatever makes an interface promiscuous is good enough for CHECK", () => {
  const promisc = { promisc: true };
  assertEquals(compareAttributes(testLink({ promiscuity: 1 }), promisc), []);
  assertEquals(compareAttributes(testLink({ promiscuity: 1, promisc: true }), promisc), []);
  assertEquals(compareAttributes(testLink(), promisc).length, 1);
});
