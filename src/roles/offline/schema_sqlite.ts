/**
 * The tables of the offline store in SQLite. `schema_postgres.ts` holds the same ones for Postgres;
 * after a change to either run `bun run src/roles/offline/migrations/generate.ts`.
 */
import { sql } from "drizzle-orm";
import { index, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";

export const offlineMessages = sqliteTable(
  "offline_messages",
  {
    // AUTOINCREMENT: a position is never used twice, or a cursor could skip what came after it.
    position: integer("position").primaryKey({ autoIncrement: true }),
    user_id: text("user_id").notNull(),
    msg_id: text("msg_id").notNull(),
    conversation_id: text("conversation_id").notNull(),
    seq: integer("seq").notNull(),
    expire_time: integer("expire_time").notNull(),
    stored_at: integer("stored_at").notNull(),
    message: text("message").notNull(),
  },
  (table) => [
    uniqueIndex("offline_messages_user_msg").on(table.user_id, table.msg_id),
    index("offline_messages_user_position").on(table.user_id, table.position),
    // Partial: most messages never expire, and those should not pay for the sweep.
    index("offline_messages_expire").on(table.expire_time).where(sql`"expire_time" > 0`),
  ],
);

/** The latest owner of each push partition that wrote: what fences the ones before it. */
export const partitionEpochs = sqliteTable("partition_epochs", {
  partition: integer("partition").primaryKey(),
  epoch: integer("epoch").notNull(),
});
