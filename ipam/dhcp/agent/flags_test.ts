import { assert, assertEquals } from "@std/assert";
import type { DaemonFlags } from "./flags.ts";
import { parseDuration, parseFlags } from "./flags.ts";

const defaults: DaemonFlags = {
  pidfile: undefined,
  hostPrefix: "",
  socketPath: "/run/cni/dhcp.sock",
  broadcast: false,
  timeout: 10_000,
  resendMax: 62_000,
  resendTimeout: 208_000,
};

const lines: readonly [words: string, says: Partial<DaemonFlags>][] = [
  ["", {}],
  ["-pidfile /run/dhcp.pid", { pidfile: "/run/dhcp.pid" }],
  ["--pidfile=/run/dhcp.pid", { pidfile: "/run/dhcp.pid" }],
  ["-hostprefix /host --socketpath /run/x.sock", {
    hostPrefix: "/host",
    socketPath: "/run/x.sock",
  }],
  ["-timeout 2s -resendmax 8s --resendtimeout 10s", {
    timeout: 2000,
    resendMax: 8000,
    resendTimeout: 10_000,
  }],
  ["-timeout=1m30s", { timeout: 90_000 }],
  ["-resendtimeout 24h", { resendTimeout: 86_400_000 }],
  ["-broadcast", { broadcast: true }],
  ["-broadcast --timeout 3s", { broadcast: true, timeout: 3000 }],
  ["--broadcast=false", { broadcast: false }],
  ["-broadcast=T", { broadcast: true }],
  ["-timeout 1s -timeout 2s", { timeout: 2000 }],
  ["-hostprefix=/a=b", { hostPrefix: "/a=b" }],
];

for (const [words, says] of lines) {
  Deno.test(`dhcp daemon ${words}`, () => {
    const args = words.split(" ").filter(Boolean);
    assertEquals(parseFlags(args), { kind: "run", flags: { ...defaults, ...says } });
  });
}

Deno.test("an empty value is one", () => {
  assertEquals(parseFlags(["-hostprefix", "", "-pidfile="]), { kind: "run", flags: defaults });
});

const mistakes: readonly [words: string, text: string][] = [
  ["-pidfile dhcp.pid", 'Error writing pidfile "dhcp.pid": path not absolute'],
  ["-socketpath dhcp.sock", 'Cannot use socket path "dhcp.sock": it is not absolute'],
  ["-socketpath=", 'Cannot use socket path "": it is not absolute'],
  ["-hostprefix host", 'Cannot use host prefix "host": it is not absolute'],
  ["-nonsense", "flag provided but not defined: -nonsense"],
  ["-toString", "flag provided but not defined: -toString"],
  ["-timeout", "flag needs an argument: -timeout"],
  ["-timeout 10", 'invalid value "10" for flag -timeout: parse error'],
  ["-timeout=-1s", 'invalid value "-1s" for flag -timeout: parse error'],
  ["-timeout 0", 'invalid value "0" for flag -timeout: parse error'],
  ["-resendtimeout 600h", 'invalid value "600h" for flag -resendtimeout: more than 24h'],
  ["-resendmax 24h1ns", 'invalid value "24h1ns" for flag -resendmax: more than 24h'],
  ["-broadcast=yes", 'invalid value "yes" for flag -broadcast: parse error'],
  ["run", 'Cannot use argument "run": it is no flag'],
  ["---timeout 1s", 'Cannot use argument "---timeout": it is no flag'],
  ["-=1", 'Cannot use argument "-=1": it is no flag'],
  ["-", 'Cannot use argument "-": it is no flag'],
];

for (const [words, text] of mistakes) {
  Deno.test(`dhcp daemon ${words} is refused`, () => {
    assertEquals(parseFlags(words.split(" ")), { kind: "wrong", text });
  });
}

Deno.test("dhcp daemon -h names every flag with its default", () => {
  for (const word of ["-h", "-help", "--help"]) {
    const line = parseFlags(["-broadcast", word, "-nonsense"]);
    assert(line.kind === "help");
    for (const part of ["-resendmax (1m2s): ", "-pidfile (none): ", "-resendtimeout (3m28s): "]) {
      assert(line.text.includes(part), line.text);
    }
  }
});

const durations: readonly [text: string, milliseconds: number | undefined][] = [
  ["0", 0],
  ["+5s", 5000],
  ["-1m", -60_000],
  ["1h2m3s4ms", 3_723_004],
  ["1.5h", 5_400_000],
  [".5s", 500],
  ["1.s", 1000],
  ["2us", 0.002],
  ["2\u00b5s", 0.002],
  ["2\u03bcs", 0.002],
  ["7ns", 7e-6],
  ["1s1s", 2000],
  ["", undefined],
  ["1", undefined],
  ["s", undefined],
  [".s", undefined],
  ["1d", undefined],
  ["1 s", undefined],
  ["1s\n", undefined],
  ["1e3s", undefined],
];

for (const [text, milliseconds] of durations) {
  Deno.test(`duration ${JSON.stringify(text)}`, () => {
    assertEquals(parseDuration(text), milliseconds);
  });
}
