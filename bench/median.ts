import { present } from "./present.ts";

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  const upper = present(sorted[middle]);
  return sorted.length % 2 === 1 ? upper : (present(sorted[middle - 1]) + upper) / 2;
}
