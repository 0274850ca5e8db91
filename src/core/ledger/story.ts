/**
 * What the evidence about a message means: where it is, and why. Pure. What is at rest comes first,
 * because it is complete; the trail says how it came there. Where the trail has a gap, the promise of
 * the pipeline fills it: an entry of push_task is gone only when each recipient confirmed the
 * message, had it stored, or it expired; and a row is gone only when it was confirmed or expired.
 */
import { chatEntryOf, isPushMsgId, msgIdTime } from "../protocol/msg_id.ts";
import type { LedgerEvent, Numbered } from "./event.ts";
import type { Evidence } from "./evidence.ts";
import { type RecipientFacts, recipientFacts, tellRecipient } from "./recipient_story.ts";
import { type Origin, originOf } from "./story_origin.ts";
import { timelineOf } from "./timeline.ts";
import { RECIPIENTS_SHOWN_MAX, type RecipientTrace, type Trace, type TraceState } from "./trace.ts";

/** `recipient`: whose story to tell of a message to many. */
export function tell(evidence: Evidence, nowMs: number, recipient: string | null): Trace {
  const origin = originOf(evidence.events);
  const facts = recipientFacts(evidence, origin, nowMs);
  const told = facts.map((fact) => tellRecipient(fact));
  const counts = countStates(told, origin);
  const shown = recipient === null ? told : told.filter(({ user_id }) => user_id === recipient);
  const { state, summary } = conclusion(evidence, origin, facts, told, counts);
  const send = evidence.send;
  return {
    msg_id: evidence.msgId,
    from_user_id: origin?.user ?? send?.fromUserId ?? null,
    client_msg_id: send?.clientMsgId ?? null,
    to: origin?.to ?? null,
    seq: origin?.kind === "numbered" ? origin.seq : null,
    state,
    summary: summary + repetitions(evidence.events),
    recipients: counts,
    by_recipient: [...shown]
      .sort((a, b) => Number(a.state === "delivered") - Number(b.state === "delivered"))
      .slice(0, RECIPIENTS_SHOWN_MAX),
    timeline: timelineOf(evidence, recipient),
    notes: notesOf(evidence, origin, told, recipient),
  };
}

function countStates(told: readonly RecipientTrace[], origin: Origin): Trace["recipients"] {
  const of = (state: TraceState) => told.filter((one) => one.state === state).length;
  const total = Math.max(told.length, origin?.kind === "numbered" ? origin.recipients : 0);
  return {
    total,
    // Of whom nothing is known and nothing is at rest: settled, and the trail was not kept.
    delivered: of("delivered") + (total - told.length),
    in_delivery: of("in_delivery"),
    stored: of("stored"),
    expired: of("expired"),
    dead_lettered: of("dead_lettered"),
  };
}

interface Conclusion {
  readonly state: TraceState;
  readonly summary: string;
}

function conclusion(
  evidence: Evidence,
  origin: Origin,
  facts: readonly RecipientFacts[],
  told: readonly RecipientTrace[],
  counts: Trace["recipients"],
): Conclusion {
  const { undecided } = evidence;
  if (undecided !== null) return waitsForLogic(evidence, undecided.partition);
  const givenUp = deadLetterOf(evidence);
  if (givenUp !== null) return givenUp;
  const [only] = told;
  if (only !== undefined && counts.total <= 1) return { state: only.state, summary: only.why };
  if (counts.total > 0) return ofMany(counts, facts);
  if (origin?.kind === "numbered") return withoutRecipients(origin);
  return refusedOrUnknown(evidence);
}

function waitsForLogic({ owners }: Evidence, partition: number): Conclusion {
  const owner = owners.logic.find((lease) => lease.partition === partition)?.owner ?? null;
  const where = `Accepted: it is durable in chat_input:${partition}`;
  const why =
    owner === null
      ? `and waits, because no logic node owns this partition now`
      : `and waits to be numbered by its owner ${owner}`;
  return { state: "accepted", summary: `${where} ${why}.` };
}

function deadLetterOf(evidence: Evidence): Conclusion | null {
  const [letter] = evidence.deadLetters;
  if (letter !== undefined) {
    const what = `Dead-lettered: its entry of ${letter.topic} was given up (${letter.reason})`;
    const next = `see it with \`chatify dead-letter show ${letter.id}\`, put it back with replay`;
    return { state: "dead_lettered", summary: `${what}; ${next}.` };
  }
  const event = evidence.events.findLast(({ kind }) => kind === "dead_lettered");
  if (event?.kind !== "dead_lettered") return null;
  const what = `Dead-lettered: its entry of ${event.topic} was given up (${event.reason})`;
  const since = "the dead letter is not there any more: it was replayed, dropped or trimmed since";
  return { state: "dead_lettered", summary: `${what}; ${since}.` };
}

/** What is not delivered comes first: that is what somebody asks about. */
function ofMany(counts: Trace["recipients"], facts: readonly RecipientFacts[]): Conclusion {
  const { delivered, expired, in_delivery, stored, total } = counts;
  const parts = [
    `delivered to ${delivered}`,
    in_delivery > 0 ? `on the way to ${in_delivery}` : "",
    stored > 0 ? `stored offline for ${stored}` : "",
    expired > 0 ? `expired for ${expired}` : "",
  ].filter((part) => part !== "");
  const state: TraceState =
    in_delivery > 0 ? "in_delivery" : stored > 0 ? "stored" : expired > 0 ? "expired" : "delivered";
  const list = parts.join(", ");
  const whole = `${list.charAt(0).toUpperCase()}${list.slice(1)} of ${total} recipients`;
  const example = facts.find((fact) => tellRecipient(fact).state === state);
  const why =
    state === "delivered" || example === undefined ? "" : ` ${tellRecipient(example).why}`;
  return { state, summary: `${whole}.${why}` };
}

function withoutRecipients(origin: Numbered): Conclusion {
  if (origin.messageType === "DATAREPORT") {
    const summary = "Handed over: a DATAREPORT has no recipients; it is in the stream data_report.";
    return { state: "delivered", summary };
  }
  return { state: "delivered", summary: "Numbered, and there was nobody else in the group." };
}

function refusedOrUnknown({ events, msgId }: Evidence): Conclusion {
  const refused = events.findLast(({ kind }) => kind === "rejected");
  if (refused?.kind === "rejected") {
    const { code, role, user } = refused;
    const summary = `Rejected by ${role}: ${code}. ${user}'s client was told so; nobody got it.`;
    return { state: "rejected", summary };
  }
  const isId = msgId === null || chatEntryOf(msgId) !== null || isPushMsgId(msgId);
  const settled =
    "Nothing of it is at rest, so if it was accepted it is settled (confirmed by its recipients, " +
    "or expired), and its trail is not kept any more or was never.";
  const summary = isId ? `Unknown. ${settled}` : "Unknown. This is not the id of a message.";
  return { state: "unknown", summary };
}

function repetitions(events: readonly LedgerEvent[]): string {
  const count = events.filter(({ kind }) => kind === "repeated").length;
  if (count === 0) return "";
  const times = count === 1 ? "once more" : `${count} times more`;
  return ` Its client sent it ${times}, which was recognised as the same message.`;
}

function notesOf(
  evidence: Evidence,
  origin: Origin,
  told: readonly RecipientTrace[],
  recipient: string | null,
): string[] {
  const notes = [...evidence.gaps];
  const { events, msgId } = evidence;
  if (msgId !== null && origin === null && events.length > 0) {
    notes.push("the trail does not begin at its beginning: it was not sampled, or a part was lost");
  }
  if (told.length > RECIPIENTS_SHOWN_MAX && recipient === null) {
    notes.push(`${told.length} recipients; --user <id> tells the story of one`);
  }
  if (recipient !== null && !told.some(({ user_id }) => user_id === recipient)) {
    notes.push(`nothing is known about ${recipient} as a recipient of it`);
  }
  const accepted = msgId !== null && chatEntryOf(msgId) !== null ? msgIdTime(msgId) : null;
  if (accepted !== null && events.length === 0) {
    notes.push(`by its id it was accepted at ${new Date(accepted).toISOString()}`);
  }
  return notes;
}
