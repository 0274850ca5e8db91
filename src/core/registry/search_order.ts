/** The order in which a node looks for free partitions: from a place of its own, so that nodes that
 * start together do not all try the same ones. */
export function searchOrder(self: string, count: number): number[] {
  const first = Bun.hash.xxHash32(self) % count;
  return Array.from({ length: count }, (_, i) => (first + i) % count);
}
