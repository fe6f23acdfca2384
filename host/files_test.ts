import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  byBytes,
  changeCache,
  failureOf,
  isDirectory,
  listNames,
  readFileIfExists,
  readOwnJson,
  removeFile,
  writeFileAtomic,
  writtenAt,
} from "./files.ts";
import type { Output } from "./spawn.ts";
import { spawn } from "./spawn.ts";

/** A folder of its own for one test. */
class Folder implements Disposable {
  readonly dir = Deno.makeTempDirSync();

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }

  path(name: string): string {
    return `${this.dir}/${name}`;
  }

  /** Names and texts of everything in it. */
  content(): Record<string, string> {
    const names = [...Deno.readDirSync(this.dir)].map(({ name }) => name).sort();
    return Object.fromEntries(names.map((name) => [name, Deno.readTextFileSync(this.path(name))]));
  }
}

Deno.test("writtenAt() tells when, and nothing of what is not there", () => {
  const path = Deno.makeTempFileSync();
  Deno.utimeSync(path, 1000, 2000);
  assertEquals(writtenAt(path), 2_000_000);
  Deno.removeSync(path);
  assertEquals(writtenAt(path), undefined);
});

Deno.test("writeFileAtomic makes a file and leaves nothing else", () => {
  using folder = new Folder();
  writeFileAtomic(folder.path("a"), "text é");
  assertEquals(folder.content(), { a: "text é" });
});

Deno.test("writeFileAtomic replaces a file, whatever its length", () => {
  using folder = new Folder();
  const long = "x".repeat(3_000_000);
  for (const text of ["old", long, "new", ""]) {
    writeFileAtomic(folder.path("a"), text, { sync: true });
    assertEquals(folder.content(), { a: text });
  }
});

Deno.test("writeFileAtomic puts a new file in the place of the old one, not into it", () => {
  using folder = new Folder();
  writeFileAtomic(folder.path("a"), "old");
  using reader = Deno.openSync(folder.path("a"));
  writeFileAtomic(folder.path("a"), "new");
  const buffer = new Uint8Array(8);
  const length = reader.readSync(buffer)!;
  assertEquals(new TextDecoder().decode(buffer.subarray(0, length)), "old");
});

Deno.test("writeFileAtomic replaces a link by a file and leaves what it points to", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(folder.path("target"), "kept");
  Deno.symlinkSync(folder.path("target"), folder.path("a"));
  writeFileAtomic(folder.path("a"), "new");
  assertEquals(folder.content(), { a: "new", target: "kept" });
});

Deno.test("writeFileAtomic lets nobody but the owner read, unless told otherwise", () => {
  using folder = new Folder();
  const mode = (name: string) => Deno.statSync(folder.path(name)).mode! & 0o777;
  writeFileAtomic(folder.path("a"), "");
  writeFileAtomic(folder.path("b"), "", { mode: 0o640 });
  assertEquals([mode("a"), mode("b")], [0o600, 0o640 & ~Deno.umask()]);
});

Deno.test("an exclusive write makes a file, and refuses to touch one that is there", () => {
  using folder = new Folder();
  writeFileAtomic(folder.path("a"), "first", { exclusive: true });
  assertThrows(
    () => writeFileAtomic(folder.path("a"), "second", { exclusive: true }),
    Deno.errors.AlreadyExists,
  );
  assertEquals(folder.content(), { a: "first" });
});

Deno.test("an exclusive write refuses a link that points nowhere", () => {
  using folder = new Folder();
  Deno.symlinkSync(folder.path("nowhere"), folder.path("a"));
  assertThrows(
    () => writeFileAtomic(folder.path("a"), "text", { exclusive: true }),
    Deno.errors.AlreadyExists,
  );
  assertEquals(listNames(folder.dir), ["a"]);
});

Deno.test("a named temporary file that was left is replaced, not written over", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(folder.path("used"), "in use");
  Deno.linkSync(folder.path("used"), folder.path("tmp"));
  writeFileAtomic(folder.path("a"), "text", { temporary: folder.path("tmp") });
  assertEquals(folder.content(), { a: "text", used: "in use" });
});

Deno.test("writeFileAtomic into a missing folder fails", () => {
  using folder = new Folder();
  assertThrows(() => writeFileAtomic(folder.path("no/a"), "x"), Deno.errors.NotFound);
});

Deno.test("a write that cannot be finished leaves the old file alone", () => {
  using folder = new Folder();
  Deno.mkdirSync(folder.path("a"));
  assertThrows(() => writeFileAtomic(folder.path("a"), "x"));
  assertEquals(listNames(folder.dir), ["a"]);
});

/** Runs a program of our own that may use `writeFileAtomic` and `dir`. */
function runHere(
  dir: string,
  { program, launcher = [] }: { program: string; launcher?: readonly string[] },
): Promise<Output> {
  const files = JSON.stringify(new URL("./files.ts", import.meta.url).href);
  const script = `import { writeFileAtomic } from ${files};\n` +
    `const dir = ${JSON.stringify(dir)};\n${program}`;
  const argv = [...launcher, Deno.execPath(), "eval", "--no-check", script];
  return spawn("/usr/bin/env", argv, { inherit: true });
}

Deno.test("a kill before the last moment leaves the old file and a temporary one", async () => {
  using folder = new Folder();
  writeFileAtomic(folder.path("a"), "old");
  const program = `
    Deno.renameSync = () => Deno.kill(Deno.pid, "SIGKILL");
    writeFileAtomic(dir + "/a", "new");`;
  const { signal, stderr } = await runHere(folder.dir, { program });
  assertEquals(signal, "SIGKILL", stderr);
  const { a, ...rest } = folder.content();
  assertEquals([a, Object.values(rest)], ["old", ["new"]]);
  assert(Object.keys(rest)[0]!.startsWith(".tmp-"));
});

Deno.test({
  name: "a full disk leaves the old file and no temporary one",
  ignore: Deno.uid() !== 0,
  async fn() {
    using folder = new Folder();
    const mount = 'mount -t tmpfs -o size=16k none "$0" && exec "$@"';
    const launcher = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount];
    const program = `
      writeFileAtomic(dir + "/a", "old");
      let message = "no failure";
      try { writeFileAtomic(dir + "/a", "x".repeat(100_000)); } catch (error) { message = error.message; }
      const names = [...Deno.readDirSync(dir)].map(({ name }) => name);
      console.log(JSON.stringify([message, names, Deno.readTextFileSync(dir + "/a")]));`;
    const { stdout, stderr } = await runHere(folder.dir, {
      program,
      launcher: [...launcher, folder.dir],
    });
    assertEquals(stderr, "");
    const [message, names, text] = JSON.parse(stdout);
    assert(message.includes("No space left on device"), message);
    assertEquals([names, text], [["a"], "old"]);
    assertEquals(folder.content(), {});
  },
});

Deno.test("readFileIfExists gives the text, or undefined for no file", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(folder.path("a"), "");
  assertEquals(readFileIfExists(folder.path("a")), "");
  assertEquals(readFileIfExists(folder.path("b")), undefined);
  assertEquals(readFileIfExists(folder.path("no/b")), undefined);
  assertThrows(() => readFileIfExists(folder.dir));
});

Deno.test("readOwnJson gives nothing for a missing and for a damaged file", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(folder.path("good"), '{"a":1}');
  Deno.writeTextFileSync(folder.path("cut"), '{"a":');
  assertEquals(readOwnJson(folder.path("good")), { a: 1 });
  assertEquals(readOwnJson(folder.path("cut")), undefined);
  assertEquals(readOwnJson(folder.path("none")), undefined);
});

Deno.test("changeCache tells whether the change worked", () => {
  using folder = new Folder();
  assertEquals(changeCache(() => writeFileAtomic(folder.path("a"), "x")), true);
  assertEquals(changeCache(() => writeFileAtomic(folder.path("no/a"), "x")), false);
  assertEquals(folder.content(), { a: "x" });
});

Deno.test("isDirectory is true for directories only", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(folder.path("file"), "");
  Deno.symlinkSync(folder.dir, folder.path("link"));
  const paths = [folder.dir, folder.path("link"), folder.path("file"), folder.path("none")];
  assertEquals(paths.map(isDirectory), [true, true, false, false]);
});

Deno.test("removeFile tells whether there was a file", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(folder.path("a"), "");
  assertEquals([removeFile(folder.path("a")), removeFile(folder.path("a"))], [true, false]);
  assertEquals(removeFile(folder.path("no/a")), false);
});

Deno.test("listNames sorts by bytes and gives nothing for no folder", () => {
  using folder = new Folder();
  const names = ["10", "9", "B", "a", "b", "é", "\ufffd", "\u{1f600}"];
  for (const name of names.toReversed()) Deno.writeTextFileSync(folder.path(name), "");
  assertEquals(listNames(folder.dir), names);
  assertEquals(listNames(folder.path("none")), []);
});

Deno.test("byBytes orders a start before the whole", () => {
  assertEquals(["ab", "a", "", "b"].sort(byBytes), ["", "a", "ab", "b"]);
  assertEquals(byBytes("a", "a"), 0);
});

Deno.test("failureOf gives what is thrown, as an error", () => {
  assertEquals(failureOf(() => {}), undefined);
  const error = new Deno.errors.NotFound("no file");
  assertEquals(
    failureOf(() => {
      throw error;
    }),
    error,
  );
});
