/**
 * The store as the role hands it out: every call is timed and its failures are counted, and before
 * the database is open it refuses. Remembers whether the database works, for readiness.
 */
import type { Clock } from "../../core/clock.ts";
import type { LedgerStore } from "../../core/ledger/store.ts";
import {
  type ChatMark,
  type KeptChatMark,
  type OfflineRow,
  type OwnerEpoch,
  StaleEpochError,
} from "../../core/offline/contract.ts";
import type { WindowSegment } from "../../core/offline/window_store.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { OfflineEngine } from "./engine.ts";
import type { Confirmed } from "./write_queue.ts";

export interface ObservedStoreOptions {
  /** Null until the database is open. */
  readonly opened: () => OfflineEngine | null;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}

export class ObservedStore implements OfflineEngine {
  private readonly options: ObservedStoreOptions;
  /** What the last call died of, when that was the database; null when it went well. */
  failure: string | null = null;

  constructor(options: ObservedStoreOptions) {
    this.options = options;
  }

  get engine(): "sqlite" | "postgres" {
    return this.opened().engine;
  }

  archive(owner: OwnerEpoch, rows: readonly OfflineRow[]): Promise<void> {
    return this.observe("archive", (store) => store.archive(owner, rows));
  }

  archiveUnfenced(rows: readonly OfflineRow[]): Promise<void> {
    return this.observe("archive_unfenced", (store) => store.archiveUnfenced(rows));
  }

  page(userId: string, cursor: string | null, limit: number, nowS: number) {
    return this.observe("page", (store) => store.page(userId, cursor, limit, nowS));
  }

  cursorOf(userId: string, msgId: string): Promise<string | null> {
    return this.observe("cursor_of", (store) => store.cursorOf(userId, msgId));
  }

  confirm(owner: OwnerEpoch | null, confirmed: Confirmed): Promise<number> {
    return this.observe("confirm", (store) => store.confirm(owner, confirmed));
  }

  withRows(userIds: readonly string[]): Promise<string[]> {
    return this.observe("with_rows", (store) => store.withRows(userIds));
  }

  users(after: string, limit: number): Promise<string[]> {
    return this.observe("users", (store) => store.users(after, limit));
  }

  markChats(marks: readonly ChatMark[]): Promise<void> {
    return this.observe("mark_chats", (store) => store.markChats(marks));
  }

  chatMark(partition: number): Promise<KeptChatMark | null> {
    return this.observe("chat_mark", (store) => store.chatMark(partition));
  }

  reserveSeqs(partition: number, above: number, count: number): Promise<number> {
    return this.observe("reserve_seqs", (store) => store.reserveSeqs(partition, above, count));
  }

  sweep(nowS: number, limit: number): Promise<{ user_id: string; msg_id: string }[]> {
    return this.observe("sweep", (store) => store.sweep(nowS, limit));
  }

  row(userId: string, msgId: string): Promise<OfflineRow | null> {
    return this.observe("row", (store) => store.row(userId, msgId));
  }

  holders(msgId: string, limit: number): Promise<OfflineRow[]> {
    return this.observe("holders", (store) => store.holders(msgId, limit));
  }

  readonly ledger: LedgerStore = {
    add: (segments) => this.observe("ledger_add", ({ ledger }) => ledger.add(segments)),
    find: (from, hashes) => this.observe("ledger_find", ({ ledger }) => ledger.find(from, hashes)),
    trim: (before, bytes) =>
      this.observe("ledger_trim", ({ ledger }) => ledger.trim(before, bytes)),
    size: () => this.observe("ledger_trim", ({ ledger }) => ledger.size()),
  };

  count(): Promise<number> {
    return this.observe("count", (store) => store.count());
  }

  saveWindow(segments: readonly WindowSegment[]): Promise<void> {
    return this.observe("save_window", (store) => store.saveWindow(segments));
  }

  windowPage(partition: number, cursor: string | null, limit: number, nowS: number) {
    return this.observe("window_page", (store) => {
      return store.windowPage(partition, cursor, limit, nowS);
    });
  }

  sweepWindow(nowS: number, limit: number): Promise<number> {
    return this.observe("sweep_window", (store) => store.sweepWindow(nowS, limit));
  }

  close(): Promise<void> {
    return this.opened().close();
  }

  private opened(): OfflineEngine {
    const store = this.options.opened();
    if (store === null) throw new ChatifyError("unavailable", "the offline store is not open yet");
    return store;
  }

  private async observe<T>(
    operation: string,
    call: (store: OfflineEngine) => Promise<T>,
  ): Promise<T> {
    const { clock, telemetry } = this.options;
    const startedAt = clock.monotonic();
    try {
      const result = await call(this.opened());
      this.failure = null;
      return result;
    } catch (error) {
      if (error instanceof StaleEpochError) {
        telemetry.metrics.fenced.inc({ group: "push" });
      } else {
        telemetry.metrics.storeErrors.inc({ operation });
      }
      if (error instanceof ChatifyError && error.code === "unavailable") {
        this.failure = error.message;
      }
      throw error;
    } finally {
      const seconds = (clock.monotonic() - startedAt) / 1_000;
      telemetry.metrics.storeLatency.observe({ operation }, seconds);
    }
  }
}
