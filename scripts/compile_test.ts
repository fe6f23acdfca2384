import { assert, assertEquals } from "@std/assert";
import { compileArgs } from "./compile.ts";

const grants = { run: ["/usr/sbin/ip"], read: ["/"], write: [], env: ["CNI_*"] };

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
