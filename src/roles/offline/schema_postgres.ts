/**
 * The tables of the offline store in Postgres. `schema_sqlite.ts` holds the same ones for SQLite;
 * after a change to either run `bun run src/roles/offline/migrations/generate.ts`.
 */
import { sql } from "drizzle-orm";
import {
  bigint,
  bigserial,
  boolean,
  customType,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
} from "drizzle-orm/pg-core";

const bytea = customType<{ data: Uint8Array }>({ dataType: () => "bytea" });

export const offlineMessages = pgTable(
  "offline_messages",
  {
    position: bigserial("position", { mode: "number" }).primaryKey(),
    user_id: text("user_id").notNull(),
    msg_id: text("msg_id").notNull(),
    conversation_id: text("conversation_id").notNull(),
    seq: bigint("seq", { mode: "number" }).notNull(),
    expire_time: bigint("expire_time", { mode: "number" }).notNull(),
    stored_at: bigint("stored_at", { mode: "number" }).notNull(),
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
export const chatMarks = pgTable("chat_marks", {
  partition: integer("partition").primaryKey(),
  epoch: bigint("epoch", { mode: "number" }).notNull(),
  turn: bigint("turn", { mode: "number" }).notNull(),
  top: bigint("top", { mode: "number" }).notNull(),
  closed: boolean("closed").notNull(),
  ceiling: bigint("ceiling", { mode: "number" }).notNull(),
});

/** The latest owner of each push partition that wrote: what fences the ones before it. */
export const partitionEpochs = pgTable("partition_epochs", {
  partition: integer("partition").primaryKey(),
  epoch: bigint("epoch", { mode: "number" }).notNull(),
});

/** Parts of the ledger, found by time and by what their filters say. */
export const ledgerSegments = pgTable(
  "ledger_segments",
  {
    position: bigserial("position", { mode: "number" }).primaryKey(),
    node: text("node").notNull(),
    number: bigint("number", { mode: "number" }).notNull(),
    from_ms: bigint("from_ms", { mode: "number" }).notNull(),
    to_ms: bigint("to_ms", { mode: "number" }).notNull(),
    events: integer("events").notNull(),
    bytes: integer("bytes").notNull(),
    filter: bytea("filter").notNull(),
    body: bytea("body").notNull(),
  },
  (table) => [
    uniqueIndex("ledger_segments_node_number").on(table.node, table.number),
    index("ledger_segments_to").on(table.to_ms),
  ],
);

/** Idempotency windows of logic; see core/offline/window_store.ts. */
export const windowSegments = pgTable(
  "window_segments",
  {
    partition: integer("partition").notNull(),
    name: text("name").notNull(),
    expire_at: bigint("expire_at", { mode: "number" }).notNull(),
    records: text("records").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.partition, table.name] }),
    index("window_segments_expire").on(table.expire_at),
  ],
);
