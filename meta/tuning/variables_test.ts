import { assertEquals, assertThrows } from "@std/assert";
import { CniError, codes } from "../../cni/error.ts";
import { shellLine } from "../../host/command.ts";
import {
  checkAllowlist,
  parseVariables,
  requireAllowed,
  sameValue,
  showVariables,
  variablesOf,
} from "./variables.ts";

const keyOf = (name: string, ifName = "eth0") => variablesOf({ [name]: "1" }, ifName)[0]!.key;

Deno.test("a key's dots are slashes", () => {
  assertEquals(keyOf("net.ipv4.conf.all.log_martians"), "net/ipv4/conf/all/log_martians");
  assertEquals(keyOf("net/ipv4/conf/all/log_martians"), "net/ipv4/conf/all/log_martians");
  assertEquals(keyOf("net/ipv4.conf.all/x"), "net/ipv4/conf/all/x");
});

Deno.test("IFNAME is replaced after the dots, once", () => {
  assertEquals(keyOf("net.ipv4.conf.IFNAME.x", "eth0.5"), "net/ipv4/conf/eth0.5/x");
  assertEquals(keyOf("net/ipv6/conf/IFNAME/x", "eth0.5"), "net/ipv6/conf/eth0.5/x");
  assertEquals(keyOf("net.IFNAME.IFNAME", "$&"), "net/$&/IFNAME");
});

Deno.test("an interface's dots stay in a key that is written with slashes", () => {
  assertEquals(keyOf("net/ipv4/conf/eth0.5/forwarding"), "net/ipv4/conf/eth0.5/forwarding");
  assertEquals(keyOf("net/ipv6/neigh/eth0.5/x"), "net/ipv6/neigh/eth0.5/x");
  assertEquals(keyOf("net/ipv4/conf/eth0/x.y"), "net/ipv4/conf/eth0/x/y");
});

Deno.test("no key leaves /proc/sys/net", () => {
  const outside = [
    "kernel.hostname",
    "kernel/hostname",
    "net",
    "net/",
    "",
    "/",
    "network.x",
    "vm/IFNAME",
    "/etc/passwd",
    "IFNAME.x",
  ];
  for (const name of outside) {
    const error = assertThrows(() => keyOf(name), CniError, "invalid net sysctl key", name);
    assertEquals(error.code, codes.invalidNetworkConfig);
  }
  // Dots become slashes, so nothing leads upwards.
  assertEquals(keyOf("net/../kernel/x"), "net/kernel/x");
  assertEquals(keyOf("net.ipv4.conf...x"), "net/ipv4/conf/x");
  assertEquals(keyOf("net/ipv4/conf/../x"), "net/ipv4/conf/x");
  assertEquals(keyOf("/net//ipv4/x"), "net/ipv4/x");
  for (const ifName of ["..", "."]) {
    assertThrows(() => keyOf("net.ipv4.conf.IFNAME.x", ifName), CniError, "invalid net sysctl key");
  }
});

Deno.test("of two names of one variable the later one counts", () => {
  const variables = variablesOf({ "net.a.b": "1", "net/a/b": "2" }, "eth0");
  assertEquals(variables, [{ name: "net/a/b", key: "net/a/b", value: "2" }]);
});

/** Checks names against a list of this text. */
function allow(text: string, ...names: string[]): void {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(path, text);
    requireAllowed(names, path);
  } finally {
    Deno.removeSync(path);
  }
}

const martians = "net.ipv4.conf.all.log_martians";

Deno.test("the allow list's lines are expressions, tried on the key as it is written", () => {
  const all = String.raw`^net\.ipv4\.conf\.all\.[a-z_]*$`;
  const other = String.raw`^net\.ipv4\.conf\.other\.[a-z_]*$`;
  allow(all, martians);
  allow(`\n  ${other}\t\n\n${all}\n`, martians);
  allow("martians", martians, "net/martians");
  const error = assertThrows(
    () => allow(`${other}\n\n^x$\n`, martians),
    CniError,
    `Sysctl ${martians} is not allowed. Only the following sysctls are allowed: [${other} ^x$]`,
  );
  assertEquals(error.code, codes.invalidNetworkConfig);
  assertThrows(() => allow(all, "net/ipv4/conf/all/log_martians"), CniError, "is not allowed");
});

Deno.test("no list allows everything, an empty one nothing", () => {
  requireAllowed([martians], "/nowhere/allowlist.conf");
  checkAllowlist("/nowhere/allowlist.conf");
  for (const text of ["", "\n", " \n\t\n"]) {
    assertThrows(() => allow(text, martians), CniError, "are allowed: []");
    allow(text);
  }
});

Deno.test("a list that cannot be read or understood is an error", () => {
  const dir = Deno.makeTempDirSync();
  const unreadable = assertThrows(() => requireAllowed([martians], dir), CniError, "Cannot read");
  assertEquals(unreadable.code, codes.ioFailure);
  assertThrows(() => checkAllowlist(dir), CniError, "Cannot read");
  Deno.removeSync(dir);
  for (const text of ["(", "^net\n[", "net(?!x)"]) {
    assertThrows(() => allow(text, martians), CniError, "is no regular expression");
  }
});

Deno.test("showVariables() and parseVariables() carry any value", () => {
  const keys = ["net/a", "net/b", "net/c"];
  const line = shellLine(showVariables(keys, { path: "/run/netns/c1" }));
  assertEquals(line.startsWith("nsenter --net=/run/netns/c1 sh -c "), true);
  assertEquals(line.endsWith(" sh net/a net/b net/c"), true);
  const values = parseVariables("+1\0-\0+4096\t8192\nmore\0", keys);
  assertEquals([...values], [["net/a", "1"], ["net/c", "4096\t8192\nmore"]]);
  assertEquals([...parseVariables("", keys)], []);
});

Deno.test("sameValue() passes over the tabs of the kernel", () => {
  assertEquals(sameValue("4096\t131072\t6291456", "4096 131072 6291456"), true);
  assertEquals(sameValue("1", "1"), true);
  assertEquals(sameValue("1", "01"), false);
  assertEquals(sameValue("", ""), true);
  assertEquals(sameValue(undefined, ""), false);
});
