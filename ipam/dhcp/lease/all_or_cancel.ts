/**
 * Things that are done at one time, because an interface wants them all.
 *
 * @module
 */

/** Something that can be called off. */
export type Part<T> = (signal: AbortSignal) => Promise<T>;

/**
 * Does all parts at one time. Where one fails, the others are called off and waited for; then the
 * first failure is thrown.
 */
export async function together<T>(
  parts: readonly Part<T>[],
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<T[]> {
  const cancel = new AbortController();
  const any = AbortSignal.any([cancel.signal, ...(signal ? [signal] : [])]);
  const failures: unknown[] = [];
  const done = await Promise.all(parts.map((part) =>
    part(any).catch((error: unknown) => {
      failures.push(error);
      cancel.abort();
    })
  ));
  if (failures.length > 0) throw failures[0];
  return done as T[];
}

/** Rejects when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}
