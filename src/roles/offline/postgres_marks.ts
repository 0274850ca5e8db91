/** The statements of the Postgres store for what is kept of chat partitions; each one round trip. */
import { type SQL, sql } from "drizzle-orm";
import type { ChatMark, KeptChatMark } from "../../core/offline/contract.ts";

/** In the order of partitions, so that two nodes that mark the same ones wait and do not deadlock. */
export function markChats(marks: readonly ChatMark[]): SQL {
  return sql`INSERT INTO chat_marks AS held (partition, epoch, turn, top, closed, ceiling)
    SELECT partition, epoch, turn, top, closed, top
    FROM json_to_recordset(${JSON.stringify(marks)}::text::json)
      AS mark (partition integer, epoch bigint, turn bigint, top bigint, closed boolean)
    ORDER BY partition
    ON CONFLICT (partition) DO UPDATE SET
      epoch = excluded.epoch, turn = excluded.turn, closed = excluded.closed,
      top = greatest(excluded.top, held.top), ceiling = greatest(excluded.top, held.ceiling)
      WHERE (held.epoch, held.turn, held.closed)
        < (excluded.epoch, excluded.turn, excluded.closed)`;
}

export function reserveSeqs(partition: number, above: number, count: number): SQL {
  return sql`INSERT INTO chat_marks AS held (partition, epoch, turn, top, closed, ceiling)
    VALUES (${partition}, 0, 0, 0, false, ${above}::bigint + ${count}::bigint)
    ON CONFLICT (partition) DO UPDATE
      SET ceiling = greatest(held.ceiling, ${above}::bigint) + ${count}::bigint
    RETURNING ceiling`;
}

export function chatMark(partition: number): SQL {
  return sql`SELECT partition, epoch, turn, top, closed, ceiling
    FROM chat_marks WHERE partition = ${partition}`;
}

/** Postgres gives 64-bit numbers as text. */
export function keptMark(row: Record<keyof KeptChatMark, unknown>): KeptChatMark {
  const { ceiling, closed, epoch, partition, top, turn } = row;
  return {
    partition: Number(partition),
    epoch: Number(epoch),
    turn: Number(turn),
    top: Number(top),
    closed: closed === true,
    ceiling: Number(ceiling),
  };
}
