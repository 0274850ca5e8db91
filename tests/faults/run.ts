/**
 * One run: a cluster of real processes, people who talk, a schedule of faults; then everything heals,
 * everybody comes back, and when nothing moves any more the history and what is left are judged.
 */
import { SeededRandom } from "../../src/sim/seeded_random.ts";
import { ClientLog } from "./clients/client_log.ts";
import { Population } from "./clients/population.ts";
import { Traffic } from "./clients/traffic.ts";
import type { FaultOptions } from "./options.ts";
import { kindsFor } from "./schedule/fault_kinds.ts";
import { type DoneFault, Injector } from "./schedule/injector.ts";
import { type PlannedFault, plan } from "./schedule/schedule.ts";
import { Stage } from "./stage/stage.ts";
import { lookAtRest } from "./verdict/at_rest.ts";
import { reportOn } from "./verdict/processes.ts";
import { Starvation } from "./verdict/starvation.ts";
import { judge, type Verdict } from "./verdict/verdict.ts";

export interface RunResult {
  readonly verdict: Verdict;
  readonly faults: readonly DoneFault[];
  readonly schedule: readonly PlannedFault[];
  readonly log: ClientLog;
  /** Of the logs, which stay when it failed. */
  readonly dir: string;
}

const PAIRED_SHARE = 0.5;
const ONLINE_MS = 60_000;
const MEASURE_MS = 2_000;
/** After the last fault people go on talking for so long. */
const AFTERGLOW_MS = 2_000;
/** Undecided sends give up by then, and what is stored has been tried again. */
const REST_MS = 90_000;
const REST_POLL_MS = 250;

const PLANTED = 5;
const PLANT_MS = 30_000;

const now = () => performance.timeOrigin + performance.now();

export async function run(options: FaultOptions, tell: (text: string) => void): Promise<RunResult> {
  const { backend, faults, seconds, seed } = options;
  const known = kindsFor(backend);
  const { kinds: names } = options;
  const named = known.filter((kind) => names.some((name) => kind.includes(name)));
  const kinds = names.length === 0 ? known : named;
  const { stopMaxMs } = options;
  const schedule = plan({ seed, seconds, faults, kinds, stopMaxMs, pairedShare: PAIRED_SHARE });
  const stage = await Stage.start({ backend, now });
  const abort = () => stage.abort();
  process.once("exit", abort);
  const random = new SeededRandom(seed ^ 0x5eed);
  const log = new ClientLog(now);
  const { gateways } = stage;
  const population = new Population({ log, random, users: options.users, gateways });
  // A few that count as accepted now are refused later.
  const messages = Math.ceil(options.messages * 1.005) + 20;
  const traffic = new Traffic({ log, random, population, gateways, messages, seconds });
  tell(`${stage.processes.length} processes, ${population.devices.length} devices, ${backend}`);
  let failed = true;
  try {
    if (!(await population.untilOnline(ONLINE_MS))) throw new Error("not everybody came online");
    await traffic.createGroups();
    const injector = new Injector({ stage, population, traffic, log });
    const measuring = setInterval(() => measure(stage), MEASURE_MS);
    measure(stage);
    traffic.start();
    population.startChurn();
    const planted = options.plant ? plant(stage, log) : null;
    await Promise.all([injector.run(schedule), Bun.sleep(seconds * 1_000)]);
    const starvation = new Starvation();
    const lastFaultAt = await heal(stage, population, traffic, messages, log);
    await planted;
    tell(`all faults are over; waiting for rest`);
    const left = await untilRest(stage, population, traffic);
    clearInterval(measuring);
    measure(stage);
    const { done } = injector;
    const processes = reportOn(stage.processes, population.devices.length);
    const evidence = {
      ...{ log, faults: done, lastFaultAt, left, processes, wanted: options.messages },
      starvedMs: starvation.stop(),
    };
    const verdict = judge(evidence);
    failed = verdict.violations.length > 0;
    return { verdict, faults: done, schedule, log, dir: stage.dir };
  } finally {
    traffic.stop();
    population.stop();
    await stage.stop(failed || options.keepLogs);
    process.off("exit", abort);
  }
}

/** Everything works again and everybody is back; resolves with the time at which that was so. */
async function heal(
  stage: Stage,
  population: Population,
  traffic: Traffic,
  messages: number,
  log: ClientLog,
): Promise<number> {
  await Promise.all(stage.processes.map((process) => process.ready()));
  const lastFaultAt = now();
  log.note("the last fault is over");
  population.stopChurn();
  for (const device of population.devices) device.comeBack();
  await Bun.sleep(AFTERGLOW_MS);
  // What the faults kept from being said is said now.
  const until = performance.now() + REST_MS;
  while (log.accepted < messages && performance.now() < until) await Bun.sleep(50);
  traffic.stop();
  return lastFaultAt;
}

/** What is left when nothing moves any more, or when it has had its time. */
async function untilRest(
  stage: Stage,
  population: Population,
  traffic: Traffic,
): Promise<string[]> {
  const until = performance.now() + REST_MS;
  for (;;) {
    const open = population.undecided() + traffic.open;
    const undecided = open > 0 ? [`${open} sends are undecided`] : [];
    const left = [...undecided, ...(await lookAtRest(stage, population.devices))];
    if (left.length === 0 || performance.now() > until) return left;
    await Bun.sleep(REST_POLL_MS);
  }
}

function measure(stage: Stage): void {
  for (const process of stage.processes) process.measure();
}

/** Messages of people who are away are deleted behind everybody's back. */
async function plant(stage: Stage, log: ClientLog): Promise<void> {
  const until = performance.now() + PLANT_MS;
  for (let stolen = 0; stolen < PLANTED && performance.now() < until; ) {
    const row = await stage.database.steal().catch(() => null);
    if (row !== null) {
      stolen++;
      log.note(`planted: ${row.msg_id} of ${row.user_id} was deleted from the store`);
    }
    await Bun.sleep(50);
  }
}
