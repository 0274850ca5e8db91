/** Runs seeds in several processes at once: worlds share nothing, so they may run anywhere. */
import { type SimLine, sumLines } from "./sim_line.ts";

/** Rejects when a process ends without its line. */
export async function runInJobs(
  program: string,
  from: number,
  seeds: number,
  jobs: number,
): Promise<SimLine> {
  const share = Math.ceil(seeds / jobs);
  const shares = Array.from({ length: jobs }, (_, i) => ({
    from: from + i * share,
    seeds: Math.min(share, seeds - i * share),
  })).filter((each) => each.seeds > 0);
  return sumLines(
    await Promise.all(
      shares.map(async (each) => {
        const args = ["--from", `${each.from}`, "--seeds", `${each.seeds}`, "--json"];
        const child = Bun.spawn([process.execPath, program, ...args], {
          stdout: "pipe",
          stderr: "inherit",
        });
        const output = (await new Response(child.stdout).text()).trim();
        const line = output.split("\n").at(-1) ?? "";
        if (!line.startsWith("{")) throw new Error(`seeds from ${each.from} gave no figures`);
        return JSON.parse(line) as SimLine;
      }),
    ),
  );
}
