/**
 * Tells whether the kernel can shape, by the lists of its modules and without a change. A kernel without such lists has everything built in, or says no at ADD.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import { readFileIfExists } from "../../host/files.ts";
import { listProc, readProcIfExists } from "../../host/proc.ts";
import type { Conf } from "./conf.ts";

/** The modules that a configuration may need. */
export function neededModules({ queue }: Pick<Conf, "queue">): string[] {
  const always = ["ifb", "sch_tbf", "sch_ingress", "cls_u32", "act_mirred"];
  return queue === "fq_codel" ? [...always, "sch_fq_codel"] : always;
}

/** Throws code 50 when the kernel lacks a module. */
export function requireModules(modules: readonly string[]): void {
  const release = readProcIfExists("/proc/sys/kernel/osrelease")?.trim();
  const dir = `/lib/modules/${release}`;
  const lists = ["modules.dep", "modules.builtin"].map((name) =>
    readFileIfExists(`${dir}/${name}`)
  );
  if (lists.includes(undefined)) return;
  const loaded = listProc("/sys/module") ?? [];
  const missing = missingModules(modules, { lists: lists.join("\n"), loaded });
  if (missing.length === 0) return;
  const names = missing.map((name) => `"${name}"`).join(", ");
  throw new CniError(
    codes.notAvailable,
    `Cannot serve ADD: the kernel lacks the module ${names}`,
    `looked in ${dir} and /sys/module`,
  );
}

/** The modules that neither stand in the lists nor are loaded. */
export function missingModules(
  modules: readonly string[],
  { lists, loaded }: { lists: string; loaded: readonly string[] },
): string[] {
  const listed = new Set(
    [...lists.matchAll(/^[^:\s]*?([^/:\s]+)\.ko/gm)].map(([, name]) => name!.replaceAll("-", "_")),
  );
  return modules.filter((name) => !listed.has(name) && !loaded.includes(name));
}
