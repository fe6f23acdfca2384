import { assertEquals, assertThrows } from "@std/assert";
import { readEnv } from "./env.ts";
import { CniError } from "./error.ts";

const complete: Readonly<Record<string, string>> = {
  CNI_CONTAINERID: "some-container-id",
  CNI_NETNS: "/some/netns/path",
  CNI_IFNAME: "eth0",
  CNI_ARGS: "some;extra;args",
  CNI_PATH: "/some/cni/path:/other",
};

function read(variables: Readonly<Record<string, string>>) {
  return readEnv((name) => variables[name]);
}

function refusal(variables: Readonly<Record<string, string>>) {
  return assertThrows(() => read(variables), CniError).toJson();
}

Deno.test("readEnv gives every value", () => {
  assertEquals(read({ ...complete, CNI_COMMAND: "ADD" }), {
    command: "ADD",
    containerId: "some-container-id",
    netns: "/some/netns/path",
    ifName: "eth0",
    args: "some;extra;args",
    path: ["/some/cni/path", "/other"],
    netnsOverride: false,
  });
});

/** Who needs what; what is not listed may be missing. */
const required: Readonly<Record<string, readonly string[]>> = {
  ADD: ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  CHECK: ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  DEL: ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
  GC: ["CNI_COMMAND", "CNI_PATH"],
  STATUS: ["CNI_COMMAND", "CNI_PATH"],
  VERSION: ["CNI_COMMAND"],
  NOPE: ["CNI_COMMAND"],
};
for (const [command, names] of Object.entries(required)) {
  for (const name of ["CNI_COMMAND", ...Object.keys(complete)]) {
    const needed = names.includes(name);
    Deno.test(`${command} ${needed ? "needs" : "does without"} ${name}`, () => {
      const all: Record<string, string> = { ...complete, CNI_COMMAND: command };
      const empty = { ...all, [name]: "" };
      delete all[name];
      for (const variables of [all, empty]) {
        if (!needed) {
          assertEquals(read(variables).command, command);
          continue;
        }
        const msg = `required env variables [${name}] missing`;
        assertEquals(refusal(variables), { code: 4, msg });
      }
    });
  }
  Deno.test(`${command} with nothing else names everything that is missing, in order`, () => {
    const missing = names.slice(1);
    if (missing.length === 0) return assertEquals(read({ CNI_COMMAND: command }).path, []);
    const msg = `required env variables [${missing.join(",")}] missing`;
    assertEquals(refusal({ CNI_COMMAND: command }), { code: 4, msg });
  });
}

Deno.test("an empty environment lacks the command only", () => {
  const msg = "required env variables [CNI_COMMAND] missing";
  assertEquals(refusal({}), { code: 4, msg });
});

const attachmentVerbs = ["ADD", "CHECK", "DEL"];
const bad: readonly [string, string, string][] = [
  ["CNI_CONTAINERID", "some-%%container-id", "invalid characters in containerID"],
  ["CNI_IFNAME", "1234567890123456", "interface name is too long"],
  ["CNI_IFNAME", ".", "interface name is . or .."],
  ["CNI_IFNAME", "..", "interface name is . or .."],
  ["CNI_IFNAME", "a/b", "interface name contains / or : or whitespace characters"],
  ["CNI_IFNAME", "a:b", "interface name contains / or : or whitespace characters"],
  ["CNI_IFNAME", "a b", "interface name contains / or : or whitespace characters"],
  ["CNI_NETNS", "/run/netns/a\0b", 'Cannot use CNI_NETNS "/run/netns/a\\u0000b": it contains NUL'],
];
for (const [name, value, msg] of bad) {
  for (const command of attachmentVerbs) {
    Deno.test(`${command} refuses ${name}=${JSON.stringify(value)}`, () => {
      const json = refusal({ ...complete, CNI_COMMAND: command, [name]: value });
      assertEquals([json.code, json.msg], [4, msg]);
    });
  }
  for (const command of ["GC", "STATUS", "VERSION"]) {
    Deno.test(`${command} does not look at ${name}=${JSON.stringify(value)}`, () => {
      read({ ...complete, CNI_COMMAND: command, [name]: value });
    });
  }
}

Deno.test("a bad value wins over missing variables", () => {
  const json = refusal({ CNI_COMMAND: "ADD", CNI_IFNAME: "a/b" });
  assertEquals(json.msg, "interface name contains / or : or whitespace characters");
});

Deno.test("of two bad values the first variable's is reported", () => {
  const json = refusal({ CNI_COMMAND: "ADD", CNI_IFNAME: "a/b", CNI_CONTAINERID: "%" });
  assertEquals(json.msg, "invalid characters in containerID");
});

Deno.test("a verb in lower case is another word", () => {
  assertEquals(read({ CNI_COMMAND: "add" }).command, "add");
});

Deno.test("directories of the path that are empty are left out", () => {
  assertEquals(read({ CNI_COMMAND: "GC", CNI_PATH: ":/a::/b:" }).path, ["/a", "/b"]);
});

Deno.test("the own namespace is allowed by 1 and by true in any case", () => {
  const allowed = ["1", "true", "TRUE", "True", "yes", "0", "11", "", "true "]
    .filter((value) => read({ CNI_COMMAND: "VERSION", CNI_NETNS_OVERRIDE: value }).netnsOverride);
  assertEquals(allowed, ["1", "true", "TRUE", "True"]);
});
