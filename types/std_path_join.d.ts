/** Signature of `join` of `@std/path/posix`. */
export function join(path: string, ...paths: string[]): string;
