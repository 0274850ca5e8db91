/**
 * What a process says of itself: its build, memory, CPU time, files and how late its event loop is.
 * prom-client's defaults are not used: half of them are always zero under Bun.
 */
import { readdir, readFile } from "node:fs/promises";
import type { Clock } from "../clock.ts";
import { ROLE_LIST, VERSION_TEXT } from "./label_values.ts";
import type { MetricMaker } from "./metric_maker.ts";
import type { Metrics } from "./metrics.ts";

export interface ProcessFacts {
  readonly version: string;
  readonly roles: readonly string[];
  readonly clock: Clock;
}

/** A turn of the event loop that takes longer than this is seen as lag; ten timers a second. */
const LAG_EVERY_MS = 100;
const LAG = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Starts reporting; every series with known labels exists from now on. Once per process. */
export function startProcessMetrics(metrics: Metrics, facts: ProcessFacts): void {
  const { make } = metrics;
  make.section("The process");
  addBuild(make, facts);
  addMemory(make, metrics);
  addMachine(make, facts);
  watchEventLoop(make, facts.clock);
  // The histogram of Redis has an open label, and one value that every process has.
  metrics.redisLatency.zero({ operation: "turn" });
  make.zero();
}

function addBuild(make: MetricMaker, { roles, version }: ProcessFacts): void {
  const build = make.gauge("build_info", "1, with what runs", {
    version: VERSION_TEXT,
    bun: VERSION_TEXT,
    roles: ROLE_LIST,
  });
  build.set({ version, bun: Bun.version, roles: roles.join(",") }, 1);
}

function addMemory(make: MetricMaker, metrics: Metrics): void {
  make.gauge("process_resident_memory_bytes", "Resident memory of the process", {}, (gauge) => {
    gauge.set(process.memoryUsage.rss());
  });
  make.gauge("process_heap_used_bytes", "JavaScript heap in use", {}, (gauge) => {
    gauge.set(process.memoryUsage().heapUsed);
  });
  make.gauge(
    "memory_per_connection_bytes",
    "Resident memory of a gateway process divided by its connections; absent without any",
    {},
    async (gauge) => {
      const connections = (await metrics.connections.get()).values[0]?.value ?? 0;
      if (connections > 0) gauge.set(process.memoryUsage.rss() / connections);
      else gauge.remove();
    },
  );
}

function addMachine(make: MetricMaker, { clock }: ProcessFacts): void {
  const startedAt = clock.now() / 1_000;
  make.gauge("process_start_time_seconds", "When the process started, unix time", {}, (gauge) => {
    gauge.set(startedAt);
  });
  const cpu = make.counter("process_cpu_seconds_total", "CPU time of the process");
  let counted = 0;
  make.gauge(
    "process_open_fds",
    "Open file descriptors; 0 where /proc is not",
    {},
    async (gauge) => {
      // Here, because a counter of prom-client cannot be asked to add what it lacks.
      const { system, user } = process.cpuUsage();
      const used = (user + system) / 1e6;
      cpu.inc(Math.max(0, used - counted));
      counted = used;
      gauge.set(await openFiles());
    },
  );
  make.gauge("process_max_fds", "Most file descriptors the process may open", {}, async (gauge) => {
    gauge.set(await maxFiles());
  });
}

async function openFiles(): Promise<number> {
  return (await readdir("/proc/self/fd").catch(() => [])).length;
}

async function maxFiles(): Promise<number> {
  const limits = await readFile("/proc/self/limits", "utf8").catch(() => "");
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? 0);
}

function watchEventLoop(make: MetricMaker, clock: Clock): void {
  const lag = make.hotHistogram(
    "event_loop_lag_seconds",
    "How late a timer of 100 ms fires: what everything else of the process waits for, too",
    LAG,
  );
  let last = clock.monotonic();
  clock.every(LAG_EVERY_MS, () => {
    const now = clock.monotonic();
    lag.observe(Math.max(0, now - last - LAG_EVERY_MS) / 1_000);
    last = now;
  });
}
