import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Answers } from "../tests/harness/recorder.ts";
import { fails, prints, Recorder } from "../tests/harness/recorder.ts";
import type { JsonObject } from "../cni/types.ts";
import { run } from "./main.ts";

/** A network configuration, recording plugins, and a command line over them. */
class Shell extends Recorder {
  readonly confDir: string = `${this.dir}/net.d`;
  readonly cacheDir: string = `${this.dir}/cache`;
  /** Variables; `CNI_PATH` and `NETCONFPATH` lead here. */
  env: Record<string, string> = { CNI_PATH: this.dir, NETCONFPATH: this.confDir };
  terminal = false;

  constructor(plugins: Record<string, Answers> = {}) {
    super();
    Deno.mkdirSync(this.confDir);
    for (const [type, answers] of Object.entries(plugins)) this.add(type, answers);
  }

  /** Writes a network's file. */
  network(keys: JsonObject = {}, file = "10-mynet.conflist"): string {
    const list = { name: "mynet", cniVersion: "1.1.0", plugins: [{ type: "noop" }], ...keys };
    const path = `${this.confDir}/${file}`;
    Deno.writeTextFileSync(path, JSON.stringify(list));
    return path;
  }

  /** Runs a command line; the cache is this test's own. */
  async cni(...args: string[]): Promise<{ exit: number; stdout: string; stderr: string }> {
    let [stdout, stderr] = ["", ""];
    const caches = /^(add|check|del|gc|status|list|plan|up|down)$/.test(args[0] ?? "");
    const exit = await run([...args, ...(caches ? ["--cache-dir", this.cacheDir] : [])], {
      env: (name) => this.env[name],
      stdout: (text) => void (stdout += text),
      stderr: (text) => void (stderr += text),
      stdoutIsTerminal: this.terminal,
      stderrIsTerminal: this.terminal,
      signal: new AbortController().signal,
    });
    return { exit, stdout, stderr };
  }
}

const netns = "/var/run/netns/testing";
const id = "cnitool-77383ca0a0715733ca6f";
const result: JsonObject = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "host0" }, { name: "eth0", sandbox: netns }],
  ips: [{ interface: 1, address: "10.1.2.3/24" }],
};

Deno.test("add calls the plugins as cnitool does and prints the result as cnitool does", async () => {
  using shell = new Shell({ noop: { ADD: { ...prints(result), stderr: "hello\n" } } });
  shell.network({ plugins: [{ type: "noop", capabilities: { mac: true } }] });
  shell.env.CAP_ARGS = JSON.stringify({ mac: "0a:00:00:00:00:01", other: 1 });
  shell.env.CNI_ARGS = "FOO=BAR;A=1";
  const output = await shell.cni("add", "mynet", netns);
  assertEquals(output, { exit: 0, stdout: JSON.stringify(result, null, 4), stderr: "hello\n" });
  const { env, config } = shell.calls("noop")[0]!;
  assertEquals(
    [env.CNI_CONTAINERID, env.CNI_NETNS, env.CNI_IFNAME, env.CNI_ARGS, env.CNI_PATH],
    [id, netns, "eth0", "FOO=BAR;A=1", shell.dir],
  );
  assertEquals(config.runtimeConfig, { mac: "0a:00:00:00:00:01" });
});

Deno.test("add draws on a terminal and with --pretty, and --json wins", async () => {
  using shell = new Shell({ noop: { ADD: prints(result) } });
  shell.network();
  const pretty = await shell.cni("add", "mynet", netns, "--pretty");
  assertStringIncludes(pretty.stdout, "host0 ───┼── eth0");
  shell.terminal = true;
  assertEquals((await shell.cni("add", "mynet", netns)).stdout, pretty.stdout);
  const json = await shell.cni("add", "mynet", netns, "--json");
  assertEquals(JSON.parse(json.stdout), result);
});

const ifNames: readonly [string[], Record<string, string>, string][] = [
  [[], {}, "eth0"],
  [[], { CNI_IFNAME: "" }, "eth0"],
  [[], { CNI_IFNAME: "net1" }, "net1"],
  [["-i", "net2"], { CNI_IFNAME: "net1" }, "net2"],
  [["--ifname=net3"], {}, "net3"],
];
for (const [flags, env, expected] of ifNames) {
  Deno.test(`the interface is ${expected} with ${flags} and ${JSON.stringify(env)}`, async () => {
    using shell = new Shell({ noop: { ADD: prints(result) } });
    shell.network();
    shell.env = { ...shell.env, ...env };
    await shell.cni("add", ...flags, "mynet", netns);
    assertEquals(shell.calls("noop")[0]!.env.CNI_IFNAME, expected);
  });
}

Deno.test("add, check, status, del and gc are silent but for the result", async () => {
  using shell = new Shell({ noop: { ADD: prints(result) } });
  shell.network();
  const silent = { exit: 0, stdout: "", stderr: "" };
  assertEquals((await shell.cni("add", "mynet", netns)).exit, 0);
  assertEquals(await shell.cni("check", "mynet", netns), silent);
  assertEquals(await shell.cni("status", "mynet", netns), silent);
  assertEquals(await shell.cni("del", "mynet", netns), silent);
  assertEquals(await shell.cni("gc", "mynet", netns), silent);
  assertEquals(shell.log(), ["noop ADD", "noop CHECK", "noop STATUS", "noop DEL", "noop GC"]);
  const [, check] = shell.calls("noop");
  assertEquals(check!.config.prevResult, result);
});

Deno.test("check and del take the add's runtime data where the environment has none", async () => {
  using shell = new Shell({ noop: { ADD: prints(result) } });
  shell.network({ plugins: [{ type: "noop", capabilities: { mac: true } }] });
  const [mac, other] = ["0a:00:00:00:00:01", "0a:00:00:00:00:02"];
  const given = { CAP_ARGS: JSON.stringify({ mac }), CNI_ARGS: "FOO=BAR" };
  Object.assign(shell.env, given);
  await shell.cni("add", "mynet", netns);
  shell.env.CAP_ARGS = JSON.stringify({ mac: other });
  shell.env.CNI_ARGS = "FOO=OTHER";
  await shell.cni("check", "mynet", netns);
  for (const name of Object.keys(given)) delete shell.env[name];
  await shell.cni("check", "mynet", netns);
  await shell.cni("del", "mynet", netns);
  const [, ...calls] = shell.calls("noop");
  assertEquals(calls.map(({ env, config }) => [env.CNI_ARGS, config.runtimeConfig]), [
    ["FOO=OTHER", { mac: other }],
    ["FOO=BAR", { mac }],
    ["FOO=BAR", { mac }],
  ]);
});

Deno.test("check, status, del and gc say on a terminal, and in JSON, that they worked", async () => {
  using shell = new Shell({ noop: {} });
  shell.network();
  for (const args of [["check", "mynet", netns], ["del", "mynet", netns], ["status", "mynet"]]) {
    shell.terminal = true;
    assertMatch((await shell.cni(...args)).stdout, /mynet/);
    const json = JSON.parse((await shell.cni(...args, "--json")).stdout);
    assertEquals([json.network, json[args[0]!]], ["mynet", "ok"]);
  }
});

Deno.test("del finds an attachment under another spelling of its namespace's path", async () => {
  using shell = new Shell({ noop: { ADD: prints(result) } });
  shell.network();
  await shell.cni("add", "mynet", netns);
  await shell.cni("del", "mynet", "/run/netns/testing");
  const { env, config } = shell.calls("noop")[1]!;
  assertEquals([env.CNI_CONTAINERID, env.CNI_NETNS], [id, netns]);
  assertEquals(config.prevResult, result);
});

Deno.test("del stops at the first failure unless --best-effort", async () => {
  using shell = new Shell({ noop: {}, bad: { DEL: fails(5, "banana") } });
  shell.network({ plugins: [{ type: "noop" }, { type: "bad" }] });
  assertEquals((await shell.cni("del", "mynet", netns)).exit, 1);
  assertEquals(shell.log(), ["bad DEL"]);
  assertEquals((await shell.cni("del", "mynet", netns, "--best-effort")).exit, 1);
  assertEquals(shell.log(), ["bad DEL", "bad DEL", "noop DEL"]);
});

Deno.test("gc removes what --keep does not name, and tells the plugins", async () => {
  using shell = new Shell({ noop: { ADD: prints(result) } });
  shell.network();
  for (const ifName of ["eth0", "eth1"]) await shell.cni("add", "mynet", netns, "-i", ifName);
  const kept = await shell.cni("gc", "mynet", "--keep", `${id}/eth1`);
  assertEquals(kept.exit, 0);
  assertEquals(shell.log().slice(2), ["noop DEL", "noop GC"]);
  const valid = (call: number) => shell.calls("noop")[call]!.config["cni.dev/valid-attachments"];
  assertEquals(valid(3), [{ containerID: id, ifname: "eth1" }]);
  await shell.cni("gc", "mynet");
  assertEquals(shell.log().slice(4), ["noop DEL", "noop GC"]);
  assertEquals(valid(5), []);
});

Deno.test("an error has text, code and details, and nothing on stdout", async () => {
  using shell = new Shell({ noop: { ADD: fails(11, "banana") } });
  shell.network();
  const { exit, stdout, stderr } = await shell.cni("add", "mynet", netns);
  assertEquals([exit, stdout], [1, ""]);
  assertEquals(
    stderr,
    'Error: plugin type="noop" failed (add): banana\n  code: 11 (try again later)\n',
  );
});

Deno.test("an error with --json is the protocol's object on stdout", async () => {
  using shell = new Shell({ noop: { STATUS: fails(50, "banana") } });
  shell.network();
  const { exit, stdout, stderr } = await shell.cni("status", "mynet", "--json");
  assertEquals([exit, stderr], [1, ""]);
  assertEquals(JSON.parse(stdout), { cniVersion: "1.1.0", code: 50, msg: "banana" });
});

const mistakes: readonly [string[], Record<string, string>, string][] = [
  [["add", "mynet"], {}, "requires at least 2 arg(s), only received 1"],
  [["add", "a", "b", "c"], {}, "accepts at most 2 arg(s), received 3"],
  [["add", "mynet", netns, "--nope"], {}, "unknown flag: --nope"],
  [["list", "--exec"], {}, "unknown flag: --exec"],
  [["add", "mynet", netns, "--ifname"], {}, "flag needs an argument: --ifname"],
  [["ad"], {}, 'unknown command "ad" for "cni"; did you mean "add"?'],
  [["frobnicate"], {}, 'unknown command "frobnicate" for "cni"\n'],
  [["gc", "mynet", "--keep", "eth0"], {}, 'invalid --keep "eth0": expected ID/IFNAME'],
  [["add", "other", netns], {}, 'no net configuration with name "other" in '],
  [["add", "mynet", netns], { NETCONFPATH: "/nowhere" }, "no net configurations found in /nowhere"],
  [["add", "mynet", netns], { CNI_ARGS: "A=1;" }, 'invalid CNI_ARGS pair ""'],
  [["add", "mynet", netns], { CNI_ARGS: "A=1=2" }, 'invalid CNI_ARGS pair "A=1=2"'],
  [["add", "mynet", netns], { CNI_ARGS: "A=" }, 'invalid CNI_ARGS pair "A="'],
  [["add", "mynet", netns], { CAP_ARGS: "{" }, "Cannot use CAP_ARGS: unexpected end of JSON"],
  [["add", "mynet", netns], { CAP_ARGS: "[]" }, "Cannot use CAP_ARGS: expected an object"],
  [["add", "mynet", netns], { CAP_ARGS: "{", CNI_ARGS: "A" }, "Cannot use CAP_ARGS"],
  [["up", "../x"], {}, 'Cannot use name "../x": expected letters'],
  [["down", "a/b"], {}, 'Cannot use name "a/b": expected letters'],
];
for (const [args, env, text] of mistakes) {
  Deno.test(`cni ${args.join(" ")} with ${JSON.stringify(env)} is refused`, async () => {
    using shell = new Shell({ noop: {} });
    shell.network();
    shell.env = { ...shell.env, ...env };
    const { exit, stdout, stderr } = await shell.cni(...args);
    assertEquals([exit, stdout], [1, ""]);
    assert(stderr.startsWith("Error: "), stderr);
    assertStringIncludes(stderr, text);
    assertEquals(shell.log(), []);
  });
}

Deno.test("help is on stdout, one screen for every command", async () => {
  using shell = new Shell();
  const overview = await shell.cni();
  assertEquals(overview.exit, 0);
  const names = [...overview.stdout.matchAll(/^ {2}(\w+) {2,}\w/gm)].map(([, name]) => name!);
  assertEquals(names.length, 12);
  for (const name of names) {
    const help = await shell.cni("help", name);
    const flag = await shell.cni(name, "-h");
    assertEquals(flag, help);
    assertEquals(help.exit, 0);
    assert(help.stdout.startsWith(`Usage: cni ${name}`), help.stdout);
    assertStringIncludes(help.stdout, "\nExample: cni ");
    const lines = help.stdout.split("\n");
    assert(lines.length <= 25, `${name}: ${lines.length} lines`);
    for (const line of lines) assert(line.length <= 88, line);
  }
});

Deno.test("version tells versions and plugins", async () => {
  const project = JSON.parse(Deno.readTextFileSync(new URL("../deno.json", import.meta.url)));
  using shell = new Shell();
  const { stdout } = await shell.cni("version", "--json");
  const value = JSON.parse(stdout);
  assertEquals(value.version, project.version);
  assertEquals(value.supportedVersions.at(-1), "1.1.0");
  assert(value.plugins.includes("bridge"));
  assertStringIncludes((await shell.cni("version")).stdout, value.version);
});

Deno.test("list shows networks, files that are wrong, and what is attached", async () => {
  using shell = new Shell({ noop: { ADD: prints(result) } });
  shell.network();
  shell.network({ name: "gone" }, "20-gone.conflist");
  await shell.cni("add", "mynet", netns);
  await shell.cni("add", "gone", "/proc/self/ns/net");
  Deno.writeTextFileSync(`${shell.confDir}/20-gone.conflist`, "{");
  const value = JSON.parse((await shell.cni("list", "--json")).stdout);
  assertEquals(value.networks[0], {
    name: "mynet",
    cniVersion: "1.1.0",
    plugins: ["noop"],
    file: `${shell.confDir}/10-mynet.conflist`,
  });
  assertStringIncludes(value.networks[1].error, "unexpected end of JSON input");
  const states = value.attachments.map(({ network, state }: JsonObject) => [network, state]);
  assertEquals(states, [["gone", "network gone"], ["mynet", "netns gone"]]);
  assertEquals(value.attachments[1].addresses, ["10.1.2.3/24"]);
  const text = (await shell.cni("list")).stdout;
  assertMatch(
    text,
    /^mynet +eth0 +10\.1\.2\.3\/24 +\/var\/run\/netns\/testing +netns gone +cnitool-/m,
  );
  assertMatch(text, /cannot be read: .*unexpected end/);
  const one = JSON.parse((await shell.cni("list", "mynet", "--json")).stdout);
  assertEquals([one.networks.length, one.attachments.length], [1, 1]);
});

Deno.test("list says when there is nothing", async () => {
  using shell = new Shell();
  const { stdout } = await shell.cni("list");
  assertStringIncludes(stdout, `No network is configured in ${shell.confDir}`);
  assertStringIncludes(stdout, `Nothing is attached, as far as ${shell.cacheDir} tells`);
});

Deno.test("plan executes no plugin of others", async () => {
  using shell = new Shell({ noop: { ADD: prints(result) } });
  shell.network();
  const { exit, stderr } = await shell.cni("plan", "mynet", netns);
  assertEquals(exit, 1);
  assertStringIncludes(stderr, 'Cannot plan plugin "noop"');
  assertEquals(shell.log(), []);
});

Deno.test("plan of DEL shows the steps of ours and keeps what is remembered", async () => {
  using shell = new Shell();
  shell.env.CNI_PATH = "/nowhere";
  const section = { type: "static", addresses: [{ address: "10.1.2.3/24" }] };
  shell.network({ plugins: [{ type: "static", ipam: section }] });
  await shell.cni("add", "mynet", netns);
  const { exit, stdout } = await shell.cni("plan", "mynet", netns, "--del", "--json");
  assertEquals(exit, 0);
  const value = JSON.parse(stdout);
  assertEquals([value.verb, value.processes, value.plugins[0].type], ["DEL", 0, "static"]);
  assertEquals(JSON.parse((await shell.cni("list", "--json")).stdout).attachments.length, 1);
});

Deno.test("our plugins run in process where none is installed, unless --exec", async () => {
  using shell = new Shell();
  shell.env.CNI_PATH = "/nowhere";
  const section = { type: "static", addresses: [{ address: "10.1.2.3/24" }] };
  shell.network({ plugins: [{ type: "static", ipam: section }] });
  const added = await shell.cni("add", "mynet", netns);
  assertEquals(JSON.parse(added.stdout).ips, [{ address: "10.1.2.3/24" }]);
  const { stderr } = await shell.cni("add", "mynet", netns, "--exec");
  assertStringIncludes(stderr, 'failed to find plugin "static" in path [/nowhere]');
});

Deno.test("up and down need to know which network is meant", async () => {
  using shell = new Shell({ noop: {} });
  const none = await shell.cni("up", "web");
  assertStringIncludes(none.stderr, `Cannot choose a network: there is none in "${shell.confDir}"`);
  shell.network();
  shell.network({ name: "other" }, "20-other.conflist");
  const several = await shell.cni("up", "web");
  assertStringIncludes(several.stderr, "holds mynet, other; name one with --network");
  shell.network({ name: 5 }, "00-broken.conflist");
  assertStringIncludes((await shell.cni("up", "web")).stderr, "00-broken.conflist");
  assertEquals(shell.log(), []);
});

Deno.test("down of what was never up is a success", async () => {
  using shell = new Shell({ noop: {} });
  shell.network();
  const { exit, stdout } = await shell.cni("down", "never-was-up-1", "never-was-up-2");
  assertEquals(exit, 0);
  assertEquals(
    stdout,
    "never-was-up-1: nothing is attached\nnever-was-up-2: nothing is attached\n",
  );
  assertEquals(shell.log(), []);
});

Deno.test("down uses the network as it was when its file is gone", async () => {
  using shell = new Shell({ noop: { ADD: prints(result) } });
  const path = shell.network();
  await shell.cni("add", "mynet", "/run/netns/never-was-up");
  Deno.removeSync(path);
  const { exit, stdout } = await shell.cni("down", "never-was-up");
  assertEquals([exit, stdout], [0, "never-was-up: detached eth0 on mynet\n"]);
  assertEquals(shell.log(), ["noop ADD", "noop DEL"]);
});

Deno.test("down goes on after a failure and reports it", async () => {
  using shell = new Shell({ noop: { ADD: prints(result), DEL: fails(5, "banana") } });
  shell.network();
  await shell.cni("add", "mynet", "/run/netns/never-was-up");
  const { exit, stdout, stderr } = await shell.cni("down", "never-was-up", "never-was-up-2");
  assertEquals([exit, stdout], [1, "never-was-up-2: nothing is attached\n"]);
  assertStringIncludes(stderr, "Error: never-was-up: plugin");
  assertStringIncludes(stderr, "banana");
});
