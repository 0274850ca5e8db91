// Written by generate.ts; do not edit.
import type { Migration } from "./migration.ts";
import step0 from "./sqlite/0000_offline_messages.sql" with { type: "text" };
import step1 from "./sqlite/0001_ledger_segments.sql" with { type: "text" };
import step2 from "./sqlite/0002_window_segments.sql" with { type: "text" };
import step3 from "./sqlite/0003_chat_marks.sql" with { type: "text" };

export const sqliteMigrations: readonly Migration[] = [
  { tag: "0000_offline_messages", sql: step0 },
  { tag: "0001_ledger_segments", sql: step1 },
  { tag: "0002_window_segments", sql: step2 },
  { tag: "0003_chat_marks", sql: step3 },
];
