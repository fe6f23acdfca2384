/**
 * A project outside of this one that uses it as a library, with Deno's default options.
 *
 * @module
 */
import type { Finished, StartOptions } from "./process.ts";
import { execute } from "./process.ts";

const project = new URL("../..", import.meta.url).pathname;

/** Its whole configuration: this project in place of the published one, and what its tests assert with. */
const config = {
  links: [project],
  imports: { "@std/assert": "npm:deno-std@1.4.0/assert/mod.js" },
};

/** A folder with a project in it; gone when it is disposed of. */
export class OutsideProject implements AsyncDisposable {
  private constructor(readonly dir: string) {}

  /** Makes a project of these files, by their names. */
  static async create(files: Readonly<Record<string, string>>): Promise<OutsideProject> {
    const dir = await Deno.makeTempDir({ prefix: "denocni-outside-" });
    const all = { "deno.json": JSON.stringify(config), ...files };
    for (const [name, text] of Object.entries(all)) {
      await Deno.writeTextFile(`${dir}/${name}`, text);
    }
    return new OutsideProject(dir);
  }

  /** Runs Deno inside the project. */
  deno(args: readonly string[], options: StartOptions = {}): Promise<Finished> {
    return execute([Deno.execPath(), ...args], {
      env: { ...Deno.env.toObject(), NO_COLOR: "1" },
      deadline: 300_000,
      ...options,
      cwd: this.dir,
    });
  }

  /** Runs Deno, which must succeed, and gives its stdout. */
  async must(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.deno(args);
    if (code === 0) return stdout;
    throw new Error(`deno ${args.join(" ")} ended with ${code}: ${stdout}${stderr}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.dir, { recursive: true });
  }
}

/** Every entry of the library, as others import it. */
export function entries(): string[] {
  const { name, exports } = JSON.parse(Deno.readTextFileSync(`${project}deno.json`)) as {
    name: string;
    exports: Record<string, string>;
  };
  return Object.keys(exports).map((key) => `${name}${key.slice(1)}`);
}
