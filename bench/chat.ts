/** Chat and latency: pairs of users, CPU per delivered message beside the bare relay's. */

import { Alternation, cpuUs, perSecond } from "./alternation.ts";
import type { ChatJob } from "./job.ts";
import type { Options } from "./options.ts";
import { present } from "./present.ts";
import {
  callsPerMessage,
  commandsPerMessage,
  entriesPerMessage,
  memoryGrowth,
  memoryPerMessage,
} from "./redis_figures.ts";
import type { Report } from "./report.ts";
import type { Run } from "./run.ts";
import { startFloor } from "./targets/floor.ts";
import { startOurs } from "./targets/ours.ts";
import { JWT_SECRET, type Target } from "./targets/target.ts";

const BODY_BYTES = 100;
const ACK_MS = 20;
const USERS = 200;
const WARMUP_MESSAGES = 150_000;
const LATENCY_RATE = 1_000;

export function chatJob(options: Options, target: Target): ChatJob {
  return {
    kind: "chat",
    dialect: target.dialect,
    wsPorts: target.wsPorts,
    path: target.path,
    secret: JWT_SECRET,
    users: options.users || USERS,
    pids: [...target.pids.keys()],
    warmupS: options.warmup,
    seconds: options.seconds,
    inFlight: options.rate > 0 ? null : options.inFlight,
    rate: options.rate,
    warmupMessages: WARMUP_MESSAGES,
    messagesMin: options.messages,
    bodyBytes: BODY_BYTES,
    ackMs: ACK_MS,
  };
}

function alternate(options: Options, profileDir: string | null): Promise<Alternation> {
  return Alternation.run({
    options,
    profileDir,
    peers: options.peers,
    startFloor: () =>
      options.growth
        ? startOurs({ ...options, replicas: 1, profileDir: null })
        : startFloor("relay"),
    job: (target) => chatJob(options, target),
  });
}

export async function benchChat(options: Options, profileDir: string | null): Promise<Report> {
  const runs = await alternate(options, profileDir);
  const [ours, floor] = runs.medians(cpuUs);
  return {
    bench: options.growth ? "growth" : "chat",
    unit: "CPU per delivered message, µs",
    ours,
    floor,
    ratio: ours / floor,
    rows: [
      ...runs.cpuRows(),
      ...runs.peerRows("CPU per message, µs", cpuUs),
      ...runs.peerRows("messages a second", perSecond),
      ...chatRows(runs),
    ],
    details: details(options, runs),
  };
}

/** An open loop at a rate far below what the machine can do. */
export async function benchLatency(given: Options, profileDir: string | null): Promise<Report> {
  const options = { ...given, rate: given.rate || LATENCY_RATE };
  const runs = await alternate(options, profileDir);
  const [ours, floor] = runs.medians(({ load }) => load.delivery.p99Ms);
  const [p50, floorP50] = runs.medians(({ load }) => load.delivery.p50Ms);
  return {
    bench: "latency",
    unit: "delivery p99, ms",
    ours,
    floor,
    ratio: ours / floor,
    rows: [["ratio of p50", (p50 / floorP50).toFixed(2), ""], ...runs.cpuRows(), ...chatRows(runs)],
    details: { p50_ms: p50, p99_ms: ours, floor_p50_ms: floorP50, ...details(options, runs) },
  };
}

function chatRows(runs: Alternation) {
  return [
    runs.row("CPU per message, µs", cpuUs),
    runs.row("messages a second", perSecond),
    runs.row("delivery p50, ms", ({ load }) => load.delivery.p50Ms),
    runs.row("delivery p99, ms", ({ load }) => load.delivery.p99Ms),
    runs.row("delivery p99.9, ms", ({ load }) => load.delivery.p999Ms),
    runs.row("sent p50, ms", ({ load }) => load.answer?.p50Ms ?? Number.NaN),
    runs.row("sent p99, ms", ({ load }) => load.answer?.p99Ms ?? Number.NaN),
    runs.row("WebSocket messages down, per message", wire("received")),
    runs.row("acks up, per message", wire("acks")),
    runs.row("load generator, cores", ({ load }) => load.loadCpu),
    runs.row("Redis commands per message", commandsPerMessage),
    runs.row("stream entries per message", entriesPerMessage),
    runs.row("Redis memory after ÷ before", memoryGrowth),
    runs.row("Redis bytes kept per message", memoryPerMessage),
    runs.row("messages in all", ({ load }) => load.total),
    runs.row("rejected", ({ load }) => sum(Object.values(load.rejected))),
    runs.row("duplicates", ({ load }) => load.duplicates),
    runs.row("missing", ({ load }) => load.missing),
  ];
}

function wire(which: "received" | "acks") {
  return ({ load }: Run) => (load.wire === null ? Number.NaN : load.wire[which] / load.done);
}

function details(options: Options, runs: Alternation): Record<string, unknown> {
  const last = present(runs.ours.at(-1));
  return {
    processes: options.processes,
    replicas: options.replicas,
    users: options.users || USERS,
    in_flight: options.rate > 0 ? null : options.inFlight,
    rate: options.rate || null,
    durability: options.durability,
    rounds: options.rounds,
    cpu_us: runs.cpu(),
    ours_runs: runs.ours.map(cpuUs),
    floor_runs: runs.floor.map(cpuUs),
    peers: Object.fromEntries(runs.peerFigures(cpuUs)),
    rejected: last.load.rejected,
    redis_commands_per_message: runs.medians(commandsPerMessage)[0],
    redis_calls_per_message: callsPerMessage(last),
    entries_per_message: runs.medians(entriesPerMessage)[0],
    redis_memory_ratio: runs.medians(memoryGrowth)[0],
    redis_bytes_per_message: runs.medians(memoryPerMessage)[0],
    delivery_ms: last.load.delivery,
    sent_ms: last.load.answer,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
