/** The statements of the SQLite store for what is kept of chat partitions. */
import { eq, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import { chatMarks } from "./schema_sqlite.ts";

const given = sql.placeholder;

/** The commit of the row that is there, and of the one that is to replace it. */
const isLater = sql`(excluded.epoch, excluded.turn, excluded.closed) >
  (${chatMarks.epoch}, ${chatMarks.turn}, ${chatMarks.closed})`;

export function prepareMarks(db: BunSQLiteDatabase) {
  const partition = given("partition");
  return {
    mark: db
      .insert(chatMarks)
      .values({
        ...{ partition, epoch: given("epoch"), turn: given("turn"), top: given("top") },
        ...{ closed: given("closed"), ceiling: given("top") },
      })
      .onConflictDoUpdate({
        target: chatMarks.partition,
        set: {
          epoch: sql`excluded.epoch`,
          turn: sql`excluded.turn`,
          closed: sql`excluded.closed`,
          top: sql`max(excluded.top, ${chatMarks.top})`,
          ceiling: sql`max(excluded.top, ${chatMarks.ceiling})`,
        },
        setWhere: isLater,
      })
      .prepare(),
    marked: db.select().from(chatMarks).where(eq(chatMarks.partition, partition)).prepare(),
    reserve: db
      .insert(chatMarks)
      .values({
        ...{ partition, epoch: 0, turn: 0, top: 0, closed: false },
        ceiling: sql`${given("above")} + ${given("count")}`,
      })
      .onConflictDoUpdate({
        target: chatMarks.partition,
        set: { ceiling: sql`max(${chatMarks.ceiling}, ${given("above")}) + ${given("count")}` },
      })
      .returning({ ceiling: chatMarks.ceiling })
      .prepare(),
  };
}
