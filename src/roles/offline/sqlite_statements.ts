/** The statements of the SQLite store, compiled once: building one costs more than running it. */
import { and, asc, eq, gt, gte, inArray, lt, or, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import { offlineMessages as messages, partitionEpochs, windowSegments } from "./schema_sqlite.ts";
import { prepareMarks } from "./sqlite_marks.ts";

export type SqliteStatements = ReturnType<typeof prepareStatements>;

const given = sql.placeholder;

export function prepareStatements(db: BunSQLiteDatabase) {
  return { ...prepareWrites(db), ...prepareReads(db), ...prepareWindows(db), ...prepareMarks(db) };
}

function prepareWindows(db: BunSQLiteDatabase) {
  const { expire_at, name, partition, records } = windowSegments;
  const oldestExpired = db
    .select({ row: sql`rowid` })
    .from(windowSegments)
    .where(lt(expire_at, given("now")))
    .limit(given("limit"));
  return {
    saveSegment: db
      .insert(windowSegments)
      .values({
        partition: given("partition"),
        name: given("name"),
        expire_at: given("expire_at"),
        records: given("records"),
      })
      .onConflictDoNothing()
      .prepare(),
    segments: db
      .select({ name, records })
      .from(windowSegments)
      .where(
        and(
          eq(partition, given("partition")),
          gt(name, given("after")),
          gte(expire_at, given("now")),
        ),
      )
      .orderBy(asc(name))
      .limit(given("limit"))
      .prepare(),
    sweepSegments: db
      .delete(windowSegments)
      .where(inArray(sql`rowid`, oldestExpired))
      .returning({ name })
      .prepare(),
  };
}

function prepareWrites(db: BunSQLiteDatabase) {
  // The zero is literal, or SQLite could not tell that the partial index covers this.
  const expired = and(sql`${messages.expire_time} > 0`, lt(messages.expire_time, given("now")));
  const oldestExpired = db
    .select({ position: messages.position })
    .from(messages)
    .where(expired)
    .limit(given("limit"));
  return {
    insert: db
      .insert(messages)
      .values({
        user_id: given("user_id"),
        msg_id: given("msg_id"),
        conversation_id: given("conversation_id"),
        seq: given("seq"),
        expire_time: given("expire_time"),
        stored_at: given("stored_at"),
        message: given("message"),
      })
      .onConflictDoNothing()
      .prepare(),
    remove: db
      .delete(messages)
      .where(and(eq(messages.user_id, given("user_id")), eq(messages.msg_id, given("msg_id"))))
      .prepare(),
    setEpoch: db
      .insert(partitionEpochs)
      .values({ partition: given("partition"), epoch: given("epoch") })
      .onConflictDoUpdate({
        target: partitionEpochs.partition,
        set: { epoch: sql`excluded.epoch` },
      })
      .prepare(),
    sweep: db
      .delete(messages)
      .where(inArray(messages.position, oldestExpired))
      .returning({ user_id: messages.user_id, msg_id: messages.msg_id })
      .prepare(),
  };
}

function prepareReads(db: BunSQLiteDatabase) {
  return {
    epoch: db
      .select({ epoch: partitionEpochs.epoch })
      .from(partitionEpochs)
      .where(eq(partitionEpochs.partition, given("partition")))
      .prepare(),
    page: db
      .select()
      .from(messages)
      .where(
        and(
          eq(messages.user_id, given("user_id")),
          gt(messages.position, given("after")),
          or(eq(messages.expire_time, 0), gte(messages.expire_time, given("now"))),
        ),
      )
      .orderBy(asc(messages.position))
      .limit(given("limit"))
      .prepare(),
    position: db
      .select({ position: messages.position })
      .from(messages)
      .where(and(eq(messages.user_id, given("user_id")), eq(messages.msg_id, given("msg_id"))))
      .prepare(),
    row: db
      .select()
      .from(messages)
      .where(and(eq(messages.user_id, given("user_id")), eq(messages.msg_id, given("msg_id"))))
      .prepare(),
    holders: db
      .select()
      .from(messages)
      .where(eq(messages.msg_id, given("msg_id")))
      .orderBy(asc(messages.user_id))
      .limit(given("limit"))
      .prepare(),
    exists: db
      .select({ found: sql<number>`1` })
      .from(messages)
      .where(eq(messages.user_id, given("user_id")))
      .limit(1)
      .prepare(),
    users: db
      .selectDistinct({ user_id: messages.user_id })
      .from(messages)
      .where(gt(messages.user_id, given("after")))
      .orderBy(asc(messages.user_id))
      .limit(given("limit"))
      .prepare(),
    count: db.select({ rows: sql<number>`count(*)` }).from(messages).prepare(),
    // Rows that this connection has changed so far: what a write changed is the difference.
    changes: db.select({ total: sql<number>`total_changes()` }).from(sql`(select 1)`).prepare(),
  };
}
