/**
 * Work on many things, a bounded number of them at once.
 *
 * @module
 */

/** Works on each of `items` in order, on at most `limit` at once; gives results in the order of their ends. */
export async function atOnce<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const rest = items.values();
  const worker = async () => {
    // Every worker takes from the same iterator.
    for (const item of rest) results.push(await work(item));
  };
  await Promise.all(Array.from({ length: limit }, worker));
  return results;
}
