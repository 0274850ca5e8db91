/** The offline store in memory, held to its contract by the suite that the SQL stores pass. */
import {
  type ChatMark,
  type KeptChatMark,
  type OfflinePage,
  type OfflineRow,
  type OfflineStore,
  type OwnerEpoch,
  StaleEpochError,
} from "../core/offline/contract.ts";
import type { WindowPage, WindowSegment } from "../core/offline/window_store.ts";
import { isBehind } from "../core/registry/contract.ts";

interface Kept extends OfflineRow {
  readonly position: number;
}

export class MemoryStore implements OfflineStore {
  /** In the order in which they were archived. */
  private rows: Kept[] = [];
  private readonly epochs = new Map<number, number>();
  /** By partition and name. */
  private readonly segments = new Map<string, WindowSegment>();
  private readonly marks = new Map<number, KeptChatMark>();
  private position = 0;

  async archive(owner: OwnerEpoch, rows: readonly OfflineRow[]): Promise<void> {
    this.check(owner);
    for (const row of rows) {
      if (this.find(row.user_id, row.msg_id) !== undefined) continue;
      this.rows.push({ ...row, position: ++this.position });
    }
  }

  async page(
    userId: string,
    cursor: string | null,
    limit: number,
    nowS: number,
  ): Promise<OfflinePage> {
    const after = Number(cursor ?? 0);
    const found = this.rows.filter(
      ({ user_id, position, expire_time }) =>
        user_id === userId && position > after && (expire_time === 0 || expire_time > nowS),
    );
    const rows = found.slice(0, limit);
    const last = rows.at(-1);
    const more = found.length > limit && last !== undefined;
    return {
      rows: rows.map(({ position: _, ...row }) => row),
      cursor: more ? String(last.position) : null,
    };
  }

  async cursorOf(userId: string, msgId: string): Promise<string | null> {
    const row = this.find(userId, msgId);
    return row === undefined ? null : String(row.position);
  }

  async confirm(
    owner: OwnerEpoch | null,
    confirmed: readonly { readonly user_id: string; readonly msg_ids: readonly string[] }[],
  ): Promise<number> {
    if (owner !== null) this.check(owner);
    const before = this.rows.length;
    for (const { user_id, msg_ids } of confirmed) {
      this.rows = this.rows.filter(
        (row) => row.user_id !== user_id || !msg_ids.includes(row.msg_id),
      );
    }
    return before - this.rows.length;
  }

  async withRows(userIds: readonly string[]): Promise<string[]> {
    return userIds.filter((user) => this.rows.some(({ user_id }) => user_id === user));
  }

  async users(after: string, limit: number): Promise<string[]> {
    const all = new Set(this.rows.map(({ user_id }) => user_id));
    return [...all]
      .filter((user) => user > after)
      .toSorted()
      .slice(0, limit);
  }

  async markChats(marks: readonly ChatMark[]): Promise<void> {
    for (const mark of marks) {
      const none = { ...mark, epoch: 0, turn: 0, closed: false, ceiling: 0 };
      const kept = this.marks.get(mark.partition) ?? none;
      const closes = mark.closed && !kept.closed && !isBehind(mark, kept);
      if (!isBehind(kept, mark) && !closes) continue;
      const [top, ceiling] = [Math.max(kept.top, mark.top), Math.max(kept.ceiling, mark.top)];
      this.marks.set(mark.partition, { ...mark, top, ceiling });
    }
  }

  async chatMark(partition: number): Promise<KeptChatMark | null> {
    return this.marks.get(partition) ?? null;
  }

  async reserveSeqs(partition: number, above: number, count: number): Promise<number> {
    const none = { partition, epoch: 0, turn: 0, top: 0, closed: false, ceiling: 0 };
    const kept = this.marks.get(partition) ?? none;
    const ceiling = Math.max(kept.ceiling, above) + count;
    this.marks.set(partition, { ...kept, ceiling });
    return ceiling;
  }

  async sweep(nowS: number, limit: number): Promise<{ user_id: string; msg_id: string }[]> {
    const swept = this.rows
      .filter(({ expire_time }) => expire_time > 0 && expire_time <= nowS)
      .slice(0, limit);
    this.rows = this.rows.filter((row) => !swept.includes(row));
    return swept.map(({ user_id, msg_id }) => ({ user_id, msg_id }));
  }

  async count(): Promise<number> {
    return this.rows.length;
  }

  async saveWindow(segments: readonly WindowSegment[]): Promise<void> {
    for (const segment of segments) {
      const key = `${segment.partition}/${segment.name}`;
      if (!this.segments.has(key)) this.segments.set(key, segment);
    }
  }

  async windowPage(
    partition: number,
    cursor: string | null,
    limit: number,
    nowS: number,
  ): Promise<WindowPage> {
    const found = [...this.segments.values()]
      .filter((one) => one.partition === partition && one.expire_at >= nowS)
      .filter(({ name }) => cursor === null || name > cursor)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const segments = found.slice(0, limit).map(({ name, records }) => ({ name, records }));
    return { segments, cursor: found.length > limit ? (segments.at(-1)?.name ?? null) : null };
  }

  async sweepWindow(nowS: number, limit: number): Promise<number> {
    const expired = [...this.segments].filter(([, { expire_at }]) => expire_at < nowS);
    for (const [key] of expired.slice(0, limit)) this.segments.delete(key);
    return Math.min(expired.length, limit);
  }

  /** What is there, for the checker. */
  all(): readonly OfflineRow[] {
    return this.rows;
  }

  private find(userId: string, msgId: string): Kept | undefined {
    return this.rows.find(({ user_id, msg_id }) => user_id === userId && msg_id === msgId);
  }

  private check(owner: OwnerEpoch): void {
    const seen = this.epochs.get(owner.partition) ?? 0;
    if (seen > owner.epoch) throw new StaleEpochError(owner, seen);
    this.epochs.set(owner.partition, owner.epoch);
  }
}
