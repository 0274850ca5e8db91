/** Everything that a run has to say, from the history and from what was seen outside of it. */
import { checkHistory, type Violation } from "../../../src/sim/checker.ts";
import type { HistoryEvent } from "../../../src/sim/history.ts";
import { percentile } from "../../integration/process_chat.ts";
import type { ClientLog } from "../clients/client_log.ts";
import type { DoneFault } from "../schedule/injector.ts";
import type { ProcessReport } from "./processes.ts";
import { recoveryOf } from "./recovery.ts";

export interface Evidence {
  readonly log: ClientLog;
  readonly faults: readonly DoneFault[];
  readonly lastFaultAt: number;
  /** What was left at rest. */
  readonly left: readonly string[];
  readonly processes: ProcessReport;
  /** After the last fault, this process waited so long for a processor. */
  readonly starvedMs: number;
  /** Accepted messages that the run was to have. */
  readonly wanted: number;
}

/** The figures of the last line; the names of the first seven are a contract. */
export interface Figures {
  readonly acked: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly leaked: number;
  readonly faults: number;
  readonly recovery_p99_ms: number;
  readonly kinds: number;
  readonly pairs: number;
  readonly violations: number;
  readonly refused: number;
  readonly unknown: number;
  readonly delivered: number;
  readonly frames: number;
  readonly raw_duplicate_ratio: number;
  readonly kills: number;
  /** Of each kill that was measured: who, and the longest that it was felt. */
  readonly kill_max_ms: readonly string[];
  readonly redelivered: number;
  readonly redelivery_p50_ms: number;
  readonly redelivery_p99_ms: number;
  readonly redelivery_max_ms: number;
  readonly restarts: number;
  readonly starved_ms: number;
  readonly rss_mib_max: number;
  readonly descriptors_max: number;
}

export interface Verdict {
  readonly figures: Figures;
  readonly violations: readonly Violation[];
}

/** Promise G6, on a machine that lets everybody run. */
const RECOVERY_MS = 10_000;
const LOST = /^what was accepted reaches/;
const DUPLICATED = /^a message is delivered once|^a number is never used twice|^the SDK hands/;
const REORDERED = /^every device sees a conversation in order/;
const LEAKED = /^nothing reaches who|^the sender is who|^nothing arrives that was not sent/;

export function judge(evidence: Evidence): Verdict {
  const { faults, lastFaultAt, log, processes, starvedMs, wanted } = evidence;
  const { events } = log.history;
  const checked = checkHistory(events, { lastFaultAt, recoveryMs: RECOVERY_MS + starvedMs });
  const more: Violation[] = [
    ...outside("at rest nothing is left", evidence.left),
    ...outside("processes stay within bounds and have no bugs", processes.problems),
    ...outside("the SDK hands a message over once", log.handedTwice),
    ...outside(
      "a fault is carried out and ends",
      faults.filter(({ error }) => error !== "").map(({ error, kind }) => `${kind}: ${error}`),
    ),
    ...outside(
      "the run has the messages that it was to have",
      checked.accepted < wanted ? [`${checked.accepted} were accepted, ${wanted} wanted`] : [],
    ),
  ];
  const violations = [...checked.violations, ...more];
  const count = (pattern: RegExp) => violations.filter(({ rule }) => pattern.test(rule)).length;
  const { kills, recoveryMs, redeliveryMs } = recoveryOf(events, faults);
  const figures: Figures = {
    acked: checked.accepted,
    lost: count(LOST),
    duplicated: count(DUPLICATED),
    reordered: count(REORDERED),
    leaked: count(LEAKED),
    faults: faults.length,
    recovery_p99_ms: Math.round(percentile(recoveryMs, 0.99)),
    kinds: new Set(faults.map(({ kind }) => kind)).size,
    pairs: overlapping(faults),
    violations: violations.length,
    ...{ refused: checked.refused, unknown: checked.unknown, delivered: checked.delivered },
    frames: checked.frames,
    raw_duplicate_ratio: Number((checked.duplicates / Math.max(1, checked.frames)).toFixed(5)),
    kills: kills.length,
    kill_max_ms: kills.map(({ maxMs, op, target }) => `${target} ${maxMs} ${op}`),
    redelivered: redeliveryMs.length,
    redelivery_p50_ms: Math.round(percentile(redeliveryMs, 0.5)),
    redelivery_p99_ms: Math.round(percentile(redeliveryMs, 0.99)),
    redelivery_max_ms: Math.round(percentile(redeliveryMs, 1)),
    restarts: processes.restarts,
    starved_ms: starvedMs,
    rss_mib_max: processes.rssMibMax,
    descriptors_max: processes.descriptorsMax,
  };
  return { figures, violations };
}

/** Pairs of faults that were under way at the same time. */
export function overlapping(faults: readonly DoneFault[]): number {
  let pairs = 0;
  for (const [i, a] of faults.entries()) {
    for (const b of faults.slice(i + 1)) {
      if (a.startedAt < b.endedAt && b.startedAt < a.endedAt) pairs++;
    }
  }
  return pairs;
}

function outside(rule: string, texts: readonly string[]): Violation[] {
  return texts.map((text) => ({ rule, text, about: {} }));
}

/** The part of the history that a violation is about. */
export function around(events: readonly HistoryEvent[], { about }: Violation): HistoryEvent[] {
  const { op, user, conversation } = about;
  if (op === undefined && user === undefined && conversation === undefined) return [];
  const own = events.filter((event) => op !== undefined && "op" in event && event.op === op);
  const from = (own[0]?.at ?? events[0]?.at ?? 0) - 1_000;
  const to = (own.at(-1)?.at ?? events.at(-1)?.at ?? 0) + 12_000;
  return events.filter((event) => {
    if (own.includes(event)) return true;
    if (event.at < from || event.at > to) return false;
    if (event.kind === "note") return true;
    return event.kind === "session" && event.user === user;
  });
}
