/** The promises in 2 000 simulated worlds, and each planted bug caught by the same rules. */
import { expect, test } from "bun:test";
import { cpus } from "node:os";

const RUN_MS = 400_000;

async function sim(...args: string[]): Promise<{ line: Record<string, unknown>; report: string }> {
  const child = Bun.spawn(["bun", "src/sim/main.ts", ...args, "--json"], {
    cwd: `${import.meta.dir}/../..`,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, report] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const text = output.trim().split("\n").at(-1) ?? "";
  if (!text.startsWith("{")) throw new Error(`no figures:\n${output}\n${report}`);
  return { line: JSON.parse(text) as Record<string, unknown>, report };
}

test(
  "2 000 worlds break no promise",
  async () => {
    const { line, report } = await sim(
      "--seeds",
      "2000",
      "--jobs",
      `${Math.min(4, cpus().length)}`,
    );
    if (line.violations !== 0) process.stderr.write(report);
    expect(line).toMatchObject({ seeds: 2_000, violations: 0, failed: [] });
    expect(line.messages).toBeGreaterThan(100_000);
    expect(line.faults).toBeGreaterThan(6_000);
  },
  RUN_MS,
);

test(
  "every planted bug is caught",
  async () => {
    const { line, report } = await sim("--planted");
    if (line.planted !== line.caught) process.stderr.write(report);
    expect(line.planted).toBeGreaterThanOrEqual(24);
    expect(line.caught).toBe(line.planted);
  },
  RUN_MS,
);
