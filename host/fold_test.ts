import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Command } from "./command.ts";
import { command, shellLine } from "./command.ts";
import type { Unit } from "./fold.ts";
import { fold, processes } from "./fold.ts";
import type { Output } from "./spawn.ts";
import { spawn, toolEnv } from "./spawn.ts";
import type { Action, Step } from "./step.ts";
import { sysctl } from "./step.ts";

const netns = { path: "/run/netns/c1" };
const inside = { netns };

function steps(...actions: readonly Action[]): Step[] {
  return actions.map((action, index) => ({ why: `do ${index}`, do: action }));
}

function ip(...args: readonly string[]): Command {
  return command("ip", args);
}

/** What is executed, as a person would type it. */
function lines(units: readonly Unit[]): string[] {
  return units.map(({ run }) => run.kind === "command" ? shellLine(run) : run.kind);
}

const a = ip("link", "add", "name", "a", "type", "bridge");
const b = ip("link", "set", "dev", "a", "up");
const c = ip("addr", "add", "10.0.0.1/24", "dev", "a");
const setA = sysctl("net/ipv4/conf/a/forwarding", 1);

Deno.test("fold() of nothing is nothing", () => {
  assertEquals(fold([]), []);
  assertEquals(processes([]), 0);
});

Deno.test("fold() leaves a lone command as it is", () => {
  assertEquals(lines(fold(steps(a))), ["ip link add name a type bridge"]);
});

Deno.test("fold() joins neighbours of one tool to a batch", () => {
  assertEquals(lines(fold(steps(a, b, c))), [
    "ip -d -j -batch - <<'EOF'\n" +
    "link add name a type bridge\nlink set dev a up\naddr add 10.0.0.1/24 dev a\nEOF",
  ]);
  const vlan = command("bridge", ["vlan", "del", "dev", "p", "vid", "1"]);
  assertEquals(lines(fold(steps(vlan, vlan))), [
    "bridge -batch - <<'EOF'\nvlan del dev p vid 1\nvlan del dev p vid 1\nEOF",
  ]);
});

Deno.test("fold() takes options that a batch sets itself off a query", () => {
  const [unit] = fold(steps(a, ip("-d", "-j", "addr", "show", "dev", "a")));
  assertEquals((unit!.run as Command).stdin, "link add name a type bridge\naddr show dev a\n");
});

Deno.test("fold() enters a namespace once for a batch", () => {
  const there = steps(ip("link", "show"), ip("addr", "show"))
    .map((step) => ({ ...step, do: { ...step.do as Command, netns } }));
  assertEquals(lines(fold(there)), [
    "nsenter --net=/run/netns/c1 ip -d -j -batch - <<'EOF'\nlink show\naddr show\nEOF",
  ]);
});

Deno.test("fold() keeps the order across namespaces, tools and files", () => {
  const write: Action = { kind: "write", path: "/x", text: "x" };
  const plan = steps(a, { ...b, netns }, c, write, c, command("nft", ["-f", "-"], { stdin: "x" }));
  assertEquals(fold(plan).map((unit) => unit.steps.map(({ why }) => why)), [
    ["do 0"],
    ["do 1"],
    ["do 2"],
    ["do 3"],
    ["do 4"],
    ["do 5"],
  ]);
  assertEquals(processes(plan), 5);
});

const alone: readonly [string, Command][] = [
  ["a word with a blank", ip("link", "set", "dev", "a", "alias", "x y")],
  ["a comment sign", ip("link", "set", "dev", "a", "alias", "x#y")],
  ["a quote", ip("link", "set", "dev", "a'", "up")],
  ["a backslash", ip("link", "set", "dev", "a\\", "up")],
  ["an empty word", ip("link", "set", "dev", "a", "alias", "")],
  ["an option", ip("-s", "route", "show")],
  ["its own stdin", command("ip", ["-batch", "-"], { stdin: "link show\n" })],
];
for (const [name, cmd] of alone) {
  Deno.test(`fold() runs a command with ${name} by itself`, () => {
    const units = fold(steps(a, cmd, a));
    assertEquals(units.map((unit) => unit.steps.length), [1, 1, 1]);
    assertEquals(units[1]!.run, cmd);
  });
}

Deno.test("fold() joins transactions of one tool, arguments and namespace", () => {
  const add = (text: string) => command("nft", ["-f", "-"], { stdin: text });
  const units = fold(
    steps(add("one"), add("two\n"), command("nft", ["-e", "-f", "-"], { stdin: "three" }), {
      ...add("four"),
      netns,
    }),
  );
  assertEquals(lines(units), [
    "nft -f - <<'EOF'\none\ntwo\nEOF",
    "nft -e -f - <<'EOF'\nthree\nEOF",
    "nsenter --net=/run/netns/c1 nft -f - <<'EOF'\nfour\nEOF",
  ]);
});

Deno.test("fold() leaves a transaction alone whose failure is tolerated", () => {
  const add = command("nft", ["-f", "-"], { stdin: "x\n" });
  const plan: Step[] = [
    { why: "one", do: add },
    { why: "two", do: add, tolerate: ["missing"] },
    { why: "three", do: add },
    { why: "four", do: add },
  ];
  assertEquals(fold(plan).map((unit) => unit.steps.length), [1, 1, 2]);
});

Deno.test("only nft takes all steps of a transaction back when one fails", () => {
  const twice = (cmd: Command) => fold(steps(cmd, cmd))[0]!;
  assertEquals(twice(command("nft", ["-f", "-"], { stdin: "x" })).atomic, true);
  assertEquals(twice(command("iptables-restore", ["-w"], { stdin: "x" })).atomic, false);
  assertEquals(twice(a).atomic, false);
  assertEquals(fold(steps(a))[0]!.atomic, true);
});

/** Three steps of one, two and three lines. */
const transactions = ["1\n", "2\n3\n", "4\n5\n6"];
const located: readonly [string, number][] = [
  ["/dev/stdin:1:1-5: Error: x", 0],
  ["/dev/stdin:2:1-5: Error: x", 1],
  ["/dev/stdin:3:17-20: Error: Could not process rule: File exists\n4\n^\n", 1],
  ["-:6:1-5: Error: x", 2],
  ["iptables-restore: line 4 failed: No chain/target/match by that name.", 2],
  [
    "iptables-restore v1.8.9 (nf_tables): Chain 'C9' does not exist\nError occurred at line: 3\n",
    1,
  ],
  ["iptables-restore v1.8.9 (nf_tables): \nline 2: RULE_APPEND failed (x)\n", 1],
  ["line 99", 2],
  ["nothing of use", 0],
];
for (const [stderr, index] of located) {
  Deno.test(`a transaction that says ${JSON.stringify(stderr)} failed at step ${index}`, () => {
    const plan = transactions.map((stdin) => command("iptables-restore", [], { stdin }));
    assertEquals(fold(steps(...plan))[0]!.failed(stderr), index);
  });
}

const long = ip("link", "add", "name", "abcdefghijklmnopq", "type", "bridge");
const batchFailures: readonly [string, number][] = [
  ["RTNETLINK answers: File exists\nCommand failed -:1\n", 0],
  ["RTNETLINK answers: File exists\nCommand failed -:3\n", 2],
  ['Cannot find device "a"\nCommand failed -:2\n', 1],
  ["Command failed -:99\n", 3],
  ['Error: argument "abcdefghijklmnopq" is wrong: "name" not a valid ifname\n', 3],
  ['Error: any valid prefix is expected rather than "10.0.0.1/24".\n', 2],
  ["nsenter: cannot open /run/netns/c1: No such file or directory\n", 0],
];
for (const [stderr, index] of batchFailures) {
  Deno.test(`a batch that says ${JSON.stringify(stderr)} failed at step ${index}`, () => {
    assertEquals(fold(steps(a, b, c, long))[0]!.failed(stderr), index);
  });
}

Deno.test("fold() writes a variable with a script, on the host too", () => {
  const [unit, ...more] = fold(steps(setA));
  assertEquals(more, []);
  const { tool, args } = unit!.run as Command;
  assertEquals([tool, args[0]], ["sh", "-c"]);
  assertEquals(args[1]!.split("\n").at(-2), "w 0 net/ipv4/conf/a/forwarding 1 ''");
});

Deno.test("fold() puts variables between commands into one script, the last tool in place of sh", () => {
  const optional = sysctl("net/ipv6/conf/a/accept_dad", 0, { optional: true });
  const [unit, ...more] = fold(steps(a, setA, optional, b, c));
  assertEquals(more, []);
  const text = (unit!.run as Command).args[1]!;
  assertEquals(
    text.slice(text.indexOf("\n}\n") + 3),
    [
      `ip -d -j -batch - <<'EOF' || { echo "Segment failed 0" >&2; exit 1; }`,
      "link add name a type bridge",
      "EOF",
      "w 1 net/ipv4/conf/a/forwarding 1 ''",
      "w 2 net/ipv6/conf/a/accept_dad 0 y",
      "exec ip -d -j -batch - <<'EOF'",
      "link set dev a up",
      "addr add 10.0.0.1/24 dev a",
      "EOF",
      "",
    ].join("\n"),
  );
});

Deno.test("fold() does without the setter where there are no variables", () => {
  const vlan = command("bridge", ["vlan", "del", "dev", "a", "vid", "1"]);
  const [unit] = fold(steps(a, vlan));
  assertEquals((unit!.run as Command).args[1]!.startsWith("ip -d -j -batch"), true);
});

Deno.test("fold() enters a namespace once for a script", () => {
  const plan = steps({ ...a, netns }, sysctl("net/ipv4/ip_forward", 1, inside), { ...b, netns });
  const [unit, ...more] = fold(plan);
  assertEquals(more, []);
  assertEquals((unit!.run as Command).netns, netns);
  assertEquals(processes(plan), 1);
});

Deno.test("fold() does not mix variables of two namespaces", () => {
  assertEquals(processes(steps(setA, sysctl("net/ipv4/ip_forward", 1, inside))), 2);
});

const vlan = command("bridge", ["vlan", "del", "dev", "a", "vid", "1"]);
const scriptFailures: readonly [string, number][] = [
  ["RTNETLINK answers: File exists\nCommand failed -:2\nSegment failed 0\n", 1],
  ["sh: 7: cannot create /proc/sys/x: Directory nonexistent\nStep failed 2\n", 2],
  ["RTNETLINK answers: x\nCommand failed -:1\n", 3],
  ["RTNETLINK answers: x\nCommand failed -:2\n", 4],
  ["Cannot read\n", 3],
  ["nsenter: cannot open /run/netns/c1: No such file or directory\n", 0],
];
for (const [stderr, index] of scriptFailures) {
  Deno.test(`a script that says ${JSON.stringify(stderr)} failed at step ${index}`, () => {
    assertEquals(fold(steps(a, b, setA, vlan, vlan))[0]!.failed(stderr), index);
  });
}

Deno.test("a script of variables that says nothing failed at its first", () => {
  assertEquals(fold(steps(setA, setA))[0]!.failed(""), 0);
  assertEquals(fold(steps(a, b, setA, setA))[0]!.failed(""), 2);
});

/** A folder with variables in place of `/proc/sys` and a recording `ip` and `bridge`. */
class Stage implements Disposable {
  readonly dir = Deno.makeTempDirSync();

  constructor() {
    for (const tool of ["ip", "bridge"]) {
      // Fails like iproute2 at a line that holds "fail".
      const script = `#!/bin/sh\nn=0\nwhile read -r line; do n=$((n + 1))\n` +
        `case $line in *fail*) echo "RTNETLINK answers: no" >&2; ` +
        `echo "Command failed -:$n" >&2; exit 1;; esac\n` +
        `echo "${tool} $line" >>${this.dir}/log\ndone\n`;
      Deno.writeTextFileSync(`${this.dir}/${tool}`, script, { mode: 0o755 });
    }
    Deno.mkdirSync(`${this.dir}/sys`);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }

  set(key: string, text: string): void {
    Deno.writeTextFileSync(`${this.dir}/sys/${key}`, text);
  }

  get(key: string): string {
    return Deno.readTextFileSync(`${this.dir}/sys/${key}`);
  }

  /** Lines that the tools have read. */
  log(): string[] {
    return Deno.readTextFileSync(`${this.dir}/log`).trim().split("\n");
  }

  async run(unit: Unit): Promise<Output> {
    const [option, text] = (unit.run as Command).args;
    const script = text!.replaceAll("/proc/sys", `${this.dir}/sys`);
    const env = { ...toolEnv, PATH: `${this.dir}:${toolEnv.PATH}` };
    return await spawn("/bin/sh", [option!, script], { env });
  }
}

Deno.test("a script carries out every step in order", async () => {
  using stage = new Stage();
  stage.set("a", "0\n");
  stage.set("same", "1\n");
  stage.set("list", "10\t20\n");
  const plan = steps(
    a,
    sysctl("a", 1),
    sysctl("same", 1),
    vlan,
    sysctl("list", "10\t20"),
    sysctl("gone/here", 1, { optional: true }),
    b,
  );
  const output = await stage.run(fold(plan)[0]!);
  assertEquals([output.code, output.stderr], [0, ""]);
  assertEquals(stage.log(), [
    "ip link add name a type bridge",
    "bridge vlan del dev a vid 1",
    "ip link set dev a up",
  ]);
  assertEquals([stage.get("a"), stage.get("same"), stage.get("list")], ["1", "1", "10\t20"]);
});

Deno.test("a script may end with a variable", async () => {
  using stage = new Stage();
  stage.set("a", "0\n");
  const output = await stage.run(fold(steps(a, sysctl("a", 1)))[0]!);
  assertEquals([output.code, output.stderr, stage.get("a")], [0, "", "1"]);
});

Deno.test("a script stops at a variable that cannot be written and names the step", async () => {
  using stage = new Stage();
  const [unit] = fold(steps(a, sysctl("gone/here", 1), b));
  const output = await stage.run(unit!);
  assertEquals(output.code, 1);
  assertStringIncludes(output.stderr, "gone/here");
  assertEquals(unit!.failed(output.stderr), 1);
  assertEquals(stage.log(), ["ip link add name a type bridge"]);
});

Deno.test("a script stops at a failing command of any segment and names the step", async () => {
  const bad = ip("link", "set", "dev", "fail", "up");
  const plans = [
    { plan: steps(a, bad, setA, vlan), failed: 1, done: 1 },
    { plan: steps(vlan, a, b, bad), failed: 3, done: 3 },
  ];
  for (const { plan, failed, done } of plans) {
    using stage = new Stage();
    const [unit] = fold(plan);
    const output = await stage.run(unit!);
    assertEquals(output.code, 1);
    assertEquals(unit!.failed(output.stderr), failed);
    assertEquals(stage.log().length, done);
  }
});

Deno.test("a script takes names with quotes and dollar signs as they are", async () => {
  using stage = new Stage();
  for (const name of ["a';exit;'", "$(exit)", "`exit`", '"', "*"]) {
    stage.set(name, "0\n");
    const output = await stage.run(fold(steps(sysctl(name, 1)))[0]!);
    assertEquals([output.code, output.stderr, stage.get(name)], [0, "", "1"]);
  }
});

Deno.test("a script passes words with dollar signs to the tools as they are", async () => {
  using stage = new Stage();
  stage.set("a", "0\n");
  const odd = ip("link", "set", "dev", "$PATH`x`", "up");
  const output = await stage.run(fold(steps(odd, sysctl("a", 1), odd))[0]!);
  assertEquals([output.code, output.stderr], [0, ""]);
  assertEquals(stage.log(), ["ip link set dev $PATH`x` up", "ip link set dev $PATH`x` up"]);
});

Deno.test("fold() gives what is told its family a batch of its own, in the same process", () => {
  const six = (last: number) =>
    ip("-6", "rule", "add", "from", `fd00::${last}/128`, "table", "100");
  assertEquals(lines(fold(steps(six(1), six(2)))), [
    "ip -6 -d -j -batch - <<'EOF'\nrule add from fd00::1/128 table 100\nrule add from fd00::2/128 table 100\nEOF",
  ]);
  assertEquals(lines(fold(steps(six(1)))), ["ip -6 rule add from fd00::1/128 table 100"]);
  const mixed = steps(a, six(1), six(2), b);
  assertEquals(processes(mixed), 1);
  const unit = fold(mixed)[0]!;
  assertEquals(unit.steps.length, 4);
  const text = (unit.run as Command).args[1]!;
  assertStringIncludes(text, "ip -6 -d -j -batch - <<'EOF'");
  assertEquals(unit.failed("Command failed -:2\nSegment failed 1\n"), 2);
});

Deno.test("fold() gives each command of a program that it does not know a process of its own", () => {
  const off = (name: string) => command("ethtool", ["--offload", "eth0", name, "off"], inside);
  const units = fold(steps(a, off("tx"), off("rx"), b));
  assertEquals(lines(units), [
    "ip link add name a type bridge",
    "nsenter --net=/run/netns/c1 ethtool --offload eth0 tx off",
    "nsenter --net=/run/netns/c1 ethtool --offload eth0 rx off",
    "ip link set dev a up",
  ]);
  assertEquals(units.map(({ failed }) => failed("anything")), [0, 0, 0, 0]);
});
