import { assertEquals, assertThrows } from "@std/assert";
import type { ProvideEntry, RequestEntry } from "./client_options.ts";
import { CniError } from "../../../cni/error.ts";
import {
  clientIdentifier,
  parameterRequestList,
  parseOptionCode,
  providedOptions,
} from "./client_options.ts";

const optionNames: readonly (readonly [text: string, code: number])[] = [
  ["dhcp-client-identifier", 61],
  ["subnet-mask", 1],
  ["routers", 3],
  ["host-name", 12],
  ["user-class", 77],
  ["vendor-class-identifier", 60],
  ["12", 12],
  ["0", 0],
  ["255", 255],
  ["012", 12],
];

for (const [text, code] of optionNames) {
  Deno.test(`option "${text}" has code ${code}`, () => assertEquals(parseOptionCode(text), code));
}

function refusal(run: () => unknown): string {
  const error = assertThrows(run, CniError);
  assertEquals(error.code, 7);
  return error.msg;
}

for (const text of ["doNotparseMe", "", "256", "-1", "+1", "1.5", "0x0c", " 12", "constructor"]) {
  Deno.test(`option "${text}" has no code`, () => {
    const expected = "expected a number 0–255 or one of dhcp-client-identifier, subnet-mask, " +
      "routers, host-name, user-class, vendor-class-identifier";
    const message = `Can not parse option "${text}": ${expected}`;
    assertEquals(refusal(() => parseOptionCode(text)), message);
    if (text === "") return;
    assertEquals(refusal(() => parameterRequestList([{ option: text }])), message);
    assertEquals(refusal(() => providedOptions([{ option: text, value: "x" }], "")), message);
  });
}

const lists: readonly (readonly [what: string, RequestEntry[], number[]])[] = [
  ["nothing listed", [], [3, 1]],
  ["listed ones before the usual", [{ option: "121" }, { option: "host-name" }], [121, 12, 3, 1]],
  ["a usual one by its name, once", [{ option: "routers" }], [3, 1]],
  ["a usual one by its number, twice", [{ option: "3" }], [3, 3, 1]],
  ["names and numbers as two", [{ option: "host-name" }, { option: "12" }], [12, 12, 3, 1]],
  ["equal numbers, once", [{ option: "12" }, { option: "012" }], [12, 3, 1]],
  ["an empty one not at all", [{ option: "" }, {}], [3, 1]],
  [
    "only the listed ones",
    [{ option: "15" }, { option: "6", skipDefault: true }],
    [15, 6],
  ],
  ["only the listed ones, said in an entry of its own", [{ skipDefault: true }, {
    option: "subnet-mask",
  }], [1]],
  ["a false skipDefault", [{ option: "15", skipDefault: false }], [15, 3, 1]],
  ["skipDefault with nothing listed", [{ skipDefault: true }], [1, 3, 15, 6]],
];

for (const [what, request, codes] of lists) {
  Deno.test(`asks for ${what}`, () => assertEquals(parameterRequestList(request), codes));
}

const sent:
  readonly (readonly [what: string, ProvideEntry[], args: string, Record<number, string>])[] = [
    ["nothing", [], "A=b", {}],
    ["the bytes of a value", [{ option: "host-name", value: "pod-é" }], "", { 12: "pod-é" }],
    ["no number for digits", [{ option: "51", value: "60" }], "", { 51: "60" }],
    ["no empty value", [{ option: "12", value: "" }, { option: "60" }], "", {}],
    [
      "an argument",
      [{ option: "12", fromArg: "K8S_POD_NAME" }],
      "IgnoreUnknown=1;K8S_POD_NAME=web",
      { 12: "web" },
    ],
    ["an argument rather than a value", [{ option: "12", value: "a", fromArg: "N" }], "N=b", {
      12: "b",
    }],
    ["a value where the argument is absent", [{ option: "12", value: "a", fromArg: "N" }], "M=b", {
      12: "a",
    }],
    ["an empty argument", [{ option: "12", value: "a", fromArg: "N" }], "N=", { 12: "" }],
    ["an argument with signs", [{ option: "12", fromArg: "N" }], "N=a=b=;x", { 12: "a=b=" }],
    ["the last of equal arguments", [{ option: "12", fromArg: "N" }], "N=a;N=b", { 12: "b" }],
    [
      "the last of equal options",
      [{ option: "12", value: "a" }, {
        option: "host-name",
        value: "b",
      }],
      "",
      { 12: "b" },
    ],
    ["an argument of no name to nobody", [{ option: "12", fromArg: "" }], "=a", {}],
    ["255 bytes", [{ option: "60", value: "x".repeat(255) }], "", { 60: "x".repeat(255) }],
  ];

for (const [what, provide, args, expected] of sent) {
  Deno.test(`provides ${what}`, () => {
    const found = [...providedOptions(provide, args)]
      .map(([code, value]) => [code, new TextDecoder().decode(value)]);
    assertEquals(Object.fromEntries(found), expected);
  });
}

const long = "é".repeat(128);
const notSent: readonly (readonly [ProvideEntry, args: string, message: string])[] = [
  [{ option: "12", value: long }, "", `value too long for option "12": "${long}"`],
  [
    { option: "host-name", value: "x", fromArg: "N" },
    `N=${long}`,
    `value too long for option "host-name" from CNI_ARGS "N": "${long}"`,
  ],
  ...[0, 50, 52, 53, 54, 55, 255].map((code) =>
    [
      { option: String(code) },
      "",
      `Cannot provide option "${code}": the protocol sets it`,
    ] as const
  ),
];

for (const [entry, args, message] of notSent) {
  Deno.test(`refuses: ${message.slice(0, 80)}`, () => {
    assertEquals(refusal(() => providedOptions([entry], args)), message);
  });
}

Deno.test("a client identifier is the text behind a zero, cut to 254 bytes", () => {
  assertEquals(clientIdentifier("c1/net/eth0").toHex(), "0063312f6e65742f65746830");
  assertEquals(clientIdentifier("x".repeat(254)).length, 255);
  assertEquals(clientIdentifier("x".repeat(300)).toHex(), "00" + "78".repeat(254));
});
