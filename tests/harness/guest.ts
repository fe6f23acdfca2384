/**
 * Tests whose needs the running kernel lacks: `deno task test --vm` lists them
 * here and runs them inside guest kernels (`scripts/vm.ts`), where starting a
 * program is twenty times as slow.
 *
 * @module
 */

/** Names the file that listed tests are written to; nothing is tested then. */
export const listVariable = "DENOCNI_LIST";

/** Names the file with the tests to register, as they were listed; all when it is absent. */
export const onlyVariable = "DENOCNI_ONLY";

/**
 * Says which tests call plugins inside one process, in a host stand-in that they share
 * (`standing.ts`): `all` in a guest; `suites` where launchers are tested, which only start
 * the same code.
 */
export const inProcessVariable = "DENOCNI_IN_PROCESS";

/** Whether a test calls plugins inside one process. */
export function isInOneProcess({ suite = false }: { suite?: boolean }): boolean {
  const which = Deno.env.get(inProcessVariable);
  return which === "all" || (which === "suites" && suite);
}

/** A test that waits for a guest. */
export interface ListedTest {
  readonly file: string;
  readonly name: string;
  /** What the running kernel lacks for it. */
  readonly lacks: readonly string[];
}

/** Whether a guest kernel may have what this one lacks. */
export function isGuestNeed(need: string): boolean {
  return /^(link|qdisc|filter):|^bridge-vlan$|-nat$/.test(need);
}

let given: readonly ListedTest[] | undefined;

/** What a guest was given; `undefined` natively. */
function givenTests(): readonly ListedTest[] | undefined {
  const path = Deno.env.get(onlyVariable);
  return path === undefined ? undefined : given ??= readList(Deno.readTextFileSync(path));
}

/** Whether a test is to be registered: natively each, in a guest those that it was given. */
export function isChosen(name: string): boolean {
  const file = testFile();
  return givenTests()?.some((test) => test.name === name && test.file === file) ?? true;
}

/** Registers what this guest was given, file after file. */
export async function registerGiven(): Promise<void> {
  for (const name of new Set(givenTests()?.map(({ file }) => file))) {
    file = name;
    // deno-lint-ignore denocni/literal-import -- tests are not bundled
    await import(name);
  }
}

/** The file that registers its tests, where one process has the tests of several. */
let file: string | undefined;

/** Whether what has these needs concerns this kernel: a guest is there for some needs alone. */
export function isForHere(needs: readonly string[]): boolean {
  return givenTests()?.some(({ lacks }) => lacks.some((need) => needs.includes(need))) ?? true;
}

/** Tests as {@linkcode list} has written them. */
export function readList(text: string): ListedTest[] {
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

function testFile(): string {
  return file ?? new URL(Deno.mainModule).pathname;
}

/** Whether tests are listed in place of being run. */
export function isListing(): boolean {
  return Deno.env.has(listVariable);
}

/** Whether this is a guest that was given its tests. */
export function isGuest(): boolean {
  return Deno.env.has(onlyVariable);
}

/** Registers a test that waits for a guest, without its body; any other is left out. */
export function list(name: string, missing: readonly string[]): void {
  const lacks = missing.filter(isGuestNeed);
  if (lacks.length === 0) return;
  const line: ListedTest = { file: testFile(), name, lacks };
  const path = Deno.env.get(listVariable)!;
  Deno.writeTextFileSync(path, `${JSON.stringify(line)}\n`, { append: true });
  Deno.test(name, () => {});
}

/** How often something is tried: in a guest, and in the list for it, less often. */
export function rounds(natively: number, inGuest: number): number {
  return isListing() || isGuest() ? inGuest : natively;
}
