/**
 * What may be missing because Redis lost data that it had confirmed, and what may not: a message that
 * was in SQL at the time must arrive, and so must all that is sent after it.
 */
import type { Delivery, HistoryEvent } from "./history.ts";
import type { Outcome } from "./outcomes.ts";

type Loss = Extract<HistoryEvent, { kind: "loss" }>;

export class Losses {
  private readonly losses: readonly Loss[];

  constructor(events: readonly HistoryEvent[]) {
    this.losses = events.filter((event): event is Loss => event.kind === "loss");
  }

  /** It was on its way when data was lost, so it may be gone. */
  mayBeGone({ sentAt }: Outcome): boolean {
    return this.losses.some(({ at }) => sentAt <= at);
  }

  /** Nobody who had numbered it may be left, so a repetition may have been numbered again. */
  mayBeTwo({ sentAt }: Outcome): boolean {
    return this.losses.some(({ at, remembered }) => !remembered && sentAt <= at);
  }

  /** Messages that SQL held at a loss and that never arrived. */
  missing(deliveries: readonly Delivery[]): { user: string; msgId: string; what: string }[] {
    const arrived = new Set(deliveries.map(({ msgId, user }) => `${user} ${msgId}`));
    return this.losses.flatMap(({ kept, what }) =>
      kept
        .filter(([user, msgId]) => !arrived.has(`${user} ${msgId}`))
        .map(([user, msgId]) => ({ user, msgId, what })),
    );
  }
}
