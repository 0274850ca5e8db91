/**
 * Judges a history: what clients observed, and nothing else. One checker for simulated and for real
 * runs. Each rule is a promise of docs/RELIABILITY.md; a violation names the rule, says what
 * happened, and what it is about, so that the part of the history around it can be shown.
 */
import { CLOSE_CODES } from "../core/protocol/errors.ts";
import { Entitlement } from "./entitlement.ts";
import type { Delivery, HistoryEvent } from "./history.ts";
import { Losses } from "./losses.ts";
import { type Outcome, outcomesOf } from "./outcomes.ts";

export interface Violation {
  readonly rule: string;
  readonly text: string;
  readonly about: {
    readonly op?: string;
    readonly user?: string;
    readonly conversation?: string;
  };
}

export interface Verdict {
  readonly violations: Violation[];
  readonly accepted: number;
  readonly refused: number;
  readonly unknown: number;
  /** Deliveries that were due and came. */
  readonly delivered: number;
  /** Message frames that devices had got before. */
  readonly duplicates: number;
  /** All message frames. */
  readonly frames: number;
  /** Of all message frames the part that devices had got before. */
  readonly duplicateRatio: number;
  /** Deliveries of accepted messages that were lost with Redis' data. */
  readonly lostWithRedis: number;
}

export interface CheckOptions {
  /** When the last fault was over, by the clock of the history. */
  readonly lastFaultAt: number;
  /** Within so long after it everything accepted must have arrived. */
  readonly recoveryMs?: number;
  /** How long after its expiry a message may still arrive: clocks that differ, stopped processes. */
  readonly expirySlackMs?: number;
  /** So long after it was sent away a connection may still be given something. */
  readonly evictionMs?: number;
}

const RECOVERY_MS = 10_000;
const EXPIRY_SLACK_MS = 15_000;
const EVICTION_MS = 1_000;

export function checkHistory(events: readonly HistoryEvent[], options: CheckOptions): Verdict {
  const outcomes = outcomesOf(events);
  const deliveries = events.filter((event): event is Delivery => event.kind === "delivery");
  const entitlement = new Entitlement(events);
  const losses = new Losses(events);
  const arrivals = checkArrivals(events, deliveries, outcomes, entitlement, losses, options);
  const violations: Violation[] = [
    ...checkOrigins(deliveries, outcomes, entitlement, options),
    ...checkNumbers(deliveries, outcomes, losses),
    ...checkGrowth(events),
    ...checkOrder(deliveries),
    ...checkReplacements(events),
    ...checkEvictions(events, deliveries, options),
    ...arrivals.violations,
    ...checkKept(deliveries, losses),
    ...checkConduct(events),
  ];
  const all = [...outcomes.values()];
  const devices = new Set(deliveries.map((d) => `${d.user}/${d.device} ${d.msgId}`));
  const count = (outcome: Outcome["outcome"]) => all.filter((o) => o.outcome === outcome).length;
  return {
    violations,
    accepted: count("accepted"),
    refused: count("refused"),
    unknown: count("unknown"),
    delivered: new Set(deliveries.map((d) => `${d.user} ${d.msgId}`)).size,
    duplicates: deliveries.length - devices.size,
    frames: deliveries.length,
    duplicateRatio: (deliveries.length - devices.size) / Math.max(1, deliveries.length),
    lostWithRedis: arrivals.lost,
  };
}

/** Nothing arrives that was not sent, was refused, is somebody else's, or has expired. */
function checkOrigins(
  deliveries: readonly Delivery[],
  outcomes: ReadonlyMap<string, Outcome>,
  entitlement: Entitlement,
  { expirySlackMs = EXPIRY_SLACK_MS }: CheckOptions,
): Violation[] {
  const found: Violation[] = [];
  const add = (rule: string, { op, user, conversation }: Delivery, text: string) => {
    found.push({ rule, text: `${user} got ${op}: ${text}`, about: { op, user, conversation } });
  };
  const seen = new Set<string>();
  for (const delivery of deliveries) {
    const { at, from, op, user } = delivery;
    const key = `${user} ${op} ${from}`;
    if (op === "") {
      add("every body has its token", delivery, `${delivery.msgId} has none`);
      continue;
    }
    const sent = outcomes.get(op);
    if (sent === undefined) {
      add("nothing arrives that was not sent", delivery, "nobody sent it");
      continue;
    }
    const { expireTime } = sent;
    if (expireTime > 0 && at > expireTime * 1_000 + expirySlackMs) {
      add("nothing arrives after it expired", delivery, `it expired at ${expireTime}`);
    }
    if (seen.has(key)) continue;
    seen.add(key);
    if (sent.outcome === "refused") {
      add("what was refused never arrives", delivery, `it was refused with ${sent.codes.join()}`);
    }
    if (from !== sent.from) {
      add("the sender is who the token says", delivery, `from ${from}, but ${sent.from} sent it`);
    }
    if (!entitlement.may(sent, user)) {
      add("nothing reaches who is not entitled", delivery, `it was for ${sent.to.join()}`);
    }
  }
  return found;
}

/** A message has one id and one number everywhere, and no number is used twice. */
function checkNumbers(
  deliveries: readonly Delivery[],
  outcomes: ReadonlyMap<string, Outcome>,
  losses: Losses,
): Violation[] {
  const found: Violation[] = [];
  const numbers = new Map<string, string>();
  const ids = new Map<string, string>();
  const add = (rule: string, op: string, user: string, conversation: string, text: string) => {
    found.push({ rule, text, about: { op, user, conversation } });
  };
  const look = (d: Pick<Delivery, "op" | "user" | "msgId" | "conversation" | "seq">) => {
    const { conversation, msgId, op, seq, user } = d;
    const place = `${conversation} #${seq}`;
    const holder = seq === 0 ? msgId : (numbers.get(place) ?? msgId);
    numbers.set(place, holder);
    if (holder !== msgId) {
      const text = `${place} is both ${holder} and ${msgId} (${op})`;
      add("a number is never used twice", op, user, conversation, text);
    }
    const outcome = outcomes.get(op);
    if (outcome !== undefined && losses.mayBeTwo(outcome)) return;
    // A system push is a message per recipient.
    const name = seq === 0 ? `${op} ${user}` : op;
    const known = ids.get(name) ?? `${msgId} ${place}`;
    ids.set(name, known);
    if (known !== `${msgId} ${place}`) {
      const text = `${op} is both ${known} and ${msgId} ${place}`;
      add("a message is delivered once, under one id", op, user, conversation, text);
    }
  };
  for (const delivery of deliveries) look(delivery);
  for (const { op, from, sentAs } of outcomes.values()) {
    for (const sent of sentAs) look({ op, user: from, ...sent });
  }
  return unique(found);
}

/** What is sent after a number was heard has a larger one: numbers of a conversation only grow. */
function checkGrowth(events: readonly HistoryEvent[]): Violation[] {
  const found: Violation[] = [];
  const firstSent = new Map<string, number>();
  const heard = new Map<string, { at: number; seq: number; op: string }[]>();
  for (const event of events) {
    if (event.kind === "send" && !firstSent.has(event.op)) firstSent.set(event.op, event.at);
    if (event.kind !== "answer" || event.answer !== "sent" || event.seq === 0) continue;
    const { at, conversation, op, seq, user } = event;
    const known = heard.get(conversation) ?? [];
    heard.set(conversation, known);
    const from = firstSent.get(op) ?? at;
    const later = known.find((other) => other.at < from && other.seq >= seq && other.op !== op);
    if (later !== undefined) {
      const text = `${op} is #${seq} and was sent after ${later.op} was known to be #${later.seq}`;
      const about = { op, user, conversation };
      found.push({ rule: "numbers of a conversation only grow", text, about });
    }
    known.push({ at, seq, op });
  }
  return found;
}

/**
 * Each device sees a conversation in the order of its numbers, once what it had is left out. So is
 * what another device of the same user had first: a message is the user's once one device has it, and
 * what is handed over again after a crash may come late to a device that was away at the time.
 */
function checkOrder(deliveries: readonly Delivery[]): Violation[] {
  const found: Violation[] = [];
  const last = new Map<string, Delivery>();
  const seen = new Set<string>();
  const firstDevice = new Map<string, string>();
  for (const delivery of deliveries) {
    const { conversation, device, msgId, op, seq, user } = delivery;
    const name = `${user}/${device} ${msgId}`;
    if (seq === 0 || seen.has(name)) continue;
    seen.add(name);
    const holder = firstDevice.get(`${user} ${msgId}`) ?? device;
    firstDevice.set(`${user} ${msgId}`, holder);
    const place = `${user}/${device} ${conversation}`;
    const before = last.get(place);
    if (before !== undefined && before.seq >= seq) {
      if (holder !== device) continue;
      const rule = "every device sees a conversation in order";
      const text = `${user}/${device} got ${op} (#${seq}) after ${before.op} (#${before.seq})`;
      found.push({ rule, text: `${conversation}: ${text}`, about: { op, user, conversation } });
    } else {
      last.set(place, delivery);
    }
  }
  return found;
}

/** A connection is only closed as replaced when its device has made a later one. */
function checkReplacements(events: readonly HistoryEvent[]): Violation[] {
  const found: Violation[] = [];
  const latest = new Map<string, number>();
  for (const event of events) {
    if (event.kind !== "session") continue;
    const { code, connection, device, state, user } = event;
    const name = `${user}/${device}`;
    if (state === "welcome") latest.set(name, Math.max(latest.get(name) ?? 0, connection));
    if (code !== CLOSE_CODES.replaced || connection < (latest.get(name) ?? 0)) continue;
    const rule = "nobody is sent away by mistake";
    const text = `connection ${connection} of ${name} was closed as replaced, and is the latest`;
    found.push({ rule, text, about: { user } });
  }
  return found;
}

/** Whoever was sent away gets nothing more on the connections of before. */
function checkEvictions(
  events: readonly HistoryEvent[],
  deliveries: readonly Delivery[],
  { evictionMs = EVICTION_MS }: CheckOptions,
): Violation[] {
  const found: Violation[] = [];
  const opened = new Map<number, number>();
  for (const event of events) {
    if (event.kind !== "session" || event.state !== "welcome") continue;
    opened.set(event.connection, event.at);
  }
  for (const event of events) {
    if (event.kind !== "evicted") continue;
    const rule = `nothing reaches whoever was sent away, ${evictionMs} ms later`;
    const late = deliveries.filter(
      ({ at, connection, device, user }) =>
        user === event.user &&
        (event.device === "" || event.device === device) &&
        (opened.get(connection) ?? 0) <= event.at &&
        at > event.at + evictionMs,
    );
    for (const { at, device, op, user } of late) {
      const ms = Math.round(at - event.at);
      const text = `${user}/${device} was ${event.why} and got ${op} ${ms} ms later`;
      found.push({ rule, text, about: { op, user } });
    }
  }
  return found;
}

/** What the offline store held when Redis lost its data has arrived. */
function checkKept(deliveries: readonly Delivery[], losses: Losses): Violation[] {
  const rule = "what was in the offline store arrives, whatever Redis loses";
  return losses.missing(deliveries).map(({ msgId, user, what }) => {
    const text = `${user} never got ${msgId}, which was stored when Redis lost ${what}`;
    return { rule, text, about: { user } };
  });
}

/** Nothing grows beyond its bound, and nothing fails by itself. */
function checkConduct(events: readonly HistoryEvent[]): Violation[] {
  const found: Violation[] = [];
  for (const event of events) {
    if (event.kind === "failure") {
      found.push({ rule: "no process fails by itself", text: event.text, about: {} });
    } else if (event.kind === "sample" && event.value > event.max) {
      const text = `${event.what} was ${event.value}, above ${event.max}`;
      found.push({ rule: "everything stays within its bound", text, about: {} });
    }
  }
  return unique(found);
}

/** What was accepted has arrived at every recipient, and soon after the last fault. */
function checkArrivals(
  events: readonly HistoryEvent[],
  deliveries: readonly Delivery[],
  outcomes: ReadonlyMap<string, Outcome>,
  entitlement: Entitlement,
  losses: Losses,
  { lastFaultAt, recoveryMs = RECOVERY_MS }: CheckOptions,
): { violations: Violation[]; lost: number } {
  const found: Violation[] = [];
  let lost = 0;
  const arrived = new Map<string, number>();
  for (const { at, op, user } of deliveries) {
    const key = `${op} ${user}`;
    if (!arrived.has(key)) arrived.set(key, at);
  }
  const back = onlineSince(events, lastFaultAt);
  for (const sent of outcomes.values()) {
    if (sent.outcome !== "accepted") continue;
    const { op, acceptedAt } = sent;
    for (const user of entitlement.must(sent)) {
      const at = arrived.get(`${op} ${user}`);
      const about = { op, user };
      if (at === undefined && losses.mayBeGone(sent)) {
        lost++;
        continue;
      }
      if (at === undefined) {
        const rule = "what was accepted reaches every recipient";
        found.push({ rule, text: `${op} never reached ${user}`, about });
        continue;
      }
      const from = Math.max(acceptedAt, back.get(user) ?? Number.POSITIVE_INFINITY);
      if (at <= from + recoveryMs) continue;
      const rule = `everything arrives within ${recoveryMs} ms of the last fault`;
      const late = ((at - from) / 1_000).toFixed(1);
      found.push({ rule, text: `${op} reached ${user} ${late} s late`, about });
    }
  }
  return { violations: found, lost };
}

/** When each user was online for the first time at or after `from`. */
function onlineSince(events: readonly HistoryEvent[], from: number): Map<string, number> {
  const open = new Map<string, Set<number>>();
  const since = new Map<string, number>();
  for (const event of events) {
    if (event.at > from) {
      for (const [user, connections] of open) {
        if (connections.size > 0 && !since.has(user)) since.set(user, from);
      }
    }
    if (event.kind !== "session") continue;
    const { connection, state, user } = event;
    const connections = open.get(user) ?? new Set();
    open.set(user, connections);
    if (state === "closed") {
      connections.delete(connection);
      continue;
    }
    connections.add(connection);
    if (event.at >= from && !since.has(user)) since.set(user, event.at);
  }
  for (const [user, connections] of open) {
    if (connections.size > 0 && !since.has(user)) since.set(user, from);
  }
  return since;
}

function unique(violations: readonly Violation[]): Violation[] {
  const texts = new Set<string>();
  return violations.filter(({ text }) => !texts.has(text) && texts.add(text));
}
