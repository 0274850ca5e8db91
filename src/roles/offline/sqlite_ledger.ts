/**
 * The ledger in SQLite, over a connection of its own with synchronous=NORMAL: its commits are not
 * synced, because losing the last segments with the machine loses no message, and an fsync per
 * segment would hold up the event loop.
 */
import type { Database } from "bun:sqlite";
import { and, asc, eq, gt, gte, inArray, lt, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/bun-sqlite";
import { mayHold } from "../../core/ledger/id_filter.ts";
import {
  FILTERS_PAGE,
  FOUND_SEGMENTS_MAX,
  type Found,
  type LedgerSize,
  type LedgerStore,
  type Segment,
} from "../../core/ledger/store.ts";
import { ledgerSegments as segments } from "./schema_sqlite.ts";

/** Segments deleted in one transaction; each is some 100 KB at most. */
const TRIM_BATCH = 200;

export class SqliteLedger implements LedgerStore {
  private readonly statements;
  private readonly insertAll: (added: readonly Segment[]) => void;

  constructor(
    database: Database,
    private readonly guard: <T>(work: () => T) => T,
  ) {
    const db = drizzle({ client: database });
    const given = sql.placeholder;
    this.statements = {
      insert: db
        .insert(segments)
        .values({
          node: given("node"),
          number: given("number"),
          from_ms: given("from_ms"),
          to_ms: given("to_ms"),
          events: given("events"),
          bytes: given("bytes"),
          filter: given("filter"),
          body: given("body"),
        })
        .onConflictDoNothing()
        .prepare(),
      filters: db
        .select({ position: segments.position, filter: segments.filter })
        .from(segments)
        .where(and(gt(segments.position, given("after")), gte(segments.to_ms, given("from"))))
        .orderBy(asc(segments.position))
        .limit(FILTERS_PAGE)
        .prepare(),
      body: db
        .select({ node: segments.node, body: segments.body })
        .from(segments)
        .where(eq(segments.position, given("position")))
        .prepare(),
      size: db
        .select({
          count: sql<number>`count(*)`,
          bytes: sql<number>`coalesce(sum(${segments.bytes}), 0)`,
          oldest: sql<number | null>`min(${segments.from_ms})`,
        })
        .from(segments)
        .prepare(),
      oldest: db
        .select({ position: segments.position, bytes: segments.bytes })
        .from(segments)
        .orderBy(asc(segments.position))
        .limit(TRIM_BATCH)
        .prepare(),
      ended: db
        .delete(segments)
        .where(
          inArray(
            segments.position,
            db
              .select({ position: segments.position })
              .from(segments)
              .where(lt(segments.to_ms, given("before")))
              .limit(TRIM_BATCH),
          ),
        )
        .returning({ position: segments.position })
        .prepare(),
      remove: db
        .delete(segments)
        .where(eq(segments.position, given("position")))
        .prepare(),
    };
    const insertAll = database.transaction((added: readonly Segment[]) => {
      for (const segment of added) this.statements.insert.run(rowOf(segment));
    });
    this.insertAll = (added) => insertAll.immediate(added);
  }

  async add(added: readonly Segment[]): Promise<void> {
    this.guard(() => this.insertAll(added));
  }

  async find(fromMs: number, hashes: readonly number[]): Promise<Found> {
    const found: { node: string; body: Uint8Array }[] = [];
    let looked = 0;
    for (let after = 0; ; ) {
      const page = this.guard(() => this.statements.filters.all({ after, from: fromMs }));
      looked += page.length;
      for (const { filter, position } of page) {
        after = position;
        if (!hashes.some((hash) => mayHold(filter, hash))) continue;
        if (found.length === FOUND_SEGMENTS_MAX) return { segments: found, looked, cut: true };
        const row = this.guard(() => this.statements.body.get({ position }));
        if (row !== undefined) found.push(row);
      }
      if (page.length < FILTERS_PAGE) return { segments: found, looked, cut: false };
    }
  }

  async trim(beforeMs: number, bytesMax: number): Promise<number> {
    let gone = 0;
    for (let batch = TRIM_BATCH; batch === TRIM_BATCH; gone += batch) {
      batch = this.guard(() => this.statements.ended.all({ before: beforeMs })).length;
    }
    let { bytes } = await this.size();
    while (bytes > bytesMax) {
      const oldest = this.guard(() => this.statements.oldest.all());
      for (const row of oldest) {
        if (bytes <= bytesMax) break;
        this.guard(() => this.statements.remove.run({ position: row.position }));
        bytes -= row.bytes;
        gone++;
      }
      if (oldest.length === 0) break;
    }
    return gone;
  }

  async size(): Promise<LedgerSize> {
    const row = this.guard(() => this.statements.size.get());
    return { segments: row?.count ?? 0, bytes: row?.bytes ?? 0, oldestMs: row?.oldest ?? null };
  }
}

/** As the table has it; `bytes` is what the row takes, nearly. */
function rowOf({ body, events, filter, fromMs, node, number, toMs }: Segment) {
  const bytes = body.length + filter.length + node.length;
  return { node, number, from_ms: fromMs, to_ms: toMs, events, bytes, filter, body };
}
