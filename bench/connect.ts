/** Connect and idle: sockets that are opened with a token, registered, welcomed, and then silent. */
import { Alternation, cpuUs, perSecond } from "./alternation.ts";
import type { ConnectJob } from "./job.ts";
import type { Options } from "./options.ts";
import type { Report } from "./report.ts";
import type { Run } from "./run.ts";
import { startFloor } from "./targets/floor.ts";
import { JWT_SECRET, type Target } from "./targets/target.ts";

/** As many as one process may hold. */
const USERS = 18_000;
const CONNECT_HOLD_S = 1;

function alternate(options: Options, profileDir: string | null, holdS: number) {
  const job = (target: Target, ours: boolean): ConnectJob => ({
    kind: "connect",
    wsPorts: target.wsPorts,
    path: target.path,
    secret: JWT_SECRET,
    users: options.users || USERS,
    pids: [...target.pids.keys()],
    warmupS: 0,
    seconds: 0,
    inFlight: options.inFlight,
    welcomes: ours,
    holdS,
  });
  return Alternation.run({ options, profileDir, startFloor: () => startFloor("accept"), job });
}

export async function benchConnect(given: Options, profileDir: string | null): Promise<Report> {
  const options = { ...given, inFlight: Math.max(given.inFlight, 200) };
  const runs = await alternate(options, profileDir, CONNECT_HOLD_S);
  const [ours, floor] = runs.medians(perSecond);
  return {
    bench: "connect",
    unit: "connections a second",
    ours,
    floor,
    ratio: ours / floor,
    rows: [...connectRows(runs), ...memoryRows(runs)],
    details: { users: options.users || USERS, cpu_us: runs.cpu(), ...memoryDetails(runs) },
  };
}

export async function benchIdle(given: Options, profileDir: string | null): Promise<Report> {
  const options = { ...given, inFlight: Math.max(given.inFlight, 200) };
  const runs = await alternate(options, profileDir, options.seconds);
  const [ours, floor] = runs.medians(residentPerConnection);
  return {
    bench: "idle",
    unit: "resident bytes per connection",
    ours,
    floor,
    ratio: ours / floor,
    rows: [...memoryRows(runs), ...connectRows(runs)],
    details: { users: options.users || USERS, ...memoryDetails(runs) },
  };
}

/** All our processes and Redis: what they grew by from the start until the silence. */
function residentPerConnection({ load, residentBefore, residentEnd }: Run): number {
  return (residentEnd - residentBefore) / load.total;
}

/** What a further one adds, when the code of the first ones is compiled. */
function residentPerFurther({ load, residentBegin, residentEnd }: Run): number {
  return (residentEnd - residentBegin) / load.done;
}

function redisPerConnection({ load, redis }: Run): number {
  if (redis === null) return Number.NaN;
  return (redis.end.memoryBytes - redis.idle.memoryBytes) / load.total;
}

function connectRows(runs: Alternation) {
  return [
    runs.row("CPU per connection, µs", cpuUs),
    ...runs.cpuRows(),
    runs.row("connections a second", perSecond),
    runs.row("welcome p50, ms", ({ load }) => load.delivery.p50Ms),
    runs.row("welcome p99, ms", ({ load }) => load.delivery.p99Ms),
    runs.row("load generator, cores", ({ load }) => load.loadCpu),
  ];
}

function memoryRows(runs: Alternation) {
  return [
    runs.row("resident before, MB", ({ residentBefore }) => residentBefore / 1e6),
    runs.row("resident at the end, MB", ({ residentEnd }) => residentEnd / 1e6),
    runs.row("resident bytes per connection", residentPerConnection),
    runs.row("resident bytes per further connection", residentPerFurther),
    runs.row("Redis bytes per session", redisPerConnection),
  ];
}

function memoryDetails(runs: Alternation) {
  return {
    resident_per_connection: runs.medians(residentPerConnection),
    resident_per_further: runs.medians(residentPerFurther),
    redis_bytes_per_session: runs.medians(redisPerConnection)[0],
    connections_per_second: runs.medians(perSecond),
  };
}
