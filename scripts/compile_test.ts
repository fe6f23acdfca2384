import { assert, assertEquals } from "@std/assert";
import { compileArgs, reasonOf } from "./compile.ts";

const grants = { run: ["/usr/sbin/ip"], read: ["/"], write: [], env: ["CNI_*"], net: false };

Deno.test("an executable gets its permissions, no prompt and no code cache", () => {
  const args = compileArgs({ bundle: "/b.js", output: "/out/ptp", grants, args: ["ptp"] });
  const own = args.filter((arg) => arg.startsWith("--allow") || arg.includes("prompt"));
  assertEquals(own, [
    "--no-prompt",
    "--allow-run=/usr/sbin/ip",
    "--allow-read=/",
    "--allow-env=CNI_*",
  ]);
  assert(args.includes("--no-code-cache"));
  assertEquals(args.slice(-4), ["--output", "/out/ptp", "/b.js", "ptp"]);
});

Deno.test("a runtime that cannot be fetched is the reason, else what Deno says", () => {
  const unreachable = `error: Writing deno compile executable to temporary file '/out.tmp'

Caused by:
    0: Setting up base binary.
    1: error sending request for url (https://example.com/denort.zip): dns error
    2: dns error
`;
  assertEquals(
    reasonOf(unreachable),
    "error sending request for url (https://example.com/denort.zip): dns error",
  );
  assertEquals(reasonOf("Warning x\nerror: no space left\n"), "no space left");
  assertEquals(reasonOf("killed\n"), "killed");
});
