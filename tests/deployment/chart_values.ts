/**
 * The table of deploy/helm/README.md: every value with its default and its comment in values.yaml.
 * `bun tests/deployment/chart_values.ts` writes it; a test says when that is due.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "./command.ts";

export const CHART = join(PROJECT, "deploy/helm");
export const README = join(CHART, "README.md");
const HEADING = "\n## Values\n";

interface Row {
  readonly path: string;
  readonly value: string;
  readonly about: string;
}

/** The README with the table that values.yaml makes. */
export function readmeWithTable(): string {
  const [before = ""] = readFileSync(README, "utf8").split(HEADING);
  const rows = valueRows().map(({ about, path, value }) => `| \`${path}\` | ${value} | ${about} |`);
  const head = ["| value | default | |", "| --- | --- | --- |"];
  return `${before}${HEADING}\n${[...head, ...rows].join("\n")}\n`;
}

/** Two levels are rows; what is deeper is shown as it is written. */
function valueRows(): Row[] {
  const rows: Row[] = [];
  const above: string[] = [];
  let about: string[] = [];
  const lines = readFileSync(join(CHART, "values.yaml"), "utf8").split("\n");
  for (const line of lines.slice(lines.indexOf("image:"))) {
    const [, comment] = /^ *# (.*)$/.exec(line) ?? [];
    const [, indent = "", key, value = ""] = /^( *)([A-Za-z]+): ?(.*)$/.exec(line) ?? [];
    if (comment !== undefined) about.push(comment);
    if (line === "") about = [];
    if (key === undefined) continue;
    const depth = indent.length / 2;
    above.length = Math.min(above.length, depth);
    above[depth] = key;
    if (depth < 2) {
      const text = about.join(" ").replaceAll("|", "\\|");
      const plain = value === '""' ? "" : `\`${value}\``;
      const shown = value === "" ? "[values.yaml](values.yaml)" : plain;
      if (value !== "" || depth === 1)
        rows.push({ path: above.join("."), value: shown, about: text });
    }
    about = [];
  }
  return rows;
}

if (import.meta.main) await Bun.write(README, readmeWithTable());
