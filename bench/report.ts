/** Figures for people (a table) and for programs (one JSON line). */
export type ReportRow = readonly [name: string, ours: string, floor: string];

export interface Report {
  readonly bench: string;
  readonly unit: string;
  readonly ours: number;
  readonly floor: number;
  readonly ratio: number;
  /** Rows beside the main one: name, ours, floor (empty where it has none). */
  readonly rows: readonly ReportRow[];
  /** Everything else, for the JSON line. */
  readonly details: Readonly<Record<string, unknown>>;
}

export function printReport(report: Report, json: boolean): void {
  const { bench, details, floor, ours, ratio, rows, unit } = report;
  const table = [
    ["", "ours", "floor"],
    [unit, figure(ours), figure(floor)],
    ["ratio", figure(ratio), ""],
    ...rows,
  ];
  const width = Math.max(...table.map(([name]) => name?.length ?? 0));
  const lines = table.map(
    ([name = "", a = "", b = ""]) =>
      `  ${name.padEnd(width)}  ${a.padStart(14)}  ${b.padStart(14)}`,
  );
  const text = `${bench}\n${lines.join("\n")}\n`;
  (json ? process.stderr : process.stdout).write(text);
  if (!json) return;
  const line = {
    bench,
    unit,
    ours: round(ours),
    floor: round(floor),
    ratio: round(ratio),
    ...details,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

export function figure(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const digits = Math.abs(value) >= 1_000 ? 0 : Math.abs(value) >= 100 ? 1 : 2;
  return value.toFixed(digits);
}

export function round(value: number): number | null {
  return Number.isFinite(value) ? Number(value.toPrecision(5)) : null;
}
