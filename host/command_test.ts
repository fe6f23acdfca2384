import { assertEquals, assertThrows } from "@std/assert";
import type { Command } from "./command.ts";
import { checkTool, command, knownTools, shellLine, shellQuote } from "./command.ts";
import { hasTool, spawn, toolEnv, ToolMissingError, toolPath } from "./spawn.ts";

Deno.test("command() leaves out what is not given", () => {
  assertEquals(Object.keys(command("ip", ["link"])), ["kind", "tool", "args"]);
  assertEquals(Object.keys(command("ip", ["link"], { netns: undefined })), [
    "kind",
    "tool",
    "args",
  ]);
});

Deno.test("command() keeps a namespace and an empty stdin", () => {
  const netns = { path: "/run/netns/c1" };
  assertEquals(command("nft", ["-f", "-"], { netns, stdin: "" }), {
    kind: "command",
    tool: "nft",
    args: ["-f", "-"],
    netns,
    stdin: "",
  });
});

const quoted: readonly [string, string][] = [
  ["eth0", "eth0"],
  ["10.0.0.1/24", "10.0.0.1/24"],
  ["fd00::1", "fd00::1"],
  ["--net=/run/netns/a", "--net=/run/netns/a"],
  ["a@b%c+d,e_f-g", "a@b%c+d,e_f-g"],
  ["", "''"],
  ["a b", "'a b'"],
  ["it's", `'it'\\''s'`],
  ["it's $HOME", "'it'\\''s $HOME'"],
  ["$HOME", "'$HOME'"],
  ["a\nb", "'a\nb'"],
  ["~", "'~'"],
  ["é", "'é'"],
];
for (const [word, text] of quoted) {
  Deno.test(`shellQuote(${JSON.stringify(word)})`, () => assertEquals(shellQuote(word), text));
}

Deno.test("a shell reads quoted words as they were", async () => {
  const words = quoted.map(([word]) => word);
  const script = `printf '%s\\0' ${words.map(shellQuote).join(" ")}`;
  const { stdout } = await spawn("/bin/sh", ["-c", script]);
  assertEquals(stdout.split("\0").slice(0, -1), words);
});

const netns = { path: "/run/netns/a b" };
const shown: readonly [Command, string][] = [
  [command("ip", ["link", "show"]), "ip link show"],
  [command("ip", ["link", "set", "dev", "x", "alias", ""]), "ip link set dev x alias ''"],
  [command("ip", ["link"], { netns }), "nsenter --net='/run/netns/a b' ip link"],
  [
    command("nft", ["-f", "-"], { stdin: "add table ip t\n" }),
    [
      "nft -f - <<'EOF'",
      "add table ip t",
      "EOF",
    ].join("\n"),
  ],
  [command("nft", ["-f", "-"], { stdin: "a\nb" }), "nft -f - <<'EOF'\na\nb\nEOF"],
];
for (const [cmd, line] of shown) {
  Deno.test(`shellLine() gives ${JSON.stringify(line)}`, () => assertEquals(shellLine(cmd), line));
}

Deno.test("toolPath() finds a program by its full path and names the one it does not find", () => {
  assertEquals(toolPath("sh").endsWith("/sh"), true);
  assertEquals(hasTool("sh"), true);
  const absent = "no-such-tool";
  assertEquals(hasTool(absent), false);
  assertThrows(() => toolPath(absent), ToolMissingError, 'Cannot find program "no-such-tool"');
});

Deno.test("no tool is named twice, and the environment of all has fixed words", () => {
  assertEquals(new Set(knownTools).size, knownTools.length);
  assertEquals(toolEnv.LC_ALL, "C");
});

const refused = [
  "",
  "/usr/bin/wg",
  "./wg",
  "..",
  "wg,ip",
  "wg set",
  "-c",
  ".hidden",
  "wg\n",
  "wég",
];
for (const name of refused) {
  Deno.test(`command() refuses the tool ${JSON.stringify(name)}`, () => {
    const message = `Cannot use program ${JSON.stringify(name)}: not a plain program name`;
    assertThrows(() => command(name, []), TypeError, message);
    assertThrows(() => hasTool(name), TypeError, message);
  });
}

Deno.test("checkTool() takes names of programs that this project does not know", () => {
  for (const name of ["wg", "ethtool", "ovs-vsctl", "python3.11", "g++", ...knownTools]) {
    checkTool(name);
  }
});

Deno.test("a command of another program enters a namespace and is shown like any other", () => {
  const netns = { path: "/run/netns/c1" };
  assertEquals(
    shellLine(command("ethtool", ["--offload", "eth0", "tx", "off"], { netns })),
    "nsenter --net=/run/netns/c1 ethtool --offload eth0 tx off",
  );
});
