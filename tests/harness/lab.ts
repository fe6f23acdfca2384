/**
 * The `cni` command on networks of a test: as it is installed, or from the sources.
 *
 * @module
 */
import type { JsonObject } from "../../cni/types.ts";
import { binDir } from "./plugin.ts";
import type { Finished } from "./process.ts";
import { execute } from "./process.ts";
import type { Sandbox } from "./sandbox.ts";

/** Commands that know no cache. */
const cacheless = /^(validate|version)$/;

/** Networks in a sandbox, and the command that is used on them, in the namespace of the host. */
export class Lab {
  /** Folder of the configurations. */
  readonly confDir: string;
  /** Folders of plugins; ours are in it. */
  path: string = binDir();
  /** Values for the capabilities that plugins declare. */
  capabilityArgs: JsonObject = {};

  constructor(readonly sandbox: Sandbox) {
    this.confDir = `${sandbox.dir}/net.d`;
    Deno.mkdirSync(this.confDir);
    // The folders stay; what is in them does not.
    Deno.mkdirSync(`${sandbox.cacheDir}/results`, { recursive: true, mode: 0o700 });
  }

  /** Configures a network; those are found in the order of their names. */
  network(name: string, plugins: readonly JsonObject[]): this {
    const list = { name, cniVersion: "1.1.0", plugins: [...plugins] };
    Deno.writeTextFileSync(`${this.confDir}/${name}.conflist`, JSON.stringify(list));
    return this;
  }

  /** A name for a namespace that no other test has. */
  name(short: string): string {
    return `${this.sandbox.host.split("/").at(-1)}-${short}`;
  }

  /** Runs `cni` with these arguments. */
  cni(...args: string[]): Promise<Finished> {
    const argv = ["nsenter", `--net=${this.sandbox.host}`, "--", ...argvOfCni(), ...args];
    const cached = cacheless.test(args[0]!) ? [] : ["--cache-dir", this.sandbox.cacheDir];
    const env = {
      ...Deno.env.toObject(),
      NETCONFPATH: this.confDir,
      CNI_PATH: this.path,
      ...(Object.keys(this.capabilityArgs).length > 0 && {
        CAP_ARGS: JSON.stringify(this.capabilityArgs),
      }),
    };
    return execute([...argv, ...cached], { env });
  }

  /** Runs `cni`, which must succeed, and gives what it prints with `--json`. */
  async json<T = JsonObject>(...args: string[]): Promise<T> {
    return JSON.parse(await this.done(...args, "--json"));
  }

  /** Runs `cni`, which must succeed, and gives what it prints. */
  async done(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.cni(...args);
    if (code === 0) return stdout;
    throw new Error(`cni ${args.join(" ")} ended with ${code}: ${stdout}${stderr}`);
  }

  /** Names of the files in which attachments are remembered. */
  attached(): string[] {
    return [...Deno.readDirSync(`${this.sandbox.cacheDir}/results`)].map(({ name }) => name);
  }
}

/** The installed command, or the sources. */
function argvOfCni(): string[] {
  const installed = `${Deno.env.get("CNI_BIN_DIR")}/cni`;
  try {
    if (Deno.statSync(installed).isFile) return [installed];
  } catch {
    // Not part of the packaging under test.
  }
  const main = new URL("../../main.ts", import.meta.url).pathname;
  return [Deno.execPath(), "run", "--quiet", "--no-check", "--allow-all", main, "cni"];
}
