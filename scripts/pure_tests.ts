/**
 * Registers the tests beside the code, of all files in one process, which loads the modules
 * that they have in common once: those of the files after `--`, else all.
 *
 *   deno test -A --no-check scripts/pure_tests.ts [-- host/ip_test.ts…]
 *
 * @module
 */
import { root } from "./build.ts";
import { findTests, split } from "./test_files.ts";

const files = Deno.args.length > 0 ? Deno.args : split(findTests(root)).pure;

for (const file of files) {
  // deno-lint-ignore denocni/literal-import -- tests are not bundled
  await import(`${root}/${file}`);
}
