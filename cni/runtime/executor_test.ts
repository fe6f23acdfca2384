import { assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { DryRun } from "../../ns/machine.ts";
import { prints, Recorder } from "../../tests/harness/recorder.ts";
import { object, optional, string } from "../decode.ts";
import { markerName } from "../delegate.ts";
import { CniError, codes } from "../error.ts";
import type { Plugin } from "../plugin.ts";
import { definePlugin } from "../plugin.ts";
import type { Load } from "../call.ts";
import type { JsonObject } from "../types.ts";
import { emptyResult } from "../types.ts";
import type { ExecutorOptions, PluginCall, Runnable } from "./executor.ts";
import { createExecutor } from "./executor.ts";

/** A plugin that writes the file its configuration names, and then fails if told so. */
const writer: Plugin<{ file: string | undefined; fail: string | undefined }> = definePlugin({
  type: "writer",
  about: "writes a file",
  permissions: { run: [], read: true, write: true },
  conf: object({
    file: optional(string(), "File to write."),
    fail: optional(string(), "What to fail with."),
  }),
  async add({ conf, host, prevResult }) {
    const path = conf.file!;
    await host.apply([{
      why: "write",
      do: { kind: "write", path, text: "x" },
      undo: { kind: "remove", path },
    }]);
    if (conf.fail) throw new CniError(codes.refused, conf.fail);
    return prevResult ?? emptyResult();
  },
  check: () => Promise.resolve(),
  del: () => Promise.resolve(),
  gc: () => Promise.resolve(),
  status: () => Promise.resolve(),
});

const load: Load = (type) => type === "writer" ? Promise.resolve(writer as Plugin) : undefined;

function call(config: JsonObject, rest: Partial<PluginCall> = {}): PluginCall {
  return {
    verb: "ADD",
    containerId: "c1",
    netns: "/some/netns",
    ifName: "eth0",
    args: "",
    config: { type: "writer", name: "net", cniVersion: "1.1.0", ...config },
    ...rest,
  };
}

/** A folder with a plugin named as ours that records, and a file for ours to write. */
class Folder extends Recorder {
  readonly file: string = `${this.dir}/written`;

  find(options: Partial<ExecutorOptions> = {}): Promise<Runnable> {
    return createExecutor({ path: [this.dir], load, ...options }).find("writer");
  }

  written(): boolean {
    return [...Deno.readDirSync(this.dir)].some(({ name }) => name === "written");
  }

  mark(size: number): void {
    const text = JSON.stringify({ files: { writer: size } });
    Deno.writeTextFileSync(`${this.dir}/${markerName}`, text);
  }
}

Deno.test("a file that is not ours is executed, whatever we have of that name", async () => {
  using folder = new Folder();
  const path = folder.add("writer", { ADD: prints({ cniVersion: "1.1.0" }) });
  for (const options of [{}, { inProcessIfMissing: true }]) {
    const found = await folder.find(options);
    assertEquals(found.file, path);
    await found.call(call({ file: folder.file }));
  }
  assertEquals(folder.log(), ["writer ADD", "writer ADD"]);
  assertEquals(folder.written(), false);
});

Deno.test("a file that we installed is run in process, until another takes its place", async () => {
  using folder = new Folder();
  const path = folder.add("writer");
  folder.mark(Deno.statSync(path).size);
  assertEquals((await folder.find()).file, undefined);
  Deno.writeTextFileSync(path, "\n", { append: true });
  assertEquals((await folder.find()).file, path);
});

Deno.test("without a way to load, files of ours are executed too", async () => {
  using folder = new Folder();
  const path = folder.add("writer");
  folder.mark(Deno.statSync(path).size);
  assertEquals((await folder.find({ load: undefined })).file, path);
});

Deno.test("a plugin of ours that is nowhere runs in process only on demand", async () => {
  using folder = new Folder();
  await assertRejects(() => folder.find(), CniError, 'failed to find plugin "writer"');
  const found = await folder.find({ inProcessIfMissing: true });
  assertEquals(found.file, undefined);
  const stdout = await found.call(call({ file: folder.file }));
  assertEquals(JSON.parse(stdout), { cniVersion: "1.1.0" });
  assertEquals(folder.written(), true);
  assertEquals((await found.versions()).at(-1), "1.1.0");
});

Deno.test("another's plugin that is nowhere is not found", async () => {
  using folder = new Folder();
  const executor = createExecutor({ path: [folder.dir], load, inProcessIfMissing: true });
  await assertRejects(() => executor.find("other"), CniError, 'failed to find plugin "other"');
});

Deno.test("a failed call in process leaves nothing behind", async () => {
  using folder = new Folder();
  const found = await folder.find({ inProcessIfMissing: true });
  const error = await assertRejects(
    () => found.call(call({ file: folder.file, fail: "banana" })),
    CniError,
  );
  assertEquals([error.code, error.msg], [codes.refused, "banana"]);
  assertEquals(folder.written(), false);
});

const refused: readonly [string, PluginCall, number, string][] = [
  ["a version it does not support", call({ cniVersion: "9.9.9" }), 1, "incompatible CNI versions"],
  ["a bad container ID", call({}, { containerId: "%" }), 4, "invalid characters in containerID"],
  ["a missing namespace", call({}, { netns: "" }), 4, "required env variables [CNI_NETNS] missing"],
  ["its own namespace", call({}, { netns: "/proc/self/ns/net" }), 8, "should not be the same"],
  ["a value of the wrong type", call({ file: 5 }), 7, "file: expected string"],
];
for (const [name, wrong, code, text] of refused) {
  Deno.test(`a call in process with ${name} is refused as in a process of its own`, async () => {
    using folder = new Folder();
    const found = await folder.find({ inProcessIfMissing: true });
    const error = await assertRejects(() => found.call(wrong), CniError);
    assertEquals(error.code, code);
    assertStringIncludes(error.msg, text);
  });
}

Deno.test("a dry run records what ours would do and executes nothing", async () => {
  using folder = new Folder();
  const host = new DryRun();
  const found = await folder.find({ inProcessIfMissing: true, host: () => host });
  await found.call(call({ file: folder.file }));
  assertEquals(host.steps.map(({ why }) => why), ["write"]);
  assertEquals(folder.written(), false);
  folder.add("writer");
  const foreign = await folder.find({ inProcessIfMissing: true, host: () => host });
  const error = await assertRejects(
    () => foreign.call(call({ file: folder.file })),
    CniError,
  );
  assertStringIncludes(error.msg, 'Cannot plan plugin "writer"');
  assertEquals(folder.log(), []);
});

Deno.test("after a stop no further plugin is started, and nothing in process is begun", async () => {
  using folder = new Folder();
  const stop = new AbortController();
  const options = { inProcessIfMissing: true, signal: stop.signal };
  const found = await folder.find(options);
  stop.abort(new CniError(codes.interrupted, "stopped"));
  const error = await assertRejects(() => found.call(call({ file: folder.file })), CniError);
  assertInstanceOf(error, CniError);
  assertEquals(error.code, codes.interrupted);
  await assertRejects(() => folder.find(options), CniError, "stopped");
  assertEquals(folder.written(), false);
});
