/** What Redis spends while something goes on, by its own account. */
import type { Redis } from "ioredis";

export interface Load {
  /** Processor seconds per second. */
  readonly cpu: number;
  /** The same in the busiest second. */
  readonly cpuPeak: number;
  /** Commands per second, those inside scripts included. */
  readonly commands: number;
}

interface Reading {
  readonly at: number;
  readonly cpu: number;
  readonly commands: number;
}

const SAMPLE_MS = 1_000;

export class RedisLoad {
  constructor(private readonly redis: Redis) {}

  async during(work: () => Promise<unknown>): Promise<Load> {
    const readings = [await this.read()];
    const sampling = setInterval(() => {
      void this.read().then((reading) => readings.push(reading));
    }, SAMPLE_MS);
    await work();
    clearInterval(sampling);
    readings.push(await this.read());
    const [first, last] = [readings[0] as Reading, readings.at(-1) as Reading];
    const seconds = (last.at - first.at) / 1_000;
    return {
      cpu: (last.cpu - first.cpu) / seconds,
      cpuPeak: Math.max(...readings.slice(1).map((r, i) => rate(readings[i] as Reading, r))),
      commands: (last.commands - first.commands) / seconds,
    };
  }

  private async read(): Promise<Reading> {
    const info = await this.redis.info("everything");
    const figure = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1]);
    const calls = [...info.matchAll(/^cmdstat_[^:]+:calls=(\d+)/gm)];
    return {
      at: performance.now(),
      cpu: figure("used_cpu_sys") + figure("used_cpu_user"),
      commands: calls.reduce((sum, [, count]) => sum + Number(count), 0),
    };
  }
}

/** Of a piece too short to say anything: nothing. */
function rate(before: Reading, after: Reading): number {
  const ms = after.at - before.at;
  return ms < SAMPLE_MS / 2 ? 0 : ((after.cpu - before.cpu) * 1_000) / ms;
}
