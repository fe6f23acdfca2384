/**
 * Test doubles of plugins: tiny shell scripts that record environment and stdin
 * of every call and give back what a test told them. Need no kernel and no
 * privileges.
 *
 * @module
 */
import type { JsonObject } from "../../cni/types.ts";

/** What a recording plugin leaves for one verb. */
export interface Answer {
  readonly stdout?: string;
  readonly stderr?: string;
  /** Exit status; 0 when absent. */
  readonly exit?: number;
  /** Shell text carried out before the answer. */
  readonly run?: string;
}

/** Answers by verb; `"*"` is for all others. */
export type Answers = Readonly<Record<string, Answer>>;

/** One recorded call. */
export interface RecordedCall {
  readonly verb: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** stdin as JSON. */
  readonly config: JsonObject;
}

/** It starts as few programs as it can: tests make hundreds of calls. */
const script = `#!/bin/sh
d="$0.d"
set -- "$d/calls"/*.env
[ -e "$1" ] && n=$# || n=0
[ -e "$d/$CNI_COMMAND.stdout" ] && v=$CNI_COMMAND || v=_
env -0 >"$d/calls/$n.env"
cat >"$d/calls/$n.stdin"
echo "\${0##*/} $CNI_COMMAND" >>"\${0%/*}/.log"
. "$d/$v.run"
[ -s "$d/$v.stderr" ] && cat "$d/$v.stderr" >&2
[ -s "$d/$v.stdout" ] && cat "$d/$v.stdout"
read -r status <"$d/$v.exit"
exit "$status"
`;

/** A folder of recording plugins that vanishes at the end of the scope. */
export class Recorder implements Disposable {
  /** The folder, for `CNI_PATH`. */
  readonly dir: string = Deno.makeTempDirSync({ prefix: "recorder-" });

  /** Adds a plugin. It succeeds without output unless told otherwise, and supports all versions. */
  add(type: string, answers: Answers = {}): string {
    const path = `${this.dir}/${type}`;
    Deno.mkdirSync(`${path}.d/calls`, { recursive: true });
    const all = { "*": {}, VERSION: supports(), ...answers };
    for (const [verb, answer] of Object.entries(all)) {
      write(`${path}.d/${verb === "*" ? "_" : verb}`, answer);
    }
    Deno.writeTextFileSync(path, script, { mode: 0o755 });
    return path;
  }

  /** Calls of a plugin, in order. VERSION counts. */
  calls(type: string): RecordedCall[] {
    const dir = `${this.dir}/${type}.d/calls`;
    const count = [...Deno.readDirSync(dir)].length / 2;
    return Array.from({ length: count }, (_, n) => call(`${dir}/${n}`));
  }

  /** `TYPE VERB` of all calls of all plugins, in order. */
  log(): string[] {
    try {
      return Deno.readTextFileSync(`${this.dir}/.log`).trim().split("\n");
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

/** The answer to VERSION. */
export function supports(
  versions: readonly string[] = [
    "0.1.0",
    "0.2.0",
    "0.3.0",
    "0.3.1",
    "0.4.0",
    "1.0.0",
    "1.1.0",
  ],
): Answer {
  const info = { cniVersion: "1.1.0", supportedVersions: versions };
  return { stdout: JSON.stringify(info) };
}

/** An answer that is a JSON value. */
export function prints(value: JsonObject): Answer {
  return { stdout: JSON.stringify(value) };
}

/** An answer that is an error object. */
export function fails(code: number, msg: string): Answer {
  return { exit: 1, stdout: JSON.stringify({ code, msg }) };
}

function write(base: string, answer: Answer): void {
  Deno.writeTextFileSync(`${base}.stdout`, answer.stdout ?? "");
  Deno.writeTextFileSync(`${base}.stderr`, answer.stderr ?? "");
  Deno.writeTextFileSync(`${base}.exit`, `${answer.exit ?? 0}\n`);
  Deno.writeTextFileSync(`${base}.run`, answer.run ?? "");
}

function call(base: string): RecordedCall {
  const pairs = Deno.readTextFileSync(`${base}.env`).split("\0").slice(0, -1);
  const env = Object.fromEntries(pairs.map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), pair.slice(at + 1)];
  }));
  const stdin = Deno.readTextFileSync(`${base}.stdin`);
  return {
    verb: env.CNI_COMMAND ?? "",
    env,
    stdin,
    get config() {
      return JSON.parse(stdin);
    },
  };
}
