import { assertEquals } from "@std/assert";
import { spawn } from "../host/spawn.ts";
import { bundle } from "./build.ts";

Deno.test("import() stays lazy inside the one bundled file", async () => {
  const dir = await Deno.makeTempDir();
  const file = (name: string, text: string) => Deno.writeTextFile(`${dir}/${name}.ts`, text);
  await file("shared", 'console.log("shared"); export const shared = 1;');
  for (const name of ["a", "b"]) {
    await file(
      name,
      `import { shared } from "./shared.ts"; console.log("${name}", shared);
       if (import.meta.main) console.log("main");`,
    );
  }
  await file(
    "main",
    `const load = { a: () => import("./a.ts"), b: () => import("./b.ts") };
     console.log("start");
     if (import.meta.main) await load[Deno.args[0] as "a" | "b"]();`,
  );
  const output = await bundle(`${dir}/main.ts`, `${dir}/out/bundle.js`);
  for (const name of ["a", "b", "main", "shared"]) await Deno.remove(`${dir}/${name}.ts`);
  // No permission at all: the parts are inside.
  const { stdout } = await spawn(Deno.execPath(), ["run", "--no-prompt", output, "b"], {
    inherit: true,
    env: {},
  });
  await Deno.remove(dir, { recursive: true });
  assertEquals(stdout.trim().split("\n"), ["start", "shared", "b 1"]);
});
