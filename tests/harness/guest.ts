/**
 * Tests whose needs the running kernel lacks: `deno task test --vm` lists them
 * here and runs them inside a guest kernel (`scripts/vm.ts`).
 *
 * @module
 */

/** Names the file that listed tests are written to; nothing is tested then. */
export const listVariable = "DENOCNI_LIST";

/** Needs of which a test must have one to be registered; all are when it is absent. */
export const onlyVariable = "DENOCNI_ONLY_NEEDS";

/** A test that waits for a guest. */
export interface ListedTest {
  readonly file: string;
  readonly name: string;
  /** What the running kernel lacks for it. */
  readonly lacks: readonly string[];
}

/** Whether a guest kernel may have what this one lacks. */
export function isGuestNeed(need: string): boolean {
  return /^link:|^bridge-vlan$|^netem$|-nat$/.test(need);
}

/** Whether a test is to be registered here: natively each, in a guest those that it is there for. */
export function isForGuest(needs: readonly string[]): boolean {
  const only = Deno.env.get(onlyVariable);
  if (only === undefined) return true;
  return needs.some((need) => only.split(",").includes(need));
}

/** Whether tests are listed in place of being run. */
export function isListing(): boolean {
  return Deno.env.has(listVariable);
}

/** Registers a test that waits for a guest, without its body; any other is left out. */
export function list(name: string, missing: readonly string[]): void {
  const lacks = missing.filter(isGuestNeed);
  if (lacks.length === 0) return;
  const file = new URL(Deno.mainModule).pathname;
  const line: ListedTest = { file, name, lacks };
  Deno.writeTextFileSync(Deno.env.get(listVariable)!, `${JSON.stringify(line)}\n`, {
    append: true,
  });
  Deno.test(name, () => {});
}
