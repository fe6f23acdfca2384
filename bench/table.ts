/**
 * Prints measurements side by side, with ratios to one of them.
 *
 * @module
 */
import type { Cost, Measurement } from "./measure.ts";
import { crowd } from "./scenario.ts";

/** One folder of plugins in a comparison. */
export interface Row {
  readonly name: string;
  /** Why there is no measurement. */
  readonly missing?: string;
  readonly measurement?: Measurement;
}

/** What a column shows, and how many decimals. */
interface Column {
  readonly title: string;
  readonly decimals: number;
  readonly value: (cost: Cost) => number;
}

const columns: readonly Column[] = [
  { title: "ms", decimals: 1, value: ({ wall }) => wall },
  { title: "CPU ms", decimals: 1, value: ({ cpu }) => cpu },
  { title: "MiB", decimals: 1, value: ({ memory }) => memory },
  { title: "processes", decimals: 0, value: ({ processes }) => processes },
  { title: `ms for ${crowd} at once`, decimals: 0, value: ({ together }) => together },
];

/**
 * The rows of a scenario as text: a line for ADD and one for DEL each. Behind a
 * number stands its ratio to the same of the row called `base`, when that is there.
 */
export function table(rows: readonly Row[], base: string | undefined): string {
  const reference = rows.find(({ name }) => name === base)?.measurement;
  const lines = rows.flatMap((row) => rowLines(row, reference));
  return align([["", "", ...columns.map(({ title }) => title)], ...lines]);
}

function rowLines({ name, missing, measurement }: Row, reference: Measurement | undefined) {
  if (!measurement) return [[name, missing ?? "not measured"]];
  return (["add", "del"] as const).map((verb) => [
    verb === "add" ? name : "",
    verb.toUpperCase(),
    ...columns.map((column) => cell(column, measurement[verb], reference?.[verb])),
  ]);
}

function cell({ value, decimals }: Column, cost: Cost, reference: Cost | undefined): string {
  const text = value(cost).toFixed(decimals);
  if (!reference) return text;
  return `${text} (${ratio(value(cost), value(reference))})`;
}

/** How many times as much, with two figures; a dash where nothing was to be measured. */
export function ratio(value: number, reference: number): string {
  if (reference === 0) return "–";
  const times = value / reference;
  return `${times.toFixed(times < 10 ? 1 : 0)}×`;
}

/** The first two columns to the left, numbers to the right. */
function align(lines: readonly (readonly string[])[]): string {
  const full = lines.filter((line) => line.length > 2);
  const widths = full[0]!.map((_, i) => Math.max(...full.map((line) => line[i]!.length)));
  return lines.map((line) =>
    line.map((text, i) =>
      i < 2 ? text.padEnd(line.length > 2 ? widths[i]! : 0) : text.padStart(widths[i]!)
    ).join("  ").trimEnd()
  ).join("\n");
}
