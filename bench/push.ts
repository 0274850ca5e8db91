/** Push: one recipient per request, counted when it has arrived, beside a bare POST. */
import { Alternation, cpuUs, perSecond } from "./alternation.ts";
import type { PushJob } from "./job.ts";
import type { Options } from "./options.ts";
import { commandsPerMessage, entriesPerMessage, memoryPerMessage } from "./redis_figures.ts";
import type { Report } from "./report.ts";
import { startFloor } from "./targets/floor.ts";
import { API_KEY, JWT_SECRET, type Target } from "./targets/target.ts";

const USERS = 200;
const REQUESTS_AT_ONCE = 64;

export async function benchPush(options: Options, profileDir: string | null): Promise<Report> {
  const job = (target: Target, ours: boolean): PushJob => ({
    kind: "push",
    wsPorts: target.wsPorts,
    path: target.path,
    secret: JWT_SECRET,
    users: options.users || USERS,
    pids: [...target.pids.keys()],
    warmupS: options.warmup,
    seconds: options.seconds,
    httpPorts: options.viaGateway && ours ? target.wsPorts : target.httpPorts,
    apiKey: API_KEY,
    inFlight: Math.max(options.inFlight, REQUESTS_AT_ONCE),
    delivers: ours,
  });
  const start = () => startFloor("post");
  const runs = await Alternation.run({ options, profileDir, startFloor: start, job });
  const [ours, floor] = runs.medians(perSecond);
  return {
    bench: "push",
    unit: "requests a second, delivered",
    ours,
    floor,
    ratio: ours / floor,
    rows: [
      runs.row("CPU per request, µs", cpuUs),
      ...runs.cpuRows(),
      runs.row("answer p50, ms", ({ load }) => load.answer?.p50Ms ?? Number.NaN),
      runs.row("answer p99, ms", ({ load }) => load.answer?.p99Ms ?? Number.NaN),
      runs.row("load generator, cores", ({ load }) => load.loadCpu),
      runs.row("Redis commands per push", commandsPerMessage),
      runs.row("stream entries per push", entriesPerMessage),
      runs.row("Redis bytes kept per push", memoryPerMessage),
      runs.row("duplicates", ({ load }) => load.duplicates),
      runs.row("missing", ({ load }) => load.missing),
    ],
    details: {
      via: options.viaGateway ? "gateway" : "logic",
      cpu_us: runs.cpu(),
      cpu_us_per_request: runs.medians(cpuUs),
      redis_commands_per_push: runs.medians(commandsPerMessage)[0],
    },
  };
}
