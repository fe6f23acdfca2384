/**
 * Columns of text.
 *
 * @module
 */

/** Rows below a head, each column as wide as its widest cell. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) =>
    Math.max(...all.map((row) => [...(row[column] ?? "")].length))
  );
  const line = (row: readonly string[]) =>
    row.map((cell, column) => cell + " ".repeat(widths[column]! - [...cell].length))
      .join("  ").trimEnd();
  return `${all.map(line).join("\n")}\n`;
}
