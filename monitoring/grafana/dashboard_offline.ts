import type { DashboardSpec } from "./panel.ts";
import { quantile, rate } from "./queries.ts";

export const offline: DashboardSpec = {
  uid: "chatify-offline",
  title: "Chatify: offline",
  rows: [
    {
      title: "In and out",
      panels: [
        {
          title: "Rows stored",
          about: "Counted every 30 s.",
          queries: [["sum(chatify_offline_rows)", "rows"]],
        },
        {
          title: "Stored",
          unit: "ops",
          about: "`offline`: no device was there. `unacked`: one was, and did not ack in 5 s.",
          queries: [[rate("chatify_messages_archived_total", "reason"), "{{reason}}"]],
        },
        {
          title: "Replayed",
          unit: "ops",
          about: "Rows fetched for users who came back, and written to their sessions.",
          queries: [
            [rate("chatify_messages_replayed_total"), "fetched"],
            [rate('chatify_messages_delivered_total{way="replay"}'), "delivered"],
          ],
        },
        {
          title: "Expired",
          unit: "ops",
          about: "Past their expire_time: in push before delivery, or in the store.",
          queries: [[rate("chatify_messages_expired_total", "stage"), "{{stage}}"]],
        },
      ],
    },
    {
      title: "The database",
      panels: [
        {
          title: "Calls",
          unit: "ops",
          about: "By operation; rows of many users share a call.",
          queries: [[rate("chatify_offline_store_seconds_count", "operation"), "{{operation}}"]],
        },
        {
          title: "Latency, p99",
          unit: "s",
          about: "By operation. `archive` and `confirm` include the write to disk.",
          queries: [
            [
              `${quantile(0.99, "chatify_offline_store_seconds", "operation")} >= 0`,
              "{{operation}}",
            ],
          ],
        },
        {
          title: "Failures",
          unit: "ops",
          about: "At the store, and at the push nodes that call it. Push repeats until it works.",
          queries: [[rate("chatify_offline_store_errors_total", "operation"), "{{operation}}"]],
        },
        {
          title: "Client message ids not in SQL yet",
          unit: "bytes",
          about: "Kept in Redis until a slice of them is written. What grows is not written.",
          queries: [["sum(chatify_dedup_unsaved_bytes)", "bytes"]],
        },
      ],
    },
    {
      title: "The ledger",
      panels: [
        {
          title: "Events written",
          unit: "ops",
          about: "What happened to messages: `bun run chatify trace` reads it.",
          queries: [[rate("chatify_ledger_events_total"), "written"]],
        },
        {
          title: "Events dropped",
          unit: "ops",
          about:
            "The ledger never holds a message up: what it cannot take in time is missing in it.",
          queries: [[rate("chatify_ledger_dropped_total"), "dropped"]],
        },
        {
          title: "Size",
          unit: "bytes",
          about: "Old segments go when it is full.",
          queries: [["max(chatify_ledger_bytes)", "bytes"]],
        },
        {
          title: "Oldest event",
          unit: "s",
          about: "How far back questions are answered.",
          queries: [["max(chatify_ledger_oldest_seconds)", "age"]],
        },
      ],
    },
  ],
};
