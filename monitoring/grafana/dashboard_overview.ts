import type { DashboardSpec } from "./panel.ts";
import { quantile, rate, streams } from "./queries.ts";

const stat = { kind: "stat", width: 4 } as const;

export const overview: DashboardSpec = {
  uid: "chatify-overview",
  title: "Chatify: overview",
  rows: [
    {
      title: "Is it healthy?",
      panels: [
        {
          ...stat,
          title: "Alerts that fire",
          about: "Every one has an entry in docs/RUNBOOK.md.",
          queries: [['count(ALERTS{alertstate="firing"}) or vector(0)', ""]],
          redFrom: 1,
        },
        {
          ...stat,
          title: "Partitions without an owner",
          about: "Their messages are accepted and wait. More than a moment is an alert.",
          queries: [["max by (group) (chatify_partitions_unowned)", "{{group}}"]],
          redFrom: 1,
        },
        {
          ...stat,
          title: "Oldest unsettled",
          about: "How long the oldest entry has waited; what nobody acks is archived after 5 s.",
          unit: "s",
          queries: [["max(chatify_stream_oldest_seconds{topic=~'chat_input|push_task'})", ""]],
          redFrom: 30,
        },
        {
          ...stat,
          title: "Delivery, p99",
          about: "From accepted to the first write towards a recipient.",
          unit: "s",
          queries: [[quantile(0.99, "chatify_accepted_delivered_seconds"), ""]],
          redFrom: 1,
        },
        {
          ...stat,
          title: "Refused for our sake",
          about: "Sends per second that were refused and are to be repeated.",
          unit: "ops",
          queries: [
            [
              rate(
                'chatify_messages_rejected_total{code=~"overloaded|unavailable|outcome_unknown|internal"}',
              ),
              "",
            ],
          ],
          redFrom: 1,
        },
        {
          ...stat,
          title: "Given up",
          about: "Entries that went to dead_letter in the last hour.",
          queries: [["sum(increase(chatify_dead_letters_total[1h]))", ""]],
          redFrom: 1,
        },
      ],
    },
    {
      title: "How much?",
      panels: [
        {
          ...stat,
          title: "Live nodes",
          width: 8,
          about: "By role, as the nodes see each other.",
          queries: [["max by (role) (chatify_nodes)", "{{role}}"]],
        },
        {
          ...stat,
          title: "Connections",
          about: "Client WebSockets on all gateways.",
          queries: [["sum(chatify_connections)", ""]],
        },
        {
          ...stat,
          title: "Accepted",
          about: "Messages of users that became durable.",
          unit: "ops",
          queries: [[rate("chatify_messages_accepted_total"), ""]],
        },
        {
          ...stat,
          title: "Delivered",
          about: "Messages handed to sessions, live and replayed.",
          unit: "ops",
          queries: [[rate("chatify_messages_delivered_total"), ""]],
        },
        {
          ...stat,
          title: "Stored offline",
          about: "Rows that wait for their users.",
          queries: [["sum(chatify_offline_rows)", ""]],
        },
      ],
    },
    {
      title: "Over time",
      panels: [
        {
          title: "Messages",
          width: 12,
          unit: "ops",
          about: "In a healthy system, acked follows delivered, and delivered follows accepted.",
          queries: [
            [rate("chatify_messages_accepted_total"), "accepted"],
            [rate("chatify_messages_pushed_total"), "system push"],
            [rate("chatify_messages_delivered_total"), "delivered"],
            [rate("chatify_messages_acked_total"), "acked"],
          ],
        },
        {
          title: "Latency, p99",
          width: 12,
          unit: "s",
          about: "By stage.",
          queries: [
            [quantile(0.99, "chatify_send_accepted_seconds"), "send → accepted"],
            [quantile(0.99, "chatify_accepted_delivered_seconds"), "accepted → delivered"],
            [quantile(0.99, "chatify_delivered_acked_seconds"), "delivered → acked"],
          ],
        },
        {
          title: "Backlog",
          width: 12,
          about: "Unsettled entries by topic; each holds up to 256 messages.",
          queries: [[streams("chatify_stream_entries"), "{{topic}}"]],
        },
        {
          title: "Trouble",
          width: 12,
          unit: "ops",
          about: "Errors of any kind; all of them are zero on a good day.",
          queries: [
            [rate("chatify_redis_errors_total"), "Redis"],
            [rate("chatify_offline_store_errors_total"), "offline store"],
            [rate("chatify_drops_total"), "drops"],
            [rate("chatify_auth_failures_total"), "tokens refused"],
          ],
        },
      ],
    },
  ],
};
