/**
 * The harness itself: states differ when they must, skips are visible, packets
 * arrive only where they should.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { Faults, readOnly } from "./harness/fault.ts";
import { Random } from "./harness/random.ts";
import { kernelTest } from "./harness/need.ts";
import { execute, Running } from "./harness/process.ts";
import { outsideNet } from "./harness/sandbox.ts";
import type { LinkAddress } from "./harness/kernel_lines.ts";
import { isUsable } from "./harness/kernel_lines.ts";
import { assertSame, difference, snapshot } from "./harness/state.ts";

Deno.test("Random gives the same numbers for the same seed", () => {
  const draw = (seed: number) => {
    const random = new Random(seed);
    return [1, 2, 3].map(() => random.integer(0, 1e6));
  };
  assertEquals(draw(7), draw(7));
  assert(draw(7).join() !== draw(8).join());
});

Deno.test("a state is usable when IPv6 addresses have their routes", () => {
  const looks = (more: Partial<LinkAddress>, ...routes: readonly string[]) =>
    isUsable([{ ...someAddress, ...more }], routes);
  assertEquals(looks({}, "local 2001:db8::1/128 dev eth0 table 255"), true);
  assertEquals(looks({}, "2001:db8::/64 dev eth0"), false);
  assertEquals(looks({}, "local 2001:db8::1/128 dev eth1 table 255"), false);
  assertEquals(looks({ linkIsUp: false }), true);
  assertEquals(looks({ isTentative: true }), true);
  assertEquals(looks({ family: "inet" }), true);
});

const someAddress: LinkAddress = {
  dev: "eth0",
  family: "inet6",
  local: "2001:db8::1",
  length: 64,
  scope: "global",
  broadcast: undefined,
  isTentative: false,
  linkIsUp: true,
};

kernelTest("a state sees every kind of change", {
  needs: ["link:bridge", "link:macvlan", "tool:nft", "iptables-nat"],
}, async (sandbox, test) => {
  await sandbox.ip(sandbox.host, [
    "link add br0 type bridge",
    "link add p0 master br0 type veth peer name p1",
    "link set dev p0 up",
    "link set dev p1 up",
  ]);
  const changes: readonly (readonly [section: string, change: string, back: string])[] = [
    ["host/links", "ip link add name x0 type bridge", "ip link del x0"],
    ["host/links", "ip link set p1 mtu 1400", "ip link set p1 mtu 1500"],
    ["host/links", "ip link set p1 alias name", 'ip link set p1 alias ""'],
    ["host/links", "ip link set p1 txqueuelen 7", "ip link set p1 txqueuelen 1000"],
    ["host/links", "ip link set p1 promisc on", "ip link set p1 promisc off"],
    ["host/links", "ip link set p1 allmulticast on", "ip link set p1 allmulticast off"],
    ["host/links", "bridge link set dev p0 hairpin on", "bridge link set dev p0 hairpin off"],
    ["host/links", "bridge link set dev p0 isolated on", "bridge link set dev p0 isolated off"],
    ["host/links", "ip link add x0 link p1 type macvlan mode bridge", "ip link del x0"],
    ["host/addresses", "ip addr add 10.0.0.1/24 dev lo", "ip addr del 10.0.0.1/24 dev lo"],
    [
      "host/addresses",
      "ip addr add 2001:db8::1/64 dev lo nodad",
      "ip addr del 2001:db8::1/64 dev lo",
    ],
    ["host/routes", ...both("route add 10.9.0.0/16 dev lo table 77")],
    ["host/routes", ...both("route add 10.9.0.0/16 dev lo mtu 1300")],
    ["host/routes", ...both("route add blackhole 10.9.0.0/16")],
    ["host/routes", ...both("route add 10.9.0.0/16 nexthop dev p1 nexthop dev lo")],
    ["host/routes", ...both("-6 route add 2001:db8:9::/64 dev lo metric 7")],
    ["host/rules", ...both("rule add from 10.0.0.1 table 77")],
    ["host/rules", ...both("rule add fwmark 7 iif lo table 77")],
    ["host/rules", ...both("-6 rule add to 2001:db8::/64 unreachable")],
    ["host/neighbours", ...both("neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev p1")],
    [
      "host/qdiscs",
      "tc qdisc add dev lo root tbf rate 1mbit burst 10k latency 10ms",
      "tc qdisc del dev lo root",
    ],
    ["host/qdiscs", "tc qdisc add dev p1 ingress", "tc qdisc del dev p1 ingress"],
    ["host/nft", "nft add table inet x0", "nft delete table inet x0"],
    [
      "host/sysctls",
      "echo 1 >/proc/sys/net/ipv4/ip_forward",
      "echo 0 >/proc/sys/net/ipv4/ip_forward",
    ],
    [
      "host/sysctls",
      "echo 1 >/proc/sys/net/ipv4/conf/p1/proxy_arp",
      "echo 0 >/proc/sys/net/ipv4/conf/p1/proxy_arp",
    ],
    ["files", `mkdir ${sandbox.dir}/x0`, `rmdir ${sandbox.dir}/x0`],
  ];
  for (const [section, change, back] of changes) {
    await test.step(change, async () => {
      const before = await snapshot(sandbox);
      await sandbox.inside(sandbox.host, ["sh", "-c", change]);
      const changed = await snapshot(sandbox);
      assert(difference(before, changed).includes(section));
      assertThrows(() => assertSame(before, changed), Error, section);
      await sandbox.inside(sandbox.host, ["sh", "-c", back]);
      assertSame(before, await snapshot(sandbox));
    });
  }
  await test.step("iptables", async () => {
    const rule = "iptables -w -t nat -A POSTROUTING -j MASQUERADE";
    const before = await snapshot(sandbox);
    await sandbox.inside(sandbox.host, ["sh", "-c", rule]);
    const allow = ["iptablesTables"] as const;
    assertEquals(difference(before, await snapshot(sandbox), { allow }), [
      "host/iptables",
      "  + nat -A POSTROUTING -j MASQUERADE",
    ]);
    await sandbox.inside(sandbox.host, ["sh", "-c", rule.replace("-A", "-D")]);
    assertSame(before, await snapshot(sandbox), { allow });
  });
});

/** Adds something by `ip`, and takes it away again. */
function both(words: string): [change: string, back: string] {
  return [`ip ${words}`, `ip ${words.replace(" add ", " del ")}`];
}

interface ShownLink {
  readonly ifname: string;
  readonly address: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

kernelTest("a state names what `ip` names", { needs: ["link:veth"] }, async (sandbox) => {
  await sandbox.outside();
  const state = await snapshot(sandbox);
  const shown = await sandbox.ipJson<ShownLink>(sandbox.host, "address show");
  const first = (section: string, pattern: RegExp) =>
    state.get(section)!.map((line) => pattern.exec(line)!.slice(1).join(" "));
  assertEquals(
    first("host/links", /^(\S+) .* mac (\S+)/),
    shown.map(({ ifname, address }) => `${ifname} ${address}`).sort(),
  );
  assertEquals(
    first("host/addresses", /^(\S+) \S+ (\S+)/).sort(),
    shown.flatMap(({ ifname, addr_info }) =>
      addr_info.filter(({ local }) => !local.startsWith("fe80:"))
        .map(({ local, prefixlen }) => `${ifname} ${local}/${prefixlen}`)
    ).sort(),
  );
});

kernelTest("packets arrive where somebody answers", {
  needs: ["link:veth"],
}, async (sandbox) => {
  const outside = await sandbox.outside();
  const server = sandbox.agent(outside);
  const client = sandbox.agent(sandbox.host);
  for (const transport of ["tcp", "udp"] as const) {
    for (const family of [4, 6] as const) {
      const address = family === 4 ? "0.0.0.0" : "::";
      const port = await server.listen(transport, { address });
      const to = family === 4 ? outsideNet.client4 : outsideNet.client6;
      const from = family === 4 ? outsideNet.host4 : outsideNet.host6;
      assertEquals(await client.call(to, port, { transport }), {
        is: "answered",
        from,
      });
    }
  }
  assert(await client.ping(outsideNet.client4));
  assert(await client.ping(outsideNet.client6));
  assertEquals(
    (await client.call("10.99.0.1", 80, { timeout: 200 })).is,
    "unreachable",
  );
  await sandbox.inside(outside, [
    "nft",
    "add table inet t; add chain inet t c { type filter hook input priority 0; policy drop; }",
  ]);
  assertEquals(
    (await client.call(outsideNet.client4, 80, { timeout: 200 })).is,
    "timeout",
  );
});

kernelTest("faults break exactly one step", {}, async (sandbox) => {
  await using faults = await Faults.install();
  const batch = [1, 2, 3].map((n) => `link add x${n} type veth peer y${n}`);
  const run = (argv: string[], stdin?: string) =>
    execute(["nsenter", `--net=${sandbox.host}`, "--", ...argv], { stdin });
  const runBatch = () => run(["/usr/local/sbin/ip", "-batch", "-"], `${batch.join("\n")}\n`);

  faults.arm(0);
  assertEquals((await run(["/usr/local/sbin/ip", "link"])).code, 0);
  assertEquals((await runBatch()).code, 0);
  assertEquals([faults.seen, faults.fired], [4, false]);
  for (const n of [1, 2, 3]) {
    await sandbox.ip(sandbox.host, [`link del x${n}`]);
  }

  faults.arm(2);
  const broken = await runBatch();
  assertEquals([broken.code, faults.fired], [1, true]);
  assertMatch(broken.stderr, /^Error: injected fault\.\nCommand failed -:2$/m);
  assert(await sandbox.hasLink(sandbox.host, "x1"));
  assert(!await sandbox.hasLink(sandbox.host, "x2"));
  assertEquals((await run(["/usr/local/sbin/ip", "link"])).code, 0);
});

kernelTest("a read-only folder refuses and comes back", {}, async (sandbox) => {
  const path = `${sandbox.dir}/x0`;
  {
    await using _ = await readOnly(sandbox.dir);
    assertThrows(() => Deno.writeTextFileSync(path, ""));
  }
  Deno.writeTextFileSync(path, "");
});

kernelTest("a held step waits until it is released", {}, async (sandbox) => {
  await using faults = await Faults.install();
  const start = () =>
    new Running(["nsenter", `--net=${sandbox.host}`, "/usr/local/sbin/ip", "link"], {});
  faults.armHold(1);
  const running = start();
  assert(await faults.held(running.finished));
  await faults.release();
  assertEquals((await running.finished).code, 0);
  faults.armHold(2);
  const other = start();
  assert(!await faults.held(other.finished));
  faults.armHold(1);
  const killed = start();
  assert(await faults.held(killed.finished));
  killed.signalAll("SIGKILL");
  await killed.allGone();
  assertEquals((await killed.finished).signal, "SIGKILL");
});
