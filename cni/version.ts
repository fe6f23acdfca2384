/**
 * Versions of the protocol: reading, comparing and agreeing on one.
 *
 * @module
 */
import { CniError, codes } from "./error.ts";

/** Every version of the specification, oldest first. */
export const versions = [
  "0.1.0",
  "0.2.0",
  "0.3.0",
  "0.3.1",
  "0.4.0",
  "1.0.0",
  "1.1.0",
] as const;

/** The newest version, and the one that results have inside this project. */
export const latest = "1.1.0";

/** The version of a configuration that names none. */
export const oldest = "0.1.0";

/** Major, minor and micro part. */
export type VersionParts = readonly [major: number, minor: number, micro: number];

const partNames = ["major", "minor", "micro"] as const;

/**
 * Reads one to three parts; missing ones are 0 and an empty text is 0.1.0. A part may have a
 * sign, because the reference accepts one. Throws a `CniError` of code 6.
 */
export function parseVersion(text: string): VersionParts {
  const parts = (text || oldest).split(".");
  if (parts.length > 3) {
    throw undecodable(`invalid version ${JSON.stringify(text)}: too many parts`);
  }
  const [major, minor, micro] = partNames.map((name, index) => parsePart(name, parts[index]));
  return [major!, minor!, micro!];
}

function parsePart(name: string, text = "0"): number {
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(value)) return value;
  const reason = Number.isNaN(value) ? "invalid syntax" : "value out of range";
  throw undecodable(
    `failed to convert ${name} version part ${JSON.stringify(text)}: ${reason}`,
  );
}

function undecodable(message: string): CniError {
  return new CniError(codes.decodingFailure, message);
}

/** Below 0 when `a` is the older one, above 0 when it is the newer one, else 0. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [parseVersion(a), parseVersion(b)];
  return x[0] - y[0] || x[1] - y[1] || x[2] - y[2];
}

/** Whether a version is this one or a newer one. */
export function atLeast(version: string, minimum: string): boolean {
  return compareVersions(version, minimum) >= 0;
}

/** The versions of the specification from this one on. */
export function versionsFrom(start: string): string[] {
  return versions.filter((version) => atLeast(version, start));
}

/**
 * Makes sure that a plugin supports the configuration's version. The texts must be equal: `1.1`
 * is not `1.1.0`, and text that is no version is just not supported. Throws a `CniError` of code 1.
 */
export function reconcile(configVersion: string, supported: readonly string[]): void {
  if (supported.includes(configVersion)) return;
  const list = supported.map((version) => JSON.stringify(version)).join(" ");
  throw new CniError(
    codes.incompatibleVersion,
    "incompatible CNI versions",
    `config is ${JSON.stringify(configVersion)}, plugin supports [${list}]`,
  );
}

/** Answer to VERSION, on one line; the caller ends the line. */
export function formatVersionObject(supported: readonly string[]): string {
  return JSON.stringify({ cniVersion: latest, supportedVersions: supported });
}
