/**
 * The tables of the offline store in SQLite. `schema_postgres.ts` holds the same ones for Postgres;
 * after a change to either run `bun run src/roles/offline/migrations/generate.ts`.
 */
import { sql } from "drizzle-orm";
import {
  blob,
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
  uniqueIndex,
} from "drizzle-orm/sqlite-core";

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
    // By message first: the ledger asks who has a message, and ids begin with their time, so that
    // new ones come at the end of the index.
    uniqueIndex("offline_messages_msg_user").on(table.msg_id, table.user_id),
    index("offline_messages_user_position").on(table.user_id, table.position),
    // Partial: most messages never expire, and those should not pay for the sweep.
    index("offline_messages_expire").on(table.expire_time).where(sql`"expire_time" > 0`),
  ],
);

/** What is kept of each chat partition beside Redis; see ChatMark. */
export const chatMarks = sqliteTable("chat_marks", {
  partition: integer("partition").primaryKey(),
  epoch: integer("epoch").notNull(),
  turn: integer("turn").notNull(),
  top: integer("top").notNull(),
  closed: integer("closed", { mode: "boolean" }).notNull(),
  ceiling: integer("ceiling").notNull(),
});

/** The latest owner of each push partition that wrote: what fences the ones before it. */
export const partitionEpochs = sqliteTable("partition_epochs", {
  partition: integer("partition").primaryKey(),
  epoch: integer("epoch").notNull(),
});

/** Parts of the ledger. The filter stands before the body, so that reading it reads no body. */
export const ledgerSegments = sqliteTable(
  "ledger_segments",
  {
    position: integer("position").primaryKey({ autoIncrement: true }),
    node: text("node").notNull(),
    number: integer("number").notNull(),
    from_ms: integer("from_ms").notNull(),
    to_ms: integer("to_ms").notNull(),
    events: integer("events").notNull(),
    bytes: integer("bytes").notNull(),
    filter: blob("filter", { mode: "buffer" }).notNull(),
    body: blob("body", { mode: "buffer" }).notNull(),
  },
  (table) => [
    uniqueIndex("ledger_segments_node_number").on(table.node, table.number),
    index("ledger_segments_to").on(table.to_ms),
  ],
);

/** Idempotency windows of logic; see core/offline/window_store.ts. */
export const windowSegments = sqliteTable(
  "window_segments",
  {
    partition: integer("partition").notNull(),
    name: text("name").notNull(),
    expire_at: integer("expire_at").notNull(),
    records: text("records").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.partition, table.name] }),
    index("window_segments_expire").on(table.expire_at),
  ],
);
