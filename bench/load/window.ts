/** The measured window: CPU of the server's processes and of ourselves, at the same two instants. */
import { Histogram } from "../histogram.ts";
import type { LatencyFigures, LoadEvent, LoadResult } from "../job.ts";
import { costBetween, type ProcessCost, processTree } from "../processes.ts";

export function tell(event: LoadEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

export class MeasuredWindow {
  /** Microseconds; counts only what happens inside the window. */
  readonly delivery = new Histogram();
  readonly answer = new Histogram();
  open = false;
  received = 0;
  acks = 0;
  private startMs = 0;
  private endMs = 0;
  private before: ProcessCost[] = [];
  private after: ProcessCost[] = [];
  private ownBefore = process.cpuUsage();
  private own = 0;

  constructor(private readonly pids: readonly number[]) {}

  begin(): void {
    tell({ event: "begin" });
    this.before = processTree(this.pids);
    this.ownBefore = process.cpuUsage();
    this.startMs = performance.now();
    this.open = true;
  }

  end(): void {
    this.open = false;
    this.endMs = performance.now();
    this.after = processTree(this.pids);
    const { system, user } = process.cpuUsage(this.ownBefore);
    this.own = (system + user) / 1_000;
    tell({ event: "end" });
  }

  result(): Omit<LoadResult, "done" | "total" | "rejected" | "duplicates" | "missing"> {
    const windowMs = this.endMs - this.startMs;
    return {
      event: "result",
      windowMs,
      cpu: costBetween(this.before, this.after),
      loadCpu: this.own / windowMs,
      delivery: figures(this.delivery),
      answer: this.answer.count > 0 ? figures(this.answer) : null,
      wire: this.received > 0 ? { received: this.received, acks: this.acks } : null,
    };
  }
}

function figures(histogram: Histogram): LatencyFigures {
  const ms = (percent: number) => histogram.percentile(percent) / 1_000;
  return { p50Ms: ms(50), p99Ms: ms(99), p999Ms: ms(99.9), maxMs: histogram.max / 1_000 };
}
