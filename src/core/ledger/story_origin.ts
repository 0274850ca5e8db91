/** Where a message's trail begins: it was numbered, or pushed; null when that is not in the ledger. */
import type { LedgerEvent, Numbered, Pushed } from "./event.ts";

export type Origin = Numbered | Pushed | null;

export function originOf(events: readonly LedgerEvent[]): Origin {
  for (const event of events) {
    if (event.kind === "numbered" || event.kind === "pushed") return event;
  }
  return null;
}
