/** What became of a message for one of its recipients. Pure. */
import type { Session } from "../sessions/contract.ts";
import type { LedgerEvent } from "./event.ts";
import type { Evidence } from "./evidence.ts";
import type { Origin } from "./story_origin.ts";
import type { RecipientTrace } from "./trace.ts";

export interface RecipientFacts {
  readonly user: string;
  readonly nowMs: number;
  /** Unix seconds; 0 means never, and where it is not known. */
  readonly expireTime: number;
  readonly events: readonly LedgerEvent[];
  /** Unix ms at which its row was stored; null when there is none. */
  readonly heldSince: number | null;
  /** The user partition whose push_task still has it; null when there is none. */
  readonly unsettledIn: number | null;
  /** Of that partition; null when nobody owns it. */
  readonly owner: string | null;
  readonly sessions: readonly Session[];
}

export function recipientFacts(
  evidence: Evidence,
  origin: Origin,
  nowMs: number,
): RecipientFacts[] {
  const { events, held, owners, sessions, unsettled } = evidence;
  const byUser = new Map<string, LedgerEvent[]>();
  const add = (user: string) => {
    const list = byUser.get(user) ?? [];
    byUser.set(user, list);
    return list;
  };
  for (const user of directRecipient(origin)) add(user);
  for (const { user_id } of held) add(user_id);
  for (const { recipients } of unsettled) for (const user of recipients) add(user);
  for (const event of events) if (isDelivery(event)) add(event.user).push(event);
  // Anybody can send an ack for any id, so an ack alone makes nobody a recipient.
  for (const event of events) if (event.kind === "acked") byUser.get(event.user)?.push(event);
  const rows = new Map(held.map((row) => [row.user_id, row]));
  return [...byUser].map(([user, own]) => {
    const row = rows.get(user);
    const entry = unsettled.find(({ recipients }) => recipients.includes(user));
    const partition = entry?.partition ?? null;
    return {
      user,
      nowMs,
      expireTime: row?.expire_time ?? origin?.expireTime ?? 0,
      events: own.sort((a, b) => a.at - b.at),
      heldSince: row?.stored_at ?? null,
      unsettledIn: partition,
      owner: owners.push.find((lease) => lease.partition === partition)?.owner ?? null,
      sessions: sessions.get(user) ?? [],
    };
  });
}

function directRecipient(origin: Origin): string[] {
  if (origin === null) return [];
  if (origin.kind === "pushed") return [origin.to];
  return origin.target === "USER" && origin.recipients > 0 ? [origin.to] : [];
}

function isDelivery({ kind }: LedgerEvent): boolean {
  return (
    kind === "written" ||
    kind === "replayed" ||
    kind === "stored" ||
    kind === "expired" ||
    kind === "confirmed" ||
    kind === "notified"
  );
}

export function tellRecipient(facts: RecipientFacts): RecipientTrace {
  const { events, expireTime, nowMs, user } = facts;
  const devices = [
    ...new Set(events.flatMap((event) => (event.kind === "acked" ? [event.device] : []))),
  ].filter((device) => device !== "");
  const told = (state: RecipientTrace["state"], why: string): RecipientTrace => {
    return { user_id: user, state, why, devices };
  };
  const isPast = expireTime > 0 && expireTime * 1_000 <= nowMs;
  if (facts.heldSince !== null && isPast) {
    return told("expired", `Expired: ${user} did not get it before its expire_time.`);
  }
  if (facts.heldSince !== null) return told("stored", whyStored(facts, facts.heldSince));
  const confirmed = events.findLast(({ kind }) => kind === "acked" || kind === "confirmed");
  if (confirmed !== undefined) return told("delivered", howDelivered(facts, confirmed));
  const expired = events.findLast(({ kind }) => kind === "expired");
  if (expired !== undefined) {
    const where = expired.kind === "expired" && expired.stage === "offline" ? " offline" : "";
    const why = `Expired: its expire_time passed before ${user} confirmed it`;
    return told("expired", where === "" ? `${why}.` : `${why}; it waited in the offline store.`);
  }
  if (facts.unsettledIn !== null && !events.some(({ kind }) => kind === "stored")) {
    return told("in_delivery", whyInDelivery(facts));
  }
  if (isPast) return told("expired", `Expired, or confirmed just before; it is not kept any more.`);
  const what = events.some(({ kind }) => kind === "stored")
    ? "its row has left the offline store"
    : "push has settled it";
  const record = "its record comes within a second or two, or was lost with a node";
  const why = `${what}, which only a confirmation does; ${record}`;
  return told("delivered", `Delivered to ${user}: ${why}.`);
}

function howDelivered({ events, user }: RecipientFacts, confirmed: LedgerEvent): string {
  if (confirmed.kind === "confirmed") return `Delivered: ${user} confirmed it over HTTP.`;
  const wasStored = events.some(({ kind }) => kind === "stored");
  const device = confirmed.kind === "acked" && confirmed.device !== "" ? confirmed.device : "";
  const who = device === "" ? user : `${user}'s device ${device}`;
  const way = wasStored ? " after it had waited in the offline store" : "";
  return `Delivered: ${who} confirmed it${way}.`;
}

function whyStored({ events, nowMs, sessions, user }: RecipientFacts, since: number): string {
  const [first] = sessions;
  const stored = `Stored offline for ${duration(nowMs - since)}`;
  if (first === undefined) {
    return `${stored}: ${user} has no device online. It is sent when ${user} connects.`;
  }
  const sent = events.findLast(({ kind }) => kind === "replayed" || kind === "written");
  const device = sent?.kind === "replayed" || sent?.kind === "written" ? sent.device : "";
  if (sent === undefined) {
    return `${stored}: ${user} is online (${first.device}), and it waits for its turn in the replay.`;
  }
  const ago = duration(nowMs - sent.at);
  return `${stored}: written to ${user}'s device ${device} ${ago} ago, which has not confirmed it.`;
}

function whyInDelivery(facts: RecipientFacts): string {
  const { events, nowMs, owner, sessions, unsettledIn, user } = facts;
  const where = `On the way to ${user}: it is not settled in push_task:${unsettledIn}`;
  if (owner === null) return `${where}, and no push node owns this partition now.`;
  const sent = events.findLast(({ kind }) => kind === "written");
  if (sent?.kind === "written") {
    const ago = duration(nowMs - sent.at);
    return `${where}; written to device ${sent.device} ${ago} ago, which has not confirmed it yet.`;
  }
  if (sessions.length === 0) {
    return `${where}; ${user} has no device online, and its owner ${owner} is about to store it.`;
  }
  return `${where}; its owner ${owner} has not written it to ${user}'s device yet.`;
}

/** The largest whole unit, and the one below it where that says something. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const s = Math.floor(ms / 1_000);
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3_600)} h`;
}
