/**
 * How each operation of a history ended, as its client saw it: accepted, refused, or unknown. It is
 * refused only when every attempt was refused with certainty: an attempt without an answer, or with
 * the answer that nobody knows, may have been taken.
 */
import type { HistoryEvent } from "./history.ts";

export interface Outcome {
  readonly op: string;
  readonly from: string;
  readonly target: "USER" | "GROUP" | "SYSTEM";
  /** The user, the group, or the users of a system push. */
  readonly to: readonly string[];
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
  /** When the first attempt left. */
  readonly sentAt: number;
  readonly attempts: number;
  outcome: "accepted" | "refused" | "unknown";
  /** Of the first answer that says so; 0 without one. */
  acceptedAt: number;
  /** With which it was refused. */
  readonly codes: string[];
  readonly sentAs: { msgId: string; conversation: string; seq: number }[];
}

const UNCERTAIN = new Set(["outcome_unknown", "internal"]);
/** Who sends a system push that names nobody. */
export const SYSTEM_SENDER = "system";

export function outcomesOf(events: readonly HistoryEvent[]): Map<string, Outcome> {
  const outcomes = new Map<string, Outcome & { attempts: number }>();
  for (const event of events) {
    if (event.kind === "send") {
      const known = outcomes.get(event.op);
      if (known !== undefined) {
        known.attempts++;
        continue;
      }
      const { op, target, expireTime } = event;
      const to = [event.to];
      outcomes.set(op, { ...fresh(op, event.user, event.at), target, to, expireTime });
    } else if (event.kind === "push") {
      const { op, users } = event;
      const known = outcomes.get(op) ?? fresh(op, SYSTEM_SENDER, event.at);
      outcomes.set(op, { ...known, target: "SYSTEM", to: users });
      if (event.outcome === "ok") accept(outcomes.get(op), event.at);
    } else if (event.kind === "answer") {
      const known = outcomes.get(event.op);
      if (known === undefined) continue;
      const { answer, code, conversation, msgId, seq } = event;
      if (answer === "rejected") known.codes.push(code);
      else accept(known, event.at);
      if (answer === "sent") known.sentAs.push({ msgId, conversation, seq });
    }
  }
  for (const outcome of outcomes.values()) settle(outcome);
  return outcomes;
}

function fresh(op: string, from: string, sentAt: number): Outcome & { attempts: number } {
  return {
    ...{ op, from, sentAt, target: "SYSTEM", to: [], expireTime: 0, attempts: 1 },
    ...{ outcome: "unknown", acceptedAt: 0, codes: [], sentAs: [] },
  };
}

function accept(outcome: Outcome | undefined, at: number): void {
  if (outcome === undefined || outcome.acceptedAt > 0) return;
  outcome.acceptedAt = at;
}

function settle(outcome: Outcome): void {
  const { acceptedAt, attempts, codes, sentAs } = outcome;
  const certain = codes.filter((code) => !UNCERTAIN.has(code));
  if (sentAs.length > 0) outcome.outcome = "accepted";
  // Accepted by access and then refused by logic, which looks at it later.
  else if (acceptedAt > 0) outcome.outcome = codes.length > 0 ? "unknown" : "accepted";
  if (sentAs.length === 0 && attempts > 0 && certain.length >= attempts) {
    outcome.outcome = "refused";
  }
}
