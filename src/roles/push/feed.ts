/**
 * A feed: everything that one user is still to get, in order, and where the user is connected.
 *
 * Items stand in the order in which the user must see them: rows of the offline store that are being
 * replayed first, live messages behind. A session gets items from the front, at most
 * UNACKED_PER_SESSION_MAX ahead of what is settled; `next` is its position, counted from the
 * beginning of time (`base` is the position of `items[0]`), so nothing moves when items leave.
 *
 * Modes: `loading` until the directory was asked; `offline` without sessions: live items are
 * archived; `live`: items go out as they come; `replay`: the store has rows of the user, so live
 * items wait behind them. A feed that has neither items nor a replay is idle and may be forgotten.
 */
import type { Session } from "../../core/sessions/contract.ts";
import type { TraceContext } from "../../core/telemetry/telemetry.ts";
import type { OpenEntry } from "./settlement.ts";

export interface SessionState extends Session {
  next: number;
}

export interface Item {
  readonly feed: Feed;
  readonly msgId: string;
  readonly conversation: string;
  readonly seq: number;
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
  /** The encoded Message, and the frame that carries it. */
  readonly message: string;
  readonly frame: string;
  /** In which its next span is recorded; "" when it is not sampled. */
  trace: TraceContext;
  /** Unix ms. */
  readonly acceptedAt: number;
  /** Monotonic ms by which a device must have acked it, else it is archived. */
  deadline: number;
  /** The stream entry that waits for this item; null for a row of the store. */
  entry: OpenEntry | null;
  /** Monotonic ms of the first write to a session; 0 before that. */
  sentAt: number;
  /** On its way into the store. */
  archiving: boolean;
  /** Settled: acked, archived unsent, or expired. Done items leave from the front. */
  done: boolean;
  /** Sessions that acked it, when there are several; any entry counts as "a device has it". */
  ackedBy: string[] | null;
}

export type FeedMode = "loading" | "offline" | "live" | "replay";

export class Feed {
  readonly user: string;
  mode: FeedMode = "loading";
  sessions: SessionState[] = [];
  items: Item[] = [];
  base = 0;
  /** Rows of this user may be in the store; Redis has the mark once `marked`. */
  stored = false;
  marked = false;
  archiving = 0;
  /** Times that something was put into the store: a page asked for before does not show it. */
  archives = 0;
  /** The store has rows that are not in memory: what is archived now must come after them. */
  behind = false;
  confirming = 0;
  fetching = false;
  /** Monotonic ms at which unacked rows are sent again. */
  redeliverAt = 0;
  redeliverMs = 0;

  constructor(user: string) {
    this.user = user;
  }

  isIdle(): boolean {
    const busy = this.archiving + this.confirming > 0 || this.fetching;
    return !busy && this.items.length === 0 && (this.mode === "live" || this.mode === "offline");
  }

  /** Items of the store that are in memory and not confirmed. */
  hasOpenRows(): boolean {
    for (const item of this.items) {
      if (item.entry !== null) return false;
      if (!item.done) return true;
    }
    return false;
  }

  /** Drops settled items from the front. */
  compact(): void {
    let gone = 0;
    while (gone < this.items.length && (this.items[gone] as Item).done) gone++;
    if (gone === 0) return;
    if (gone === this.items.length) this.items = [];
    else this.items.splice(0, gone);
    this.base += gone;
    for (const session of this.sessions) session.next = Math.max(session.next, this.base);
  }

  /** Puts rows before everything else; every session starts with them. */
  prepend(rows: Item[]): void {
    this.items = this.items.length === 0 ? rows : [...rows, ...this.items];
    this.rewind();
  }

  /** Every session gets everything that is not settled again, from the front. */
  rewind(): void {
    for (const session of this.sessions) session.next = this.base;
  }

  /**
   * Takes the directory's truth. Sessions that are new, or registered anew, start from the front;
   * the others go on. Returns true when something changed.
   */
  setSessions(truth: readonly Session[]): boolean {
    let changed = truth.length !== this.sessions.length;
    const next = truth.map((session): SessionState => {
      const known = this.sessions.find((s) => isSame(s, session));
      if (known !== undefined) return known;
      changed = true;
      return { ...session, next: this.base };
    });
    if (changed) this.sessions = next;
    return changed;
  }

  /** The oldest unsettled item with this id. */
  find(msgId: string): Item | null {
    for (const item of this.items) if (item.msgId === msgId && !item.done) return item;
    return null;
  }

  /**
   * Notes that the session `who` acked `item`. True when that settles it: every device that is
   * online now has it. (A device that lags is waited for until the item's deadline.)
   */
  ack(item: Item, who: string): boolean {
    if (this.sessions.length <= 1) return true;
    item.ackedBy ??= [];
    if (!item.ackedBy.includes(who)) item.ackedBy.push(who);
    return this.isAckedByAll(item);
  }

  /** The device of the session `who`; empty when it is gone. */
  deviceOf(who: string): string {
    const { sessions } = this;
    const [only] = sessions;
    if (sessions.length === 1 && only !== undefined) return only.device;
    return sessions.find((session) => sessionKey(session) === who)?.device ?? "";
  }

  isAckedByAll(item: Item): boolean {
    const acked = item.ackedBy;
    if (acked === null) return false;
    return this.sessions.every((session) => acked.includes(sessionKey(session)));
  }
}

export function sessionKey(session: Pick<Session, "gateway" | "conn">): string {
  return `${session.gateway}/${session.conn}`;
}

function isSame(a: Session, b: Session): boolean {
  return a.gateway === b.gateway && a.conn === b.conn && a.epoch === b.epoch;
}
