/** Text for people: columns, ages, ranges. */

/** Columns as wide as their widest cell; the last one is not padded. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? "").length)));
  const line = (row: readonly string[]) =>
    `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`.trimEnd();
  return all.map(line).join("\n");
}

const UNITS: readonly (readonly [name: string, ms: number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
];

/** The largest unit that fits: `3d`, `12m`, `5s`, `80ms`. */
export function age(ms: number): string {
  const unit = UNITS.find(([, size]) => ms >= size);
  return unit === undefined
    ? `${Math.max(0, Math.round(ms))}ms`
    : `${Math.floor(ms / unit[1])}${unit[0]}`;
}

/** `0-3, 5, 7-8`, from numbers in rising order. */
export function ranges(numbers: readonly number[]): string {
  const spans: [from: number, to: number][] = [];
  for (const number of numbers) {
    const last = spans.at(-1);
    if (last !== undefined && number === last[1] + 1) last[1] = number;
    else spans.push([number, number]);
  }
  return spans.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(", ");
}

const SIZES = ["B", "KB", "MB", "GB", "TB"] as const;

export function bytes(count: number): string {
  const power = Math.min(SIZES.length - 1, Math.floor(Math.log2(Math.max(1, count)) / 10));
  return `${(count / 1_024 ** power).toFixed(power === 0 ? 0 : 1)} ${SIZES[power]}`;
}
