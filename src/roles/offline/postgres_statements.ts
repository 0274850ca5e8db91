/**
 * The statements of the Postgres store that Drizzle's builder has no words for. Each is one round
 * trip and thereby one transaction: fence, write and commit. Rows travel as one JSON parameter, so
 * that the text of a statement, and with it its plan, does not depend on how many there are.
 */
import { type SQL, sql } from "drizzle-orm";
import type { OwnerEpoch } from "../../core/offline/contract.ts";
import type { WindowSegment } from "../../core/offline/window_store.ts";

/** Names the lock below among all advisory locks of the database: "chat" in ASCII. */
const GATE = sql.raw("1667785076");

/**
 * Remembers each owner's epoch and returns the partitions whose owner is not stale. The row lock is
 * held until the end, so that writes of two owners of a partition never overlap, and positions
 * become visible in their order.
 */
function fence(owners: readonly OwnerEpoch[]): SQL {
  return sql`fence AS (
    INSERT INTO partition_epochs AS held (partition, epoch)
    SELECT partition, epoch
    FROM json_to_recordset(${JSON.stringify(owners)}::text::json)
      AS owner (partition integer, epoch bigint)
    ORDER BY partition
    ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch
      WHERE held.epoch <= excluded.epoch
    RETURNING partition
  )`;
}

export interface ArchiveItem {
  /** Its place among all rows of the statement. */
  readonly n: number;
  readonly partition: number | null;
  readonly user_id: string;
  readonly msg_id: string;
  readonly conversation_id: string;
  readonly seq: number;
  readonly expire_time: number;
  readonly stored_at: number;
  readonly message: string;
}

const COLUMNS = sql.raw("user_id, msg_id, conversation_id, seq, expire_time, stored_at, message");

function archiveRows(items: readonly ArchiveItem[]): SQL {
  return sql`json_to_recordset(${JSON.stringify(items)}::text::json) AS item (
    n integer, partition integer, user_id text, msg_id text, conversation_id text,
    seq bigint, expire_time bigint, stored_at bigint, message text
  )`;
}

/**
 * Archives the rows of owners that are not stale; returns the partitions that are not. The sort
 * comes after fence and gate and before positions are drawn, so positions follow `n`.
 */
export function archiveFenced(owners: readonly OwnerEpoch[], items: readonly ArchiveItem[]): SQL {
  return sql`WITH
    gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(${GATE})),
    ${fence(owners)},
    stored AS (
      INSERT INTO offline_messages (${COLUMNS})
      SELECT ${COLUMNS} FROM gate, ${archiveRows(items)} JOIN fence USING (partition) ORDER BY n
      ON CONFLICT DO NOTHING
    )
    SELECT partition FROM fence`;
}

/**
 * Archives without an owner. There is no row to lock here, so it waits for all archiving owners and
 * they for it: a position must not become visible after a later one, or a reader would miss it.
 */
export function archiveUnfenced(items: readonly ArchiveItem[]): SQL {
  return sql`WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock(${GATE}))
    INSERT INTO offline_messages (${COLUMNS})
    SELECT ${COLUMNS} FROM gate, ${archiveRows(items)} ORDER BY n
    ON CONFLICT DO NOTHING`;
}

export interface ConfirmItem {
  /** Which of the calls in the statement it belongs to. */
  readonly call: number;
  /** Null where no owner is needed. */
  readonly partition: number | null;
  readonly user_id: string;
  readonly msg_id: string;
}

export interface ConfirmResult extends Record<string, unknown> {
  /** A partition that passed; null in a row that counts. */
  readonly partition: number | null;
  readonly call: number | null;
  readonly deleted: number;
}

/** Deletes confirmed rows; returns a row per partition that passed, and one per call that deleted. */
export function confirmRows(owners: readonly OwnerEpoch[], items: readonly ConfirmItem[]): SQL {
  return sql`WITH
    ${fence(owners)},
    gone AS (
      DELETE FROM offline_messages AS held
      USING json_to_recordset(${JSON.stringify(items)}::text::json)
        AS item (call integer, partition integer, user_id text, msg_id text)
      WHERE held.user_id = item.user_id AND held.msg_id = item.msg_id
        AND (item.partition IS NULL OR item.partition IN (SELECT partition FROM fence))
      RETURNING item.call
    )
    SELECT partition, NULL::integer AS call, 0 AS deleted FROM fence
    UNION ALL
    SELECT NULL, call, count(*)::integer FROM gone GROUP BY call`;
}

export function usersWithRows(userIds: readonly string[]): SQL {
  return sql`SELECT asked.user_id
    FROM json_array_elements_text(${JSON.stringify(userIds)}::text::json) AS asked (user_id)
    WHERE EXISTS (SELECT 1 FROM offline_messages AS held WHERE held.user_id = asked.user_id)`;
}

/** Steps from one user to the next in the index, however many rows each has. */
export function usersAfter(after: string, limit: number): SQL {
  return sql`WITH RECURSIVE held AS (
      (SELECT user_id, 1 AS n FROM offline_messages
        WHERE user_id > ${after} ORDER BY user_id LIMIT 1)
      UNION ALL
      SELECT next.user_id, held.n + 1 FROM held CROSS JOIN LATERAL (
        SELECT user_id FROM offline_messages
        WHERE user_id > held.user_id ORDER BY user_id LIMIT 1
      ) AS next WHERE held.n < ${limit}
    )
    SELECT user_id FROM held`;
}

export function epochsOf(partitions: readonly number[]): SQL {
  return sql`SELECT partition, epoch FROM partition_epochs WHERE partition IN (
    SELECT value::integer FROM json_array_elements_text(${JSON.stringify(partitions)}::text::json)
  )`;
}

/** Skips what another node deletes at the same time, so that sweeps share the work. */
export function sweepExpired(nowS: number, limit: number): SQL {
  return sql`DELETE FROM offline_messages WHERE position IN (
      SELECT position FROM offline_messages
      WHERE expire_time > 0 AND expire_time < ${nowS}
      LIMIT ${limit} FOR UPDATE SKIP LOCKED
    )
    RETURNING user_id, msg_id`;
}

/** Exact up to a million rows; above that Postgres' own estimate, because counting reads them all. */
export function countRows(): SQL {
  return sql`SELECT CASE WHEN reltuples >= 1000000 THEN reltuples::bigint
      ELSE (SELECT count(*) FROM offline_messages) END AS rows
    FROM pg_class WHERE oid = 'offline_messages'::regclass`;
}

export function saveSegments(segments: readonly WindowSegment[]): SQL {
  return sql`INSERT INTO window_segments (partition, name, expire_at, records)
    SELECT partition, name, expire_at, records
    FROM json_to_recordset(${JSON.stringify(segments)}::text::json)
      AS segment (partition integer, name text, expire_at bigint, records text)
    ON CONFLICT DO NOTHING`;
}

/** In the order of code points, as the cursor compares them, whatever the database's own order is. */
export function segmentsAfter(partition: number, after: string, limit: number, nowS: number): SQL {
  return sql`SELECT name, records FROM window_segments
    WHERE partition = ${partition} AND name COLLATE "C" > ${after} AND expire_at >= ${nowS}
    ORDER BY name COLLATE "C" LIMIT ${limit}`;
}

export function sweepSegments(nowS: number, limit: number): SQL {
  return sql`DELETE FROM window_segments WHERE (partition, name) IN (
      SELECT partition, name FROM window_segments WHERE expire_at < ${nowS}
      LIMIT ${limit} FOR UPDATE SKIP LOCKED
    )
    RETURNING name`;
}
