/**
 * Curves as SVG, from a JSON file of what was measured: `bun bench/chart.ts curves.json out.svg`.
 * The file: {"title","x","y","series":{"name":[[x,y],…]}}.
 */
import { readFileSync, writeFileSync } from "node:fs";

interface Curves {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly series: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [720, 400, 80, 170, 44, 52] as const;
const COLORS = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#4b5563"];
const TICKS = 5;

/** The next of 1, 2, 5, 10, 20 … so that about TICKS steps reach `max`. */
function stepFor(max: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(max, 1e-9) / TICKS));
  const factor = [1, 2, 5, 10].find((n) => n * power * TICKS >= max) ?? 10;
  return factor * power;
}

function label(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toFixed(2))}M`;
  if (value >= 1e3) return `${Number((value / 1e3).toFixed(2))}k`;
  return `${Number(value.toFixed(2))}`;
}

function text(x: number, y: number, words: string, more = ""): string {
  const safe = words.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  return `<text x="${x}" y="${y}" ${more}>${safe}</text>`;
}

export function draw({ series, title, x, y }: Curves): string {
  const all = Object.values(series).flat();
  const [stepX, stepY] = [0, 1].map((i) => stepFor(Math.max(...all.map((p) => p[i] ?? 0)))) as [
    number,
    number,
  ];
  const maxX = Math.ceil(Math.max(...all.map((p) => p[0])) / stepX) * stepX;
  const maxY = Math.ceil(Math.max(...all.map((p) => p[1])) / stepY) * stepY;
  const atX = (value: number) => LEFT + (value / maxX) * (WIDTH - LEFT - RIGHT);
  const atY = (value: number) => HEIGHT - BOTTOM - (value / maxY) * (HEIGHT - TOP - BOTTOM);
  const parts: string[] = [];
  for (let v = 0; v <= maxY * 1.001; v += stepY) {
    const at = atY(v).toFixed(1);
    parts.push(`<path d="M${LEFT} ${at}H${WIDTH - RIGHT}" stroke="#e5e7eb"/>`);
    parts.push(text(LEFT - 8, Number(at) + 4, label(v), 'text-anchor="end"'));
  }
  for (let v = 0; v <= maxX * 1.001; v += stepX) {
    parts.push(text(atX(v), HEIGHT - BOTTOM + 18, label(v), 'text-anchor="middle"'));
  }
  for (const [i, [name, points]] of Object.entries(series).entries()) {
    const color = COLORS[i % COLORS.length];
    const at = points.map(([px, py]) => `${atX(px).toFixed(1)} ${atY(py).toFixed(1)}`);
    parts.push(`<path d="M${at.join("L")}" fill="none" stroke="${color}" stroke-width="2"/>`);
    if (points.length < 20) {
      for (const [px, py] of points) {
        parts.push(`<circle cx="${atX(px)}" cy="${atY(py)}" r="3" fill="${color}"/>`);
      }
    }
    parts.push(text(WIDTH - RIGHT + 14, TOP + 18 * i + 8, name, `fill="${color}"`));
  }
  parts.push(text(LEFT, 24, title, 'font-size="15" font-weight="600"'));
  parts.push(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x, 'text-anchor="middle"'));
  parts.push(text(LEFT, TOP - 6, y, 'fill="#4b5563"'));
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
    `role="img" aria-label="${title}" font-family="system-ui,sans-serif" font-size="12">` +
    `<title>${title}</title><rect width="100%" height="100%" ` +
    `fill="#fff"/>${parts.join("")}</svg>\n`
  );
}

if (import.meta.main) {
  const [from = "", to = ""] = process.argv.slice(2);
  writeFileSync(to, draw(JSON.parse(readFileSync(from, "utf8")) as Curves));
}
