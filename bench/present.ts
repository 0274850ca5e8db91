/** The value, which the caller knows to be there: an index in range, a map's own key. */
export function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a bug in the benchmark: nothing there");
  return value;
}
