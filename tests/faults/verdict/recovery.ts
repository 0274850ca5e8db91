/**
 * How long faults were felt by people who were there: online when it happened, and not gone by their
 * own doing until the message came.
 */
import type { HistoryEvent } from "../../../src/sim/history.ts";
import { outcomesOf } from "../../../src/sim/outcomes.ts";
import { isKill } from "../schedule/fault_kinds.ts";
import type { DoneFault } from "../schedule/injector.ts";

/** Slower than any message of an undisturbed chat on a busy machine. */
const SLOW_MS = 200;
/** Longer than anything that a fault may be felt. */
const LOOK_MS = 30_000;
/** Above an undisturbed delivery, with room. */
const MARGIN_MS = 1_000;

export interface Recovery {
  /** Of each message that a killed role held up: from the kill, or its acceptance, to its arrival. */
  readonly redeliveryMs: number[];
  /** Kills with nothing else going on, on which `redeliveryMs` rests, with the longest of each. */
  readonly kills: {
    readonly target: string;
    readonly maxMs: number;
    readonly op: string;
  }[];
  /** Of each fault: from its end to the arrival of the last message accepted before that. */
  readonly recoveryMs: number[];
}

interface Arrival {
  readonly op: string;
  readonly user: string;
  readonly acceptedAt: number;
  readonly at: number;
}

export function recoveryOf(
  events: readonly HistoryEvent[],
  faults: readonly DoneFault[],
): Recovery {
  const arrivals = arrivalsOf(events);
  const presence = new Presence(events);
  const redeliveryMs: number[] = [];
  const recoveryMs: number[] = [];
  const kills: { target: string; maxMs: number; op: string }[] = [];
  for (const fault of faults) {
    const others = faults.filter((other) => other !== fault);
    const from = isKill(fault.kind) ? fault.startedAt : fault.endedAt;
    const undisturbed = !others.some((o) => o.startedAt <= from && o.endedAt > from - 1_000);
    // What is accepted when the next fault is about to begin may be late because of that one.
    const until = nextStart(others, from) - MARGIN_MS;
    if (!undisturbed || until < from) continue;
    const felt = between(arrivals, from, from + LOOK_MS).filter(
      ({ acceptedAt, at, user }) => acceptedAt < until && presence.stays(user, from, at),
    );
    if (isKill(fault.kind)) {
      const late = felt.map(({ acceptedAt, at }) => at - Math.max(acceptedAt, from));
      const maxMs = Math.max(0, ...late);
      const op = felt[late.indexOf(maxMs)]?.op ?? "";
      kills.push({ target: fault.target, maxMs: Math.round(maxMs), op });
      redeliveryMs.push(...late.filter((ms) => ms > SLOW_MS));
    } else {
      const held = felt.filter(({ acceptedAt }) => acceptedAt < from);
      recoveryMs.push(Math.max(0, ...held.map(({ at }) => at - from)));
    }
  }
  return { redeliveryMs, kills, recoveryMs };
}

function nextStart(others: readonly DoneFault[], from: number): number {
  const later = others.map(({ startedAt }) => startedAt).filter((at) => at > from);
  return Math.min(from + LOOK_MS, ...later);
}

/** First arrivals, by when they came. */
function arrivalsOf(events: readonly HistoryEvent[]): Arrival[] {
  const outcomes = outcomesOf(events);
  const seen = new Set<string>();
  const arrivals: Arrival[] = [];
  for (const event of events) {
    if (event.kind !== "delivery") continue;
    const { at, op, user } = event;
    const key = `${op} ${user}`;
    const outcome = outcomes.get(op);
    if (seen.has(key) || outcome === undefined) continue;
    seen.add(key);
    if (outcome.acceptedAt > 0) arrivals.push({ op, user, acceptedAt: outcome.acceptedAt, at });
  }
  return arrivals;
}

function between(arrivals: readonly Arrival[], from: number, to: number): Arrival[] {
  let low = 0;
  let high = arrivals.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((arrivals[middle]?.at ?? 0) < from) low = middle + 1;
    else high = middle;
  }
  const found: Arrival[] = [];
  for (let i = low; i < arrivals.length; i++) {
    const arrival = arrivals[i];
    if (arrival === undefined || arrival.at > to) break;
    found.push(arrival);
  }
  return found;
}

/** Who was there when. */
class Presence {
  private readonly sessions = new Map<string, { at: number; open: number; left: boolean }[]>();

  constructor(events: readonly HistoryEvent[]) {
    const open = new Map<string, Set<string>>();
    for (const event of events) {
      if (event.kind !== "session") continue;
      const { at, code, connection, device, state, user } = event;
      const connections = open.get(user) ?? new Set();
      open.set(user, connections);
      const name = `${device} ${connection}`;
      if (state === "welcome") connections.add(name);
      else connections.delete(name);
      const list = this.sessions.get(user) ?? [];
      this.sessions.set(user, list);
      list.push({ at, open: connections.size, left: state === "closed" && code === 0 });
    }
  }

  /** Online at `from`, and no device of theirs left by itself until `to`. */
  stays(user: string, from: number, to: number): boolean {
    const list = this.sessions.get(user) ?? [];
    const before = list.findLast(({ at }) => at <= from);
    if (before === undefined || before.open === 0) return false;
    return !list.some(({ at, left }) => left && at > from && at <= to);
  }
}
