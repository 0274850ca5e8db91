/**
 * A reconnect storm: every gateway is killed in the same moment, and all clients come back at once,
 * while they go on talking. How long it takes, and what it costs Redis beside its steady load.
 */
import { checkHistory, type Violation } from "../../../src/sim/checker.ts";
import { SeededRandom } from "../../../src/sim/seeded_random.ts";
import { percentile } from "../../integration/process_chat.ts";
import { ClientLog } from "../clients/client_log.ts";
import type { FaultOptions } from "../options.ts";
import { Stage } from "../stage/stage.ts";
import { lookAtRest } from "../verdict/at_rest.ts";
import { reportOn } from "../verdict/processes.ts";
import { type Load, RedisLoad } from "./redis_load.ts";
import { StormPopulation } from "./storm_population.ts";

export interface StormFigures {
  readonly clients: number;
  readonly all_back_ms: number;
  readonly back_p50_ms: number;
  readonly back_p99_ms: number;
  readonly acked: number;
  readonly lost: number;
  readonly violations: number;
  readonly raw_duplicate_ratio: number;
  /** Processor seconds of Redis per second, and commands. */
  readonly redis_cpu_steady: number;
  readonly redis_cpu_storm: number;
  readonly redis_load_ratio: number;
  /** The busiest second of the storm beside the busiest one before it. */
  readonly redis_peak_ratio: number;
  readonly redis_commands_steady: number;
  readonly redis_commands_storm: number;
  readonly rss_mib_max: number;
}

export interface StormResult {
  readonly figures: StormFigures;
  readonly violations: readonly Violation[];
  readonly dir: string;
}

const JOIN_MS = 120_000;
const BACK_MS_MAX = 120_000;
const SETTLE_MS = 5_000;
const STEADY_MS = 15_000;
const REST_MS = 60_000;
/** Each client writes every ten seconds. */
const MESSAGES_PER_CLIENT_SECOND = 0.1;

const now = () => performance.timeOrigin + performance.now();

export async function storm(
  options: FaultOptions,
  tell: (text: string) => void,
): Promise<StormResult> {
  const { backend, seed, storm: clients } = options;
  const stage = await Stage.start({ backend, now, directClients: true });
  const abort = () => stage.abort();
  process.once("exit", abort);
  const log = new ClientLog(now);
  const messagesPerSecond = clients * MESSAGES_PER_CLIENT_SECOND;
  const { gateways } = stage;
  const random = new SeededRandom(seed);
  const population = new StormPopulation({ log, random, clients, gateways, messagesPerSecond });
  let failed = true;
  try {
    await population.join(JOIN_MS);
    tell(`${clients} clients are online; steady for ${STEADY_MS / 1_000} s`);
    population.startTalking();
    await Bun.sleep(SETTLE_MS);
    const load = new RedisLoad(stage.redis.admin);
    const steady = await load.during(() => Bun.sleep(STEADY_MS));
    tell("every gateway is killed");
    const killedAt = now();
    const stormed = await load.during(() => killGateways(stage, population, tell));
    const backAt = now();
    tell(`all are back after ${Math.round(backAt - killedAt)} ms`);
    await Bun.sleep(SETTLE_MS);
    population.stopTalking();
    const left = await untilRest(stage, population);
    for (const process of stage.processes) process.measure();
    const { figures, violations } = judge({ log, stage, left, clients, killedAt, backAt });
    failed = violations.length > 0;
    return { figures: { ...figures, ...compare(steady, stormed) }, violations, dir: stage.dir };
  } finally {
    population.stop();
    await stage.stop(failed || options.keepLogs);
    process.off("exit", abort);
  }
}

async function killGateways(
  stage: Stage,
  population: StormPopulation,
  tell: (text: string) => void,
): Promise<void> {
  for (const gateway of stage.of("gateway")) gateway.signal("SIGKILL");
  // The sockets find out within moments; until then nobody counts as away.
  await Bun.sleep(500);
  if (!(await population.allOnline(BACK_MS_MAX))) tell(`${population.away()} are still away`);
}

interface Evidence {
  readonly log: ClientLog;
  readonly stage: Stage;
  readonly left: readonly string[];
  readonly clients: number;
  readonly killedAt: number;
  readonly backAt: number;
}

function judge({ backAt, clients, killedAt, left, log, stage }: Evidence) {
  const processes = reportOn(stage.processes, clients);
  const { events } = log.history;
  const checked = checkHistory(events, { lastFaultAt: backAt });
  const violations: Violation[] = [
    ...checked.violations,
    ...[...left, ...processes.problems].map((text) => ({ rule: "at rest", text, about: {} })),
  ];
  const back = events
    .filter((e) => e.kind === "session" && e.state === "welcome" && e.at > killedAt)
    .map(({ at }) => at - killedAt);
  const figures = {
    clients,
    all_back_ms: Math.round(backAt - killedAt),
    back_p50_ms: Math.round(percentile(back, 0.5)),
    back_p99_ms: Math.round(percentile(back, 0.99)),
    acked: checked.accepted,
    lost: checked.violations.filter(({ rule }) => rule.startsWith("what was accepted")).length,
    violations: violations.length,
    raw_duplicate_ratio: Number((checked.duplicates / Math.max(1, checked.frames)).toFixed(5)),
    rss_mib_max: processes.rssMibMax,
  };
  return { figures, violations };
}

function compare(steady: Load, stormed: Load) {
  return {
    redis_cpu_steady: Number(steady.cpu.toFixed(4)),
    redis_cpu_storm: Number(stormed.cpu.toFixed(4)),
    redis_load_ratio: Number((stormed.cpu / steady.cpu).toFixed(2)),
    redis_peak_ratio: Number((stormed.cpuPeak / steady.cpuPeak).toFixed(2)),
    redis_commands_steady: Math.round(steady.commands),
    redis_commands_storm: Math.round(stormed.commands),
  };
}

async function untilRest(stage: Stage, population: StormPopulation): Promise<string[]> {
  const until = performance.now() + REST_MS;
  for (;;) {
    const open = population.undecided();
    const undecided = open > 0 ? [`${open} sends are undecided`] : [];
    const left = [...undecided, ...(await lookAtRest(stage, population.devices))];
    if (left.length === 0 || performance.now() > until) return left;
    await Bun.sleep(500);
  }
}
