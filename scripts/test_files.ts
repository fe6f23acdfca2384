/**
 * Which files hold tests, and of which kind they are.
 *
 * @module
 */
import { sourceFiles } from "./imports.ts";

/** Test files of a run; their paths begin at the project's root. */
export interface TestFiles {
  /** Below `tests/`: they need plugins and private namespaces. */
  readonly kernel: readonly string[];
  /** Beside the code that they test: they need neither. */
  readonly pure: readonly string[];
}

/** Every test file below the project's root. */
export function findTests(root: string): string[] {
  return sourceFiles(root).filter((file) => file.endsWith("_test.ts"));
}

/**
 * Those of `files` that `paths` name, a folder all below it; all when none is named.
 * Throws when a path names none.
 */
export function chooseTests(files: readonly string[], paths: readonly string[]): string[] {
  if (paths.length === 0) return [...files];
  return [...new Set(paths.flatMap((path) => testsAt(files, path)))];
}

function testsAt(files: readonly string[], path: string): string[] {
  const name = path.replace(/^(\.\/)+|\/+$/g, "");
  const here = files.filter((file) => name === "." || file === name || file.startsWith(`${name}/`));
  if (here.length > 0) return here;
  throw new Error(`Cannot test "${path}": there is neither a test file nor a folder with one`);
}

/** Tells kernel tests and pure tests apart. */
export function split(files: readonly string[]): TestFiles {
  const isKernel = (file: string) => file.startsWith("tests/");
  return { kernel: files.filter(isKernel), pure: files.filter((file) => !isKernel(file)) };
}
