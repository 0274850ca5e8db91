/**
 * Who may get a message, and who must. A group changes while messages are on their way, so between
 * the two are those whose membership changed after the first attempt was sent, or nobody knows.
 */
import type { GroupChange, HistoryEvent } from "./history.ts";
import type { Outcome } from "./outcomes.ts";

export class Entitlement {
  /** By `group user`: the changes in their order. */
  private readonly changes = new Map<string, GroupChange[]>();
  private readonly membersOf = new Map<string, Set<string>>();

  constructor(events: readonly HistoryEvent[]) {
    for (const event of events) {
      if (event.kind !== "group") continue;
      const members = this.membersOf.get(event.group) ?? new Set();
      this.membersOf.set(event.group, members);
      for (const user of event.users) {
        members.add(user);
        const key = `${event.group} ${user}`;
        const changes = this.changes.get(key);
        if (changes === undefined) this.changes.set(key, [event]);
        else changes.push(event);
      }
    }
  }

  /** Whether `user` may get it. */
  may({ target, to, sentAt }: Outcome, user: string): boolean {
    if (target !== "GROUP") return to.includes(user);
    const changes = this.changes.get(`${to[0]} ${user}`) ?? [];
    if (changes.some(({ outcome }) => outcome === "unknown")) return true;
    const settled = changes.filter(({ at, outcome }) => outcome === "ok" && at < sentAt);
    // Asked for and not answered before it was sent: it may have taken effect at any time.
    const open = changes.filter(({ at, outcome }) => outcome === "asked" && at >= sentAt);
    const pending = changes.filter((c) => c.outcome === "asked" && c.at < sentAt).length;
    const answered = settled.filter(({ at }) => at > 0).length;
    const initial = changes[0]?.outcome === "ok" ? 1 : 0;
    if (pending > answered - initial) return true;
    if (open.some(({ change }) => change === "add")) return true;
    return settled.at(-1)?.change === "add";
  }

  /** Who must get it: nobody when it may expire, or when the sender may have been no member. */
  must(outcome: Outcome): string[] {
    const { expireTime, from, sentAt, target, to } = outcome;
    if (expireTime > 0) return [];
    if (target !== "GROUP") return [...to];
    const group = to[0] ?? "";
    if (!this.stays(group, from, sentAt)) return [];
    return [...(this.membersOf.get(group) ?? [])].filter(
      (user) => user !== from && this.stays(group, user, sentAt),
    );
  }

  /** Whether `user` is a member at `since`, and for ever after, beyond doubt. */
  private stays(group: string, user: string, since: number): boolean {
    const changes = this.changes.get(`${group} ${user}`) ?? [];
    const before = changes.filter(({ at }) => at < since).at(-1);
    return (
      before?.outcome === "ok" &&
      before.change === "add" &&
      !changes.some(({ at, change }) => at >= since && change === "remove") &&
      !changes.some(({ outcome }) => outcome === "unknown")
    );
  }
}
