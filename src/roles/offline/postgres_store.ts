/**
 * The offline store in Postgres: any number of offline nodes on one database. Writes are group
 * committed into one statement each, with one such statement under way per process.
 */
import { and, asc, eq, gt, gte, or, sql } from "drizzle-orm";
import { type Clock, sleep } from "../../core/clock.ts";
import type { LedgerStore } from "../../core/ledger/store.ts";
import type {
  ChatMark,
  KeptChatMark,
  OfflinePage,
  OfflineRow,
  OwnerEpoch,
} from "../../core/offline/contract.ts";
import type { WindowPage, WindowSegment } from "../../core/offline/window_store.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import {
  checkPageLimit,
  checkWindowLimit,
  type OfflineEngine,
  positionOf,
  windowPageOf,
} from "./engine.ts";
import {
  CREATE_LEDGER,
  hashOf,
  pendingMigrations,
  READ_LEDGER,
  statementsOf,
} from "./migrations/migration.ts";
import { postgresMigrations } from "./migrations/postgres_list.ts";
import { PostgresLedger } from "./postgres_ledger.ts";
import { chatMark, keptMark, markChats, reserveSeqs } from "./postgres_marks.ts";
import { type PostgresDatabase, PostgresPool } from "./postgres_pool.ts";
import {
  type ArchiveItem,
  archiveFenced,
  archiveUnfenced,
  type ConfirmItem,
  type ConfirmResult,
  confirmRows,
  countRows,
  epochsOf,
  saveSegments,
  segmentsAfter,
  sweepExpired,
  sweepSegments,
  usersAfter,
  usersWithRows,
} from "./postgres_statements.ts";
import { archiveItem, byEpoch, ownersOf, staleness } from "./postgres_writes.ts";
import { offlineMessages as messages } from "./schema_postgres.ts";
import { type Confirmed, type Outcome, type Write, WriteQueue } from "./write_queue.ts";

export interface PostgresStoreOptions {
  readonly url: string;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** How long to wait for a database that is not there yet. */
  readonly openMsMax?: number;
  /** How long one call may take. */
  readonly timeoutMs?: number;
}

const OPEN_MS_MAX = 30_000;
const OPEN_RETRY_MS = 500;
/** An index on a large table takes its time, and so does waiting for the node that makes it. */
const MIGRATION_MS_MAX = 600_000;
/** Any number that all nodes agree on: one node migrates at a time. "offl" in ASCII. */
const MIGRATION_LOCK = 1_868_981_868;

/** Rejects when the database cannot be reached in time or would not keep what it confirmed. */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<OfflineEngine> {
  const { clock, openMsMax = OPEN_MS_MAX, telemetry } = options;
  const pool = new PostgresPool(options);
  const deadline = clock.monotonic() + openMsMax;
  for (;;) {
    try {
      await migrate(pool);
      await refuseVolatile(pool);
      return new PostgresStore(pool, clock);
    } catch (error) {
      const mayPass = error instanceof ChatifyError && error.retryable;
      if (!mayPass || clock.monotonic() >= deadline) {
        await pool.close();
        throw error;
      }
      telemetry.log.warn({ err: error }, "the offline database is not there yet; trying again");
      await sleep(clock, OPEN_RETRY_MS);
    }
  }
}

async function migrate(pool: PostgresPool): Promise<void> {
  const migrating = (database: PostgresDatabase) =>
    database.transaction(async (tx) => {
      await tx.execute(sql.raw(`SET LOCAL statement_timeout = ${MIGRATION_MS_MAX}`));
      await tx.execute(sql`SELECT pg_advisory_xact_lock(${sql.raw(String(MIGRATION_LOCK))})`);
      await tx.execute(sql.raw(CREATE_LEDGER));
      const ledger = await tx.execute(sql.raw(READ_LEDGER));
      const applied = ledger.map(({ tag, hash }) => ({ tag: String(tag), hash: String(hash) }));
      for (const migration of pendingMigrations(postgresMigrations, applied)) {
        for (const statement of statementsOf(migration)) await tx.execute(sql.raw(statement));
        const [tag, hash] = [migration.tag, hashOf(migration)];
        await tx.execute(sql`INSERT INTO offline_migrations (tag, hash) VALUES (${tag}, ${hash})`);
      }
    });
  await pool.run(migrating, MIGRATION_MS_MAX);
}

/** A commit that Postgres confirms before it is on disk would break the contract silently. */
async function refuseVolatile(pool: PostgresPool): Promise<void> {
  const [row] = await pool.run((database) =>
    database.execute<{ synchronous_commit: string }>(sql`SHOW synchronous_commit`),
  );
  if (row?.synchronous_commit !== "off") return;
  throw new Error("Postgres has synchronous_commit = off: turn it on for the offline database");
}

class PostgresStore implements OfflineEngine {
  readonly engine = "postgres";
  readonly ledger: LedgerStore;
  private readonly writes: WriteQueue;

  constructor(
    private readonly pool: PostgresPool,
    clock: Clock,
  ) {
    this.ledger = new PostgresLedger(pool);
    this.writes = new WriteQueue({ clock, transact: (writes) => this.transact(writes) });
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
    const ofUser = and(
      eq(messages.user_id, userId),
      gt(messages.position, after),
      or(eq(messages.expire_time, 0), gte(messages.expire_time, nowS)),
    );
    // One row more than asked tells whether there is a next page.
    const found = await this.pool.run((database) =>
      database
        .select()
        .from(messages)
        .where(ofUser)
        .orderBy(asc(messages.position))
        .limit(limit + 1),
    );
    const more = found.length > limit;
    if (more) found.pop();
    const last = found.at(-1);
    const rows = found.map(({ position: _, ...row }) => row);
    return { rows, cursor: more && last !== undefined ? String(last.position) : null };
  }

  async cursorOf(userId: string, msgId: string): Promise<string | null> {
    const named = and(eq(messages.user_id, userId), eq(messages.msg_id, msgId));
    const [row] = await this.pool.run((database) =>
      database.select({ position: messages.position }).from(messages).where(named),
    );
    return row === undefined ? null : String(row.position);
  }

  async holders(msgId: string, limit: number): Promise<OfflineRow[]> {
    const found = await this.pool.run((database) =>
      database
        .select()
        .from(messages)
        .where(eq(messages.msg_id, msgId))
        .orderBy(asc(messages.user_id))
        .limit(limit),
    );
    return found.map(({ position: _, ...row }) => row);
  }

  async row(userId: string, msgId: string): Promise<OfflineRow | null> {
    const named = and(eq(messages.user_id, userId), eq(messages.msg_id, msgId));
    const [found] = await this.pool.run((database) =>
      database.select().from(messages).where(named),
    );
    if (found === undefined) return null;
    const { position: _, ...row } = found;
    return row;
  }

  async withRows(userIds: readonly string[]): Promise<string[]> {
    const rows = await this.pool.run((database) =>
      database.execute<{ user_id: string }>(usersWithRows(userIds)),
    );
    return rows.map((row) => row.user_id);
  }

  async users(after: string, limit: number): Promise<string[]> {
    const rows = await this.pool.run((database) =>
      database.execute<{ user_id: string }>(usersAfter(after, limit)),
    );
    return rows.map((row) => row.user_id);
  }

  async markChats(marks: readonly ChatMark[]): Promise<void> {
    await this.pool.run((database) => database.execute(markChats(marks)));
  }

  async chatMark(partition: number): Promise<KeptChatMark | null> {
    const [row] = await this.pool.run((database) =>
      database.execute<Record<keyof KeptChatMark, unknown>>(chatMark(partition)),
    );
    return row === undefined ? null : keptMark(row);
  }

  async reserveSeqs(partition: number, above: number, count: number): Promise<number> {
    const [row] = await this.pool.run((database) =>
      database.execute<{ ceiling: string }>(reserveSeqs(partition, above, count)),
    );
    if (row === undefined) throw new Error("Postgres returned no ceiling");
    return Number(row.ceiling);
  }

  async sweep(nowS: number, limit: number): Promise<{ user_id: string; msg_id: string }[]> {
    const swept = await this.pool.run((database) =>
      database.execute<{ user_id: string; msg_id: string }>(sweepExpired(nowS, limit)),
    );
    return swept.map(({ user_id, msg_id }) => ({ user_id, msg_id }));
  }

  async count(): Promise<number> {
    const [row] = await this.pool.run((database) =>
      database.execute<{ rows: string }>(countRows()),
    );
    return Number(row?.rows ?? 0);
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
    const found = await this.pool.run((database) =>
      database.execute<{ name: string; records: string }>(
        segmentsAfter(partition, cursor ?? "", limit + 1, nowS),
      ),
    );
    const segments = found.map(({ name, records }) => ({ name, records }));
    return windowPageOf(segments, limit);
  }

  async sweepWindow(nowS: number, limit: number): Promise<number> {
    const swept = await this.pool.run((database) => database.execute(sweepSegments(nowS, limit)));
    return swept.length;
  }

  async close(): Promise<void> {
    await this.writes.close();
    await this.pool.close();
  }

  /** Everything in it may be repeated, so a failure half way is simply the failure of all. */
  private async transact(writes: readonly Write[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    for (const group of byEpoch(writes)) {
      const archives = group.filter(({ kind }) => kind === "archive");
      const confirms = group.filter(({ kind }) => kind === "confirm");
      await this.saveSegments(group);
      // A row and its confirmation in one group: the confirmation wins.
      const archived = await this.archiveAll(archives);
      const confirmed = await this.confirmAll(confirms);
      for (const write of group) {
        if (write.kind === "window") {
          outcomes.push(write.segments.length);
          continue;
        }
        const from = write.kind === "archive" ? archived : confirmed;
        outcomes.push(from.shift() as Outcome);
      }
    }
    return outcomes;
  }

  private async saveSegments(writes: readonly Write[]): Promise<void> {
    const segments = writes.flatMap((write) => (write.kind === "window" ? write.segments : []));
    if (segments.length === 0) return;
    await this.pool.run((database) => database.execute(saveSegments(segments)));
  }

  private async archiveAll(writes: readonly Write[]): Promise<Outcome[]> {
    const free: ArchiveItem[] = [];
    const fenced: ArchiveItem[] = [];
    for (const write of writes) {
      if (write.kind !== "archive") continue;
      const partition = write.owner?.partition ?? null;
      const items = partition === null ? free : fenced;
      for (const row of write.rows) items.push(archiveItem(items.length, partition, row));
    }
    if (free.length > 0) await this.pool.run((database) => database.execute(archiveUnfenced(free)));
    const owners = ownersOf(writes);
    if (owners.length === 0) return writes.map(() => 0);
    const passed = await this.pool.run((database) =>
      database.execute<{ partition: number }>(archiveFenced(owners, fenced)),
    );
    const seen = await this.laterEpochs(owners, new Set(passed.map(({ partition }) => partition)));
    return writes.map(({ owner }) => staleness(owner, seen) ?? 0);
  }

  private async confirmAll(writes: readonly Write[]): Promise<Outcome[]> {
    if (writes.length === 0) return [];
    const items: ConfirmItem[] = [];
    for (const [call, write] of writes.entries()) {
      if (write.kind !== "confirm") continue;
      const partition = write.owner?.partition ?? null;
      for (const { user_id, msg_ids } of write.confirmed) {
        for (const msg_id of msg_ids) {
          const ids = { user_id: user_id.toWellFormed(), msg_id: msg_id.toWellFormed() };
          items.push({ call, partition, ...ids });
        }
      }
    }
    const owners = ownersOf(writes);
    const result = await this.pool.run((database) =>
      database.execute<ConfirmResult>(confirmRows(owners, items)),
    );
    const seen = await this.laterEpochs(owners, new Set(result.map(({ partition }) => partition)));
    const deleted = new Map(result.map((row) => [row.call, row.deleted]));
    return writes.map(({ owner }, call) => staleness(owner, seen) ?? deleted.get(call) ?? 0);
  }

  /** Of the owners that did not pass the fence: the epochs of those that kept them out. */
  private async laterEpochs(
    owners: readonly OwnerEpoch[],
    passed: ReadonlySet<number | null>,
  ): Promise<Map<number, number>> {
    const stale = owners.map(({ partition }) => partition).filter((name) => !passed.has(name));
    if (stale.length === 0) return new Map();
    const rows = await this.pool.run((database) =>
      database.execute<{ partition: number; epoch: string }>(epochsOf(stale)),
    );
    return new Map(rows.map(({ partition, epoch }) => [partition, Number(epoch)]));
  }
}
