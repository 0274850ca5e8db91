/** The ledger in Postgres. Commits are not waited for on disk: see store.ts of the ledger. */
import { and, asc, gt, gte, inArray, sql } from "drizzle-orm";
import { mayHold } from "../../core/ledger/id_filter.ts";
import {
  FILTERS_PAGE,
  FOUND_SEGMENTS_MAX,
  type Found,
  type LedgerSize,
  type LedgerStore,
  type Segment,
} from "../../core/ledger/store.ts";
import type { PostgresPool } from "./postgres_pool.ts";
import { ledgerSegments as segments } from "./schema_postgres.ts";

const TRIM_BATCH = 500;

export class PostgresLedger implements LedgerStore {
  constructor(private readonly pool: PostgresPool) {}

  async add(added: readonly Segment[]): Promise<void> {
    const rows = added.map(({ body, events, filter, fromMs, node, number, toMs }) => {
      const bytes = body.length + filter.length + node.length;
      return { node, number, from_ms: fromMs, to_ms: toMs, events, bytes, filter, body };
    });
    await this.pool.run((database) =>
      database.transaction(async (tx) => {
        await tx.execute(sql`SET LOCAL synchronous_commit = off`);
        await tx.insert(segments).values(rows).onConflictDoNothing();
      }),
    );
  }

  async find(fromMs: number, hashes: readonly number[]): Promise<Found> {
    const found: { node: string; body: Uint8Array }[] = [];
    let looked = 0;
    for (let after = 0; ; ) {
      const page = await this.filters(after, fromMs);
      looked += page.length;
      const hits = page.filter(({ filter }) => hashes.some((hash) => mayHold(filter, hash)));
      const room = FOUND_SEGMENTS_MAX - found.length;
      found.push(...(await this.bodies(hits.slice(0, room).map(({ position }) => position))));
      if (hits.length > room) return { segments: found, looked, cut: true };
      if (page.length < FILTERS_PAGE) return { segments: found, looked, cut: false };
      after = page.at(-1)?.position ?? after;
    }
  }

  async trim(beforeMs: number, bytesMax: number): Promise<number> {
    let gone = 0;
    for (let batch = TRIM_BATCH; batch === TRIM_BATCH; gone += batch) {
      batch = (await this.removeWhere(sql`${segments.to_ms} < ${beforeMs}`)).length;
    }
    for (let { bytes } = await this.size(); bytes > bytesMax; ) {
      // So many of the oldest as are too much, each with its own share of the sum.
      const over = bytes - bytesMax;
      const removed = await this.removeWhere(sql`${segments.position} IN (
        SELECT position FROM (
          SELECT position, sum(bytes) OVER (ORDER BY position) - bytes AS before
          FROM ${segments}
        ) AS summed WHERE before < ${over})`);
      if (removed.length === 0) break;
      gone += removed.length;
      bytes -= removed.reduce((sum, row) => sum + row.bytes, 0);
    }
    return gone;
  }

  async size(): Promise<LedgerSize> {
    const [row] = await this.pool.run((database) =>
      database
        .select({
          count: sql<string>`count(*)`,
          bytes: sql<string>`coalesce(sum(${segments.bytes}), 0)`,
          oldest: sql<string | null>`min(${segments.from_ms})`,
        })
        .from(segments),
    );
    const oldest = row?.oldest ?? null;
    return {
      segments: Number(row?.count ?? 0),
      bytes: Number(row?.bytes ?? 0),
      oldestMs: oldest === null ? null : Number(oldest),
    };
  }

  private filters(after: number, fromMs: number) {
    return this.pool.run((database) =>
      database
        .select({ position: segments.position, filter: segments.filter })
        .from(segments)
        .where(and(gt(segments.position, after), gte(segments.to_ms, fromMs)))
        .orderBy(asc(segments.position))
        .limit(FILTERS_PAGE),
    );
  }

  private async bodies(positions: readonly number[]) {
    if (positions.length === 0) return [];
    return this.pool.run((database) =>
      database
        .select({ node: segments.node, body: segments.body })
        .from(segments)
        .where(inArray(segments.position, [...positions]))
        .orderBy(asc(segments.position)),
    );
  }

  /** At most TRIM_BATCH of them, the oldest first. */
  private removeWhere(condition: ReturnType<typeof sql>) {
    return this.pool.run((database) =>
      database
        .delete(segments)
        .where(
          inArray(
            segments.position,
            database
              .select({ position: segments.position })
              .from(segments)
              .where(condition)
              .orderBy(asc(segments.position))
              .limit(TRIM_BATCH),
          ),
        )
        .returning({ position: segments.position, bytes: segments.bytes }),
    );
  }
}
