/**
 * The file beside installed plugins that says which of them are ours.
 *
 * @module
 */
import { markerName } from "../cni/delegate.ts";
import { readFileIfExists, writeFileAtomic } from "../host/files.ts";

/** What it holds. */
export interface Marker {
  /** Size in bytes of each file of ours, by its name. */
  readonly files: Readonly<Record<string, number>>;
  /** The bundle that launchers run: its file name without the ending. */
  readonly bundle?: string;
}

/** Reads the marker of a folder; one that is missing or broken means that nothing is ours. */
export function readMarker(dir: string): Marker {
  const text = readFileIfExists(`${dir}/${markerName}`);
  try {
    return text === undefined ? { files: {} } : { files: {}, ...JSON.parse(text) };
  } catch {
    return { files: {} };
  }
}

/** Writes the marker of a folder. */
export function writeMarker(dir: string, marker: Marker): void {
  writeFileAtomic(`${dir}/${markerName}`, `${JSON.stringify(marker, null, 2)}\n`, { mode: 0o644 });
}

/** Sizes of files, as the marker lists them. */
export function sizesIn(dir: string, names: readonly string[]): Record<string, number> {
  return Object.fromEntries(names.map((name) => [name, Deno.statSync(`${dir}/${name}`).size]));
}
