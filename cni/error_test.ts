import { assertEquals, assertStrictEquals } from "@std/assert";
import { command } from "../host/command.ts";
import { ActionError } from "../host/error.ts";
import type { Step } from "../host/step.ts";
import { DeadlineError, ToolMissingError } from "../host/spawn.ts";
import { CniError, codes, toCniError } from "./error.ts";

/** Rows of the table as `1 incompatibleVersion`. */
async function documentedCodes(): Promise<string[]> {
  const page = new URL("../docs/errors.md", import.meta.url);
  const rows = (await Deno.readTextFile(page)).split("\n")
    .filter((line) => /^\|\s*\d/.test(line));
  return rows.map((row) => {
    const [, code, name, ...texts] = row.split("|").map((cell) => cell.trim());
    assertEquals(texts.length, 4, `row ${code}: four cells and the end`);
    assertEquals(texts.slice(0, 3).filter(Boolean).length, 3, `row ${code} has an empty cell`);
    return `${code} ${name!.replaceAll("`", "")}`;
  });
}

Deno.test("docs/errors.md explains every code, in order, and no other", async () => {
  const known = Object.entries(codes).map(([name, code]) => `${code} ${name}`);
  assertEquals(await documentedCodes(), known);
});

Deno.test("no two codes are the same", () => {
  const values = Object.values(codes);
  assertEquals(new Set(values).size, values.length);
});

Deno.test("CniError is written with its keys in the reference's order", () => {
  const error = new CniError(1234, "some message", "some details");
  assertEquals(
    JSON.stringify(error.toJson("1.1.0")),
    '{"cniVersion":"1.1.0","code":1234,"msg":"some message","details":"some details"}',
  );
  assertEquals(error.message, "some message; some details");
});

Deno.test("CniError leaves empty details out, and keeps code 0 and an empty message", () => {
  assertEquals(new CniError(0, "").toJson(), { code: 0, msg: "" });
  assertEquals(new CniError(1, "some message").message, "some message");
});

Deno.test("toCniError passes a CniError on unchanged", () => {
  const error = new CniError(1234, "potato");
  assertStrictEquals(toCniError(error), error);
});

function refused(stderr: string, meaning: NonNullable<Step["meaning"]> = {}): ActionError {
  const output = { code: 2, signal: null, stdout: "", stderr };
  const step: Step = { why: 'create link "x"', do: command("ip", ["link"]), meaning };
  return ActionError.fromOutput(step, output);
}

const foreseen: readonly [string, unknown, number][] = [
  ["a missing object", refused('Cannot find device "x"'), codes.objectMissing],
  ["an existing object", refused("RTNETLINK answers: File exists"), codes.alreadyExists],
  [
    "a busy object",
    refused("RTNETLINK answers: Device or resource busy"),
    codes.tryAgainLater,
  ],
  [
    "an object that stays busy",
    refused("RTNETLINK answers: Device or resource busy", { busy: "other links stand on it" }),
    codes.refused,
  ],
  [
    "a missing right",
    refused("RTNETLINK answers: Operation not permitted"),
    codes.permissionDenied,
  ],
  ["a missing feature", refused("Error: Unknown device type."), codes.kernelUnsupported],
  ["a full object", refused("RTNETLINK answers: Exchange full"), codes.capacity],
  ["another refusal", refused("Error: Nexthop has invalid gateway."), codes.refused],
  ["a missing program", new ToolMissingError("nft"), codes.toolMissing],
  ["a program that does not end", new DeadlineError("/bin/ip", 5), codes.tryAgainLater],
  ["a defect", new TypeError("x is not a function"), codes.internal],
  ["something that is no error", "potato", codes.internal],
];
for (const [name, thrown, code] of foreseen) {
  Deno.test(`toCniError gives ${name} the code ${code}`, () => {
    const error = toCniError(thrown);
    assertEquals(error.code, code);
    assertStrictEquals(error.cause, thrown);
  });
}

Deno.test("toCniError keeps message and details of a failed action", () => {
  const { msg, details } = toCniError(refused('Cannot find device "x"\n'));
  assertEquals(msg, 'Cannot create link "x": Cannot find device "x"');
  assertEquals(details, 'command: ip link; exit status 2; stderr: Cannot find device "x"');
});

Deno.test("toCniError tells a plain error's message and stack", () => {
  const { msg, details } = toCniError(new Error("potato"));
  assertEquals(msg, "potato");
  assertEquals(details.split("\n")[0], "Error: potato");
});
