/**
 * The offline store in SQLite: one process, one file. bun:sqlite is synchronous, and every
 * transaction here is one synchronous function, because an asynchronous one would leave rows
 * committed when it throws.
 */
import { Database, SQLiteError } from "bun:sqlite";
import { existsSync, mkdirSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { drizzle } from "drizzle-orm/bun-sqlite";
import type { Clock } from "../../core/clock.ts";
import type { LedgerStore } from "../../core/ledger/store.ts";
import {
  type ChatMark,
  type KeptChatMark,
  type OfflinePage,
  type OfflineRow,
  type OwnerEpoch,
  StaleEpochError,
} from "../../core/offline/contract.ts";
import type { WindowPage, WindowSegment } from "../../core/offline/window_store.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import {
  checkPageLimit,
  checkWindowLimit,
  type OfflineEngine,
  positionOf,
  storeClosed,
  windowPageOf,
} from "./engine.ts";
import {
  type AppliedMigration,
  CREATE_LEDGER,
  hashOf,
  pendingMigrations,
  READ_LEDGER,
  statementsOf,
} from "./migrations/migration.ts";
import { sqliteMigrations } from "./migrations/sqlite_list.ts";
import { SqliteLedger } from "./sqlite_ledger.ts";
import { lockSqliteFile, type SqliteLock } from "./sqlite_lock.ts";
import { prepareStatements, type SqliteStatements } from "./sqlite_statements.ts";
import { type Confirmed, type Outcome, type Write, WriteQueue } from "./write_queue.ts";

/** How long a write waits, with the whole event loop, for an operator's tool to let go. */
const BUSY_TIMEOUT_MS = 500;
/** 16 MB of log between checkpoints: fewer of them gained a third in writes. */
const CHECKPOINT_PAGES = 4_000;
const CACHE_KIB = 65_536;

export interface SqliteStoreOptions {
  readonly path: string;
  readonly clock: Clock;
}

/** Throws when another process serves the file, or when it is no offline store. */
export function openSqliteStore({ path, clock }: SqliteStoreOptions): OfflineEngine {
  mkdirSync(dirname(path), { recursive: true });
  const file = realPath(path);
  const lock = lockSqliteFile(file);
  let database: Database | undefined;
  try {
    database = new Database(file, { create: true, readwrite: true, strict: true });
    database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = FULL");
    database.run(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    database.run(`PRAGMA cache_size = -${CACHE_KIB}`);
    migrate(database);
    const relaxed = new Database(file, { readwrite: true, strict: true });
    relaxed.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    relaxed.run("PRAGMA synchronous = NORMAL");
    return new SqliteStore(database, relaxed, lock, clock);
  } catch (error) {
    database?.close();
    lock.release();
    throw error;
  }
}

/** So that a symbolic link, to the file or above it, is no way around the lock. */
function realPath(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  return join(realpathSync(dirname(path)), basename(path));
}

function migrate(database: Database): void {
  database
    .transaction(() => {
      database.run(CREATE_LEDGER);
      const applied = database.query<AppliedMigration, []>(READ_LEDGER).all();
      for (const migration of pendingMigrations(sqliteMigrations, applied)) {
        for (const statement of statementsOf(migration)) database.run(statement);
        const record = "INSERT INTO offline_migrations (tag, hash) VALUES (?, ?)";
        database.run(record, [migration.tag, hashOf(migration)]);
      }
    })
    .immediate();
}

class SqliteStore implements OfflineEngine {
  readonly engine = "sqlite";
  readonly ledger: LedgerStore;
  private readonly statements: SqliteStatements;
  private readonly writes: WriteQueue;
  private readonly transact: (writes: readonly Write[]) => Outcome[];
  private rows: number;
  private closed = false;

  constructor(
    private readonly database: Database,
    private readonly relaxed: Database,
    private readonly lock: SqliteLock,
    clock: Clock,
  ) {
    this.ledger = new SqliteLedger(relaxed, (work) => this.guard(work));
    this.statements = prepareStatements(drizzle({ client: database }));
    // Counting reads every row, so it happens once; from here on this process does all the writing.
    this.rows = this.statements.count.get()?.rows ?? 0;
    const run = database.transaction((writes: readonly Write[]) => this.executeAll(writes));
    this.transact = (writes) => run.immediate(writes);
    this.writes = new WriteQueue({ clock, transact: async (writes) => this.commit(writes) });
  }

  async archive(owner: OwnerEpoch, rows: readonly OfflineRow[]): Promise<void> {
    await this.writes.submit({ kind: "archive", owner, rows });
  }

  async archiveUnfenced(rows: readonly OfflineRow[]): Promise<void> {
    await this.writes.submit({ kind: "archive", owner: null, rows });
  }

  confirm(owner: OwnerEpoch | null, confirmed: Confirmed): Promise<number> {
    return this.writes.submit({ kind: "confirm", owner, confirmed });
  }

  async page(
    userId: string,
    cursor: string | null,
    limit: number,
    nowS: number,
  ): Promise<OfflinePage> {
    checkPageLimit(limit);
    const after = positionOf(cursor);
    // One row more than asked tells whether there is a next page.
    const found = this.guard(() =>
      this.statements.page.all({ user_id: userId, after, now: nowS, limit: limit + 1 }),
    );
    const more = found.length > limit;
    if (more) found.pop();
    const last = found.at(-1);
    const rows = found.map(({ position: _, ...row }) => row);
    return { rows, cursor: more && last !== undefined ? String(last.position) : null };
  }

  async cursorOf(userId: string, msgId: string): Promise<string | null> {
    const row = this.guard(() => this.statements.position.get({ user_id: userId, msg_id: msgId }));
    return row === undefined ? null : String(row.position);
  }

  async holders(msg_id: string, limit: number): Promise<OfflineRow[]> {
    const found = this.guard(() => this.statements.holders.all({ msg_id, limit }));
    return found.map(({ position: _, ...row }) => row);
  }

  async row(user_id: string, msg_id: string): Promise<OfflineRow | null> {
    const found = this.guard(() => this.statements.row.get({ user_id, msg_id }));
    if (found === undefined) return null;
    const { position: _, ...row } = found;
    return row;
  }

  async withRows(userIds: readonly string[]): Promise<string[]> {
    return this.guard(() =>
      userIds.filter((user_id) => this.statements.exists.get({ user_id }) !== undefined),
    );
  }

  async users(after: string, limit: number): Promise<string[]> {
    const found = this.guard(() => this.statements.users.all({ after, limit }));
    return found.map(({ user_id }) => user_id);
  }

  async markChats(marks: readonly ChatMark[]): Promise<void> {
    const all = this.database.transaction(() => {
      for (const mark of marks) this.statements.mark.run({ ...mark });
    });
    this.guard(() => all.immediate());
  }

  async chatMark(partition: number): Promise<KeptChatMark | null> {
    return this.guard(() => this.statements.marked.get({ partition })) ?? null;
  }

  async reserveSeqs(partition: number, above: number, count: number): Promise<number> {
    const row = this.guard(() => this.statements.reserve.get({ partition, above, count }));
    if (row === undefined) throw new Error("SQLite returned no ceiling");
    return row.ceiling;
  }

  async sweep(nowS: number, limit: number): Promise<{ user_id: string; msg_id: string }[]> {
    const swept = this.guard(() => this.statements.sweep.all({ now: nowS, limit }));
    this.rows -= swept.length;
    return swept;
  }

  async count(): Promise<number> {
    return this.guard(() => this.rows);
  }

  async saveWindow(segments: readonly WindowSegment[]): Promise<void> {
    await this.writes.submit({ kind: "window", owner: null, segments });
  }

  async windowPage(
    partition: number,
    cursor: string | null,
    limit: number,
    nowS: number,
  ): Promise<WindowPage> {
    checkWindowLimit(limit);
    // No name is before the empty one.
    const asked = { partition, after: cursor ?? "", now: nowS, limit: limit + 1 };
    return windowPageOf(
      this.guard(() => this.statements.segments.all(asked)),
      limit,
    );
  }

  async sweepWindow(nowS: number, limit: number): Promise<number> {
    return this.guard(() => this.statements.sweepSegments.all({ now: nowS, limit }).length);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    await this.writes.close();
    this.closed = true;
    this.relaxed.close();
    this.database.close();
    this.lock.release();
  }

  private commit(writes: readonly Write[]): Outcome[] {
    const outcomes = this.guard(() => this.transact(writes));
    for (const [i, outcome] of outcomes.entries()) {
      if (typeof outcome !== "number") continue;
      if (writes[i]?.kind === "archive") this.rows += outcome;
      else if (writes[i]?.kind === "confirm") this.rows -= outcome;
    }
    return outcomes;
  }

  private executeAll(writes: readonly Write[]): Outcome[] {
    return writes.map((write) => {
      const later = write.owner === null ? 0 : this.laterThan(write.owner);
      if (write.owner !== null && later > 0) return new StaleEpochError(write.owner, later);
      const before = this.changes();
      if (write.kind === "archive") {
        for (const row of write.rows) this.statements.insert.run({ ...row });
      } else if (write.kind === "window") {
        for (const segment of write.segments) this.statements.saveSegment.run({ ...segment });
      } else {
        for (const { user_id, msg_ids } of write.confirmed) {
          for (const msg_id of msg_ids) this.statements.remove.run({ user_id, msg_id });
        }
      }
      return this.changes() - before;
    });
  }

  /** The epoch of a later owner; 0 when there was none, and then this one is remembered. */
  private laterThan({ partition, epoch }: OwnerEpoch): number {
    const seen = this.statements.epoch.get({ partition })?.epoch;
    if (seen !== undefined && seen > epoch) return seen;
    if (seen !== epoch) this.statements.setEpoch.run({ partition, epoch });
    return 0;
  }

  private changes(): number {
    return this.statements.changes.get()?.total ?? 0;
  }

  private guard<T>(work: () => T): T {
    if (this.closed) throw storeClosed();
    try {
      return work();
    } catch (error) {
      throw storeError(error);
    }
  }
}

/**
 * What the machine did to the file (busy, disk full, I/O error, corrupt, taken away) is expected and
 * may pass; anything else is a bug of this file. https://www.sqlite.org/rescode.html
 */
const UNAVAILABLE = /^SQLITE_(BUSY|LOCKED|FULL|IOERR|CANTOPEN|READONLY|NOMEM|CORRUPT|NOTADB|PERM)/;

function storeError(error: unknown): unknown {
  const cause = error instanceof Error && error.cause instanceof SQLiteError ? error.cause : error;
  if (!(cause instanceof SQLiteError) || !UNAVAILABLE.test(cause.code ?? "")) return error;
  return new ChatifyError("unavailable", `the offline store failed: ${cause.message}`, 1_000);
}
