/**
 * Domain names in options: as text, and in the encoding of DNS (RFC 1035 section 3.1).
 *
 * @module
 */
import type { OptionFormat } from "./option_format.ts";
import { concat } from "./bytes.ts";
import { textFormat } from "./option_format.ts";

/** Most names of a search list; a server that sends more does not mean it. */
const mostNames = 64;
/** Longest encoded name in bytes, without the root label. */
const longestName = 254;

const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** Whether a text is a domain name that may be written into `resolv.conf`. */
export function isDomainName(name: string): boolean {
  return name.length < longestName && name.split(".").every((part) => label.test(part));
}

/** A domain name as text, without a dot at its end. Anything else is refused: files are made of it. */
export const nameFormat: OptionFormat<string> = {
  read(bytes) {
    const plain = textFormat.read(bytes)!.replace(/\.$/, "");
    return isDomainName(plain) ? plain : undefined;
  },
  write: textFormat.write,
};

interface DecodedName {
  readonly labels: readonly string[];
  /** Whether the root label ended it, rather than the end of the bytes. */
  readonly whole: boolean;
  /** Where the bytes after it begin. */
  readonly next: number;
}

/**
 * Decodes a name (RFC 1035 section 4.1.4). A pointer has to lead to before everything that has been
 * read of the name, so that none can go round.
 */
function readName(bytes: Uint8Array, start: number): DecodedName | undefined {
  const labels: string[] = [];
  let [at, limit, size] = [start, start, 0];
  let next: number | undefined;
  while (at < bytes.length) {
    const length = bytes[at]!;
    if (length === 0) return { labels, whole: true, next: next ?? at + 1 };
    const end = at + 1 + length;
    if (length >= 0xc0) {
      const low = bytes[at + 1];
      const target = (length & 0x3f) << 8 | (low ?? 0);
      if (low === undefined || target >= limit) return undefined;
      next ??= at + 2;
      at = limit = target;
    } else {
      size += length + 1;
      if (length > 63 || end > bytes.length || size > longestName) return undefined;
      labels.push(String.fromCharCode(...bytes.subarray(at + 1, end)));
      at = end;
    }
  }
  return next === undefined ? { labels, whole: false, next: at } : undefined;
}

/** Encodes a name, without the root label. */
export function encodeName(name: string): Uint8Array {
  const labels = name.split(".").filter((part) => part !== "");
  return concat(labels.flatMap((part) => [Uint8Array.of(part.length), textFormat.write(part)]));
}

/** The label that ends a whole name. */
export const rootLabel = Uint8Array.of(0);

/** Encoded names, compressed or not (RFC 3397); they are written without compression. */
export const nameListFormat: OptionFormat<readonly string[]> = {
  read(bytes) {
    const list: string[] = [];
    for (let at = 0; at < bytes.length;) {
      const found = readName(bytes, at);
      const plain = found?.labels.join(".");
      if (!found?.whole || !isDomainName(plain!) || list.length === mostNames) return undefined;
      list.push(plain!);
      at = found.next;
    }
    return list.length > 0 ? list : undefined;
  },
  write: (list) => concat(list.flatMap((one) => [encodeName(one), rootLabel])),
};

/** Decodes one name that fills the bytes; it ends in a dot when it is whole. Pointers are refused. */
export function readSingleName(bytes: Uint8Array): string | undefined {
  const found = readName(bytes, 0);
  if (!found || found.next !== bytes.length) return undefined;
  return found.labels.join(".") + (found.whole ? "." : "");
}
