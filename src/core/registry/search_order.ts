/**
 * The order in which a node looks for free partitions: those that it knows, and then all from a place
 * of its own, so that nodes that start together do not all try the same ones.
 */
export function searchOrder(self: string, count: number, known: Iterable<number> = []): number[] {
  const first = Bun.hash.xxHash32(self) % count;
  const all = Array.from({ length: count }, (_, i) => (first + i) % count);
  return [...new Set([...known, ...all])];
}
