import { assertEquals } from "@std/assert";
import { isUnchanged, stampDir } from "./dir_stamp.ts";

function changes(change: (dir: string) => void): boolean {
  const dir = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${dir}/there`, "");
    const stamp = stampDir(dir);
    change(dir);
    return !isUnchanged(dir, stamp);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

Deno.test("a stamped directory shows every file made, removed or renamed at once after it", () => {
  assertEquals(changes(() => {}), false);
  assertEquals(changes((dir) => Deno.writeTextFileSync(`${dir}/new`, "")), true);
  assertEquals(changes((dir) => Deno.removeSync(`${dir}/there`)), true);
  assertEquals(changes((dir) => Deno.renameSync(`${dir}/there`, `${dir}/here`)), true);
  assertEquals(changes((dir) => Deno.linkSync(`${dir}/there`, `${dir}/here`)), true);
});

Deno.test("reading a stamped directory, or writing into a file of it, changes nothing", () => {
  assertEquals(changes((dir) => void [...Deno.readDirSync(dir)]), false);
  assertEquals(changes((dir) => Deno.writeTextFileSync(`${dir}/there`, "more")), false);
});

Deno.test("a directory that took the place of another is not the stamped one", () => {
  const swapped = changes((dir) => {
    const { mtime } = Deno.statSync(dir);
    Deno.renameSync(dir, `${dir}.old`);
    Deno.mkdirSync(dir);
    Deno.utimeSync(dir, mtime!, mtime!);
    Deno.removeSync(`${dir}.old`, { recursive: true });
  });
  assertEquals(swapped, true);
});

Deno.test("nothing is unchanged since a stamp that was never made", () => {
  assertEquals(isUnchanged("/", undefined), false);
  assertEquals(isUnchanged("/", {}), false);
});
