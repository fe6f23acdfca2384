/**
 * Tasks that run concurrently, all of which have to succeed: an interface wants its addresses of every
 * family.
 *
 * @module
 */

/** A task that a signal can cancel. */
export type CancellableTask<T> = (signal: AbortSignal) => Promise<T>;

/**
 * Runs all tasks concurrently. When one fails, cancels the others, waits for them, and throws the first
 * failure.
 */
export async function allOrCancel<T>(
  tasks: readonly CancellableTask<T>[],
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<T[]> {
  const cancel = new AbortController();
  const any = AbortSignal.any([cancel.signal, ...(signal ? [signal] : [])]);
  const failures: unknown[] = [];
  const done = await Promise.all(tasks.map((task) =>
    task(any).catch((error: unknown) => {
      failures.push(error);
      cancel.abort();
    })
  ));
  if (failures.length > 0) throw failures[0];
  return done as T[];
}

/** Rejects with the signal's reason when the signal is aborted. */
export function rejectOnAbort(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}
