import { assertEquals, assertThrows } from "@std/assert";
import { parseCniArgs } from "./args.ts";
import { CniError } from "./error.ts";

const readable: readonly [string, Record<string, string>][] = [
  ["", {}],
  ["IP=10.0.0.1", { IP: "10.0.0.1" }],
  ["IP=", { IP: "" }],
  ["IP=1;IP=2;MAC=x", { IP: "2", MAC: "x" }],
  ["IP= 1 ", { IP: " 1 " }],
  ["IgnoreUnknown=1", {}],
  ["IgnoreUnknown=True;Unk=nown", {}],
  ["Unk=nown;IP=1;IgnoreUnknown=1", { IP: "1" }],
  ["IgnoreUnknown=0;IgnoreUnknown=tRuE;Unk=nown", {}],
  ["IgnoreUnknown=1;=x", {}],
  ["IgnoreUnknown=1;__proto__=x;toString=y", {}],
];
for (const [text, values] of readable) {
  Deno.test(`parseCniArgs reads "${text}"`, () => {
    assertEquals(parseCniArgs(text, ["IP", "MAC"]), values);
  });
}

for (const word of ["True", "true", "1", "TRUE"]) {
  Deno.test(`IgnoreUnknown=${word} ignores`, () => {
    assertEquals(parseCniArgs(`Unk=nown;IgnoreUnknown=${word}`, []), {});
  });
}

for (const word of ["False", "false", "0"]) {
  Deno.test(`IgnoreUnknown=${word} does not ignore`, () => {
    assertThrows(() => parseCniArgs(`Unk=nown;IgnoreUnknown=${word}`, []), CniError, "Unk=nown");
  });
}

const unreadable: readonly [string, string][] = [
  ["Unk=nown", 'ARGS: unknown args ["Unk=nown"]'],
  ["A=1;IP=x;B=2", 'ARGS: unknown args ["A=1" "B=2"]'],
  ["ip=x", 'ARGS: unknown args ["ip=x"]'],
  ["=x", 'ARGS: unknown args ["=x"]'],
  ["toString=x", 'ARGS: unknown args ["toString=x"]'],
  ["IgnoreUnknown=0, Unk=nown", 'ARGS: invalid pair "IgnoreUnknown=0, Unk=nown"'],
  ["IP", 'ARGS: invalid pair "IP"'],
  ["IP=1;", 'ARGS: invalid pair ""'],
  [";", 'ARGS: invalid pair ""'],
  ["IP=a=b", 'ARGS: invalid pair "IP=a=b"'],
  ["IgnoreUnknown=1;IP=a=b", 'ARGS: invalid pair "IP=a=b"'],
  [
    "IgnoreUnknown=YES",
    'ARGS: error parsing value of pair "IgnoreUnknown=YES": boolean unmarshal error: invalid input yes',
  ],
  [
    "IgnoreUnknown=",
    'ARGS: error parsing value of pair "IgnoreUnknown=": boolean unmarshal error: invalid input ',
  ],
];
for (const [text, message] of unreadable) {
  Deno.test(`parseCniArgs refuses "${text}"`, () => {
    const error = assertThrows(() => parseCniArgs(text, ["IP"]), CniError);
    assertEquals(error.toJson(), { code: 4, msg: message });
  });
}
