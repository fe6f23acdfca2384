import { libraryEntries } from "./ok.ts";
import { assert, assertEquals } from "@std/assert";
import { spawn } from "../host/spawn.ts";
import { root } from "./build.ts";
import { sourceFiles } from "./imports.ts";

/** Paths of the files that `deno publish` would upload. It also refuses types that must be inferred. */
async function publishedFiles(): Promise<string[]> {
  const args = ["publish", "--dry-run", "--allow-dirty", "--no-check", "--config"];
  const { code, stdout, stderr } = await spawn(Deno.execPath(), [...args, `${root}/deno.json`], {
    inherit: true,
    env: { NO_COLOR: "1" },
    deadline: 120_000,
  });
  assertEquals(code, 0, stderr);
  const files = `${stdout}${stderr}`.matchAll(/^ *file:\/\/(\S+) \(/gm);
  return [...files].map(([, path]) => path!.slice(root.length + 1)).sort();
}

/** Source files that no user of the library needs. */
const left = /^(scripts|tests|bench)\/|_test\.ts$|^ipam\/.*\/testing[^/]*\.ts$/;

Deno.test("the package holds every source file that is used, and no test", async () => {
  const files = await publishedFiles();
  const sources = files.filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"));
  assertEquals(sources, sourceFiles(root).filter((file) => !left.test(file)));
  assertEquals(
    files.filter((file) => /_test\.ts|^(\.ci|bench|dist|scripts|tests)\//.test(file)),
    [],
  );
  for (const file of ["README.md", "LICENSE", "deno.json", "types/std_jsonc_parse.d.ts"]) {
    assert(files.includes(file), `${file} is not published`);
  }
});

Deno.test("every entry of the library is checked by the gate", () => {
  const { exports } = JSON.parse(Deno.readTextFileSync(`${root}/deno.json`));
  const entries = Object.values<string>(exports).map((path) => path.slice(2)).sort();
  assertEquals(entries, sourceFiles(root).filter((file) => /^(lib\/|mod\.ts$)/.test(file)));
  assertEquals([...libraryEntries].sort(), entries);
});
