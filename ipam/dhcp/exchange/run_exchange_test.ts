import { assertEquals } from "@std/assert";
import { noReportError } from "./run_exchange.ts";

Deno.test("a process without a report was killed, refused, or is a defect of ours", () => {
  const codeOf = (output: { code?: number; signal?: string; stderr?: string }) =>
    noReportError({ code: 1, signal: null, stdout: "", stderr: "", ...output }, "eth0").code;
  assertEquals(codeOf({ signal: "SIGKILL", code: 137 }), 11);
  assertEquals(codeOf({ code: 137 }), 11);
  assertEquals(codeOf({ code: 2, stderr: "sh: 0: Cannot fork\n" }), 100);
  assertEquals(codeOf({ stderr: "error: Uncaught (in promise) TypeError: x\n" }), 999);
  assertEquals(codeOf({}), 999);
});
