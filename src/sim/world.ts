/**
 * One simulated run: a cluster, its users, and what goes wrong, all from one seed. It boots, lives
 * through its faults, recovers, comes to rest, and is then judged.
 */
import { LIMITS } from "../core/limits.ts";
import type { Telemetry } from "../core/telemetry/telemetry.ts";
import type { Role } from "../core/topology.ts";
import { checkHistory, type Verdict, type Violation } from "./checker.ts";
import { Cluster } from "./cluster.ts";
import { Device, type DeviceWorld, POLITE } from "./device.ts";
import { Faults } from "./faults.ts";
import { History } from "./history.ts";
import type { Host } from "./host.ts";
import { lookAtRest } from "./rest.ts";
import { Scheduler } from "./scheduler.ts";
import type { Seams } from "./seams.ts";
import { SeededRandom } from "./seeded_random.ts";
import { Workload } from "./workload.ts";

export interface WorldOptions {
  readonly seed: number;
  readonly seams?: Seams;
  /** False: Redis keeps its data. */
  readonly dataLoss?: boolean;
  /** Faults beside those that a world has. */
  readonly moreFaults?: number;
  readonly telemetry: (host: Host) => Telemetry;
}

export interface WorldResult {
  readonly seed: number;
  readonly messages: number;
  readonly faults: number;
  readonly events: number;
  readonly verdict: Verdict;
  readonly digest: string;
  readonly history: History;
  readonly start: number;
}

const USERS = ["ada", "bob", "cyn", "dan", "eve", "fay", "gus", "hal"];
const FIRST_DEVICE = "d1";
const MESSAGES = 40;
const FAULTS = 6;
const BOOT_MS = 1_500;
const CONNECTED_MS = 3_000;
const BUSY_MS = 18_000;
/** Part of the worlds in which nothing but Redis' data is lost. */
const ALONE = 0.08;
/** Every fault is over by then, however long it lasts. */
const FAULTS_END_MS = 11_000;
/** After the last fault and the return of everybody, what may not be disturbed by faults. */
const CALM_MS = 3_000;
const REST_STEP_MS = 5_000;
const REST_MAX_MS = 180_000;
/** An hour's slice of the dedup window may end within a run. */
const HOUR_MS = 3_600_000;
const EPOCH = 472_222 * HOUR_MS;

export function runWorld(options: WorldOptions): WorldResult {
  const { dataLoss = true, moreFaults = 0, seams = {}, seed, telemetry } = options;
  const random = new SeededRandom(seed * 2_654_435_761 + 1);
  const start = EPOCH + Math.floor(random.fraction() * HOUR_MS);
  const scheduler = new Scheduler(start);
  const history = new History(() => scheduler.now());
  const users = USERS.slice(0, random.int(5, USERS.length));
  const cluster = new Cluster({ scheduler, random: random.fork(), seams, users, telemetry });
  const devices = createDevices(cluster, scheduler, history, random, seams);
  const base = { scheduler, history, cluster, devices, users };
  const workload = new Workload({ ...base, random: random.fork() });
  const onTrouble = () => workload.rush();
  const alone = random.chance(ALONE) && dataLoss;
  const faults = new Faults({ ...base, random: random.fork(), alone, dataLoss, onTrouble });
  const bugs: Violation[] = [];
  let rest: string[] = [];
  try {
    live(base, random, workload, faults, { start, moreFaults });
    rest = comeToRest(base);
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    bugs.push({ rule: "no role throws", text, about: {} });
  }
  const verdict = checkHistory(history.events, { lastFaultAt: Math.max(faults.lastEnd, start) });
  verdict.violations.push(...bugs);
  for (const text of rest)
    verdict.violations.push({ rule: "at rest nothing is left", text, about: {} });
  return {
    ...{ seed, start, history, verdict, messages: workload.operations, faults: faults.count },
    ...{ events: scheduler.events, digest: history.digest() },
  };
}

interface Base {
  readonly scheduler: Scheduler;
  readonly cluster: Cluster;
  readonly devices: readonly Device[];
}

function live(
  { cluster, devices, scheduler }: Base,
  random: SeededRandom,
  workload: Workload,
  faults: Faults,
  { moreFaults, start }: { readonly start: number; readonly moreFaults: number },
): void {
  workload.createGroups();
  const logics = random.int(2, 3);
  const pushes = random.int(2, 3);
  const roles: Exclude<Role, "offline">[] = ["access", "access", "gateway", "gateway"];
  for (let i = 0; i < logics; i++) roles.push("logic");
  for (let i = 0; i < pushes; i++) roles.push("push");
  for (const role of random.shuffled(roles)) {
    scheduler.at(start + random.between(0, BOOT_MS), () => void cluster.start(role));
  }
  for (const device of devices) {
    if (random.chance(0.15)) continue;
    scheduler.at(start + random.between(BOOT_MS, CONNECTED_MS), () => device.goOnline());
  }
  const busyUntil = start + CONNECTED_MS + BUSY_MS;
  workload.plan(start + CONNECTED_MS, busyUntil, MESSAGES);
  faults.plan(start + CONNECTED_MS, busyUntil, random.int(1, FAULTS + 2) + moreFaults);
  scheduler.runUntil(busyUntil);
  faults.finish();
  scheduler.at(busyUntil + FAULTS_END_MS, () => {
    for (const device of devices) restore(device, random);
  });
  scheduler.at(busyUntil + FAULTS_END_MS + CALM_MS, () => workload.evict());
  scheduler.runUntil(busyUntil + FAULTS_END_MS);
}

/** Whoever stayed away comes back, politely; only of several devices one may stay away for good. */
function restore(device: Device, random: SeededRandom): void {
  device.habits = { ...POLITE };
  if (device.wire !== null) device.wire.readMs = 0;
  if (device.id !== FIRST_DEVICE && random.chance(0.4)) device.goAway();
  else device.goOnline();
}

/** Returns what is left when nothing changes any more. */
function comeToRest({ cluster, devices, scheduler }: Base): string[] {
  const end = scheduler.now() + REST_MAX_MS;
  scheduler.runUntil(scheduler.now() + 2 * LIMITS.ACK_TIMEOUT_MS + 1_000);
  for (;;) {
    const left = lookAtRest(cluster, devices, scheduler.now());
    if (left.length === 0 || scheduler.now() >= end) return left;
    scheduler.runUntil(scheduler.now() + REST_STEP_MS);
  }
}

function createDevices(
  cluster: Cluster,
  scheduler: Scheduler,
  history: History,
  random: SeededRandom,
  seams: Seams,
): Device[] {
  let connections = 0;
  const devices: Device[] = [];
  /** What leaked is not leaked on, or two devices would hand it to each other for ever. */
  const leaked = new Set<string>();
  const world: DeviceWorld = {
    scheduler,
    history,
    gateways: () => cluster.of("gateway").filter(({ draining }) => !draining),
    nextConnection: () => ++connections,
    droppedSend: seams.droppedSend ?? 0,
    freshClientIds: seams.freshClientIds ?? false,
    ...(seams.leak ? { onText: (from, text) => leak(devices, leaked, from, text) } : {}),
  };
  for (const user of cluster.users) {
    const count = random.chance(0.25) ? 2 : 1;
    for (let i = 1; i <= count; i++)
      devices.push(new Device(user, i === 1 ? FIRST_DEVICE : `d${i}`, world, random.fork()));
  }
  return devices;
}

function leak(devices: readonly Device[], leaked: Set<string>, from: Device, text: string): void {
  if (!text.includes('"type":"message"') || leaked.has(text)) return;
  leaked.add(text);
  const other = devices.find((device) => device.user !== from.user && device.online);
  other?.overhear(text);
}
