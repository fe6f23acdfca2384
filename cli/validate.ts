/**
 * `cni validate [FILE|NETWORK]`.
 *
 * @module
 */
import type { FoundFile } from "../cni/runtime/find.ts";
import type { Json } from "../cni/types.ts";
import { toCniError } from "../cni/error.ts";
import { listNetworks, loadAny } from "../cni/runtime/find.ts";
import type { Cli, Subcommand } from "./cli.ts";
import type { Finding } from "./lint.ts";
import { lint } from "./lint.ts";
import { runtimeFlags } from "./options.ts";

/** Looks for mistakes. */
export const command: Subcommand = {
  usage: "validate [FLAGS] [FILE|NETWORK]",
  text: `
Looks for mistakes in the configuration file FILE (a word with a slash), in the
network of a name, or in every file of the directory: values that our plugins would
refuse, plugins that are missing or of another version, and keys that nobody reads.
Keys of plugins that are not ours cannot be judged. Exit status 1 when something is
wrong; warnings alone are no failure.`,
  example: "cni validate ./10-mynet.conflist",
  flags: ["json", ...runtimeFlags],
  words: { min: 0, max: 1 },
  async run(cli) {
    const judged: Judged[] = [];
    for (const file of filesFor(cli)) judged.push(await judge(cli, file));
    cli.print(judged.map(toJson), () => toText(cli, judged));
    const wrong = judged.some(({ findings }) => findings.some(isError));
    return wrong ? 1 : 0;
  },
};

interface Judged {
  readonly file: FoundFile;
  readonly findings: readonly Finding[];
}

function filesFor(cli: Cli): FoundFile[] {
  const word = cli.word(0);
  if (word === "") return listNetworks(cli.confDir);
  if (!word.includes("/")) return [{ path: cli.confDir, network: cli.network(word) }];
  try {
    return [{ path: word, network: loadAny(word) }];
  } catch (error) {
    return [{ path: word, error: toCniError(error) }];
  }
}

async function judge(cli: Cli, file: FoundFile): Promise<Judged> {
  if (file.network) return { file, findings: await lint(file.network, cli.runtime()) };
  return { file, findings: [{ severity: "error", message: file.error?.msg ?? "" }] };
}

function isError({ severity }: Finding): boolean {
  return severity === "error";
}

function toJson({ file, findings }: Judged): Json {
  return {
    file: file.path,
    network: file.network?.name ?? null,
    findings: findings.map((finding): Json => ({ ...finding })),
  };
}

function toText(cli: Cli, judged: readonly Judged[]): string {
  if (judged.length === 0) return `No network is configured in ${cli.confDir}\n`;
  return judged.map(({ file, findings }) => {
    const name = file.network ? `${file.network.name} (${file.path})` : file.path;
    const verdict = findings.some(isError) ? "wrong" : "ok";
    const lines = findings.map(({ severity, message }) => `  ${severity}: ${message}\n`);
    return `${name}: ${verdict}\n${lines.join("")}`;
  }).join("");
}
