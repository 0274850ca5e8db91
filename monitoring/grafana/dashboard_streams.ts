import type { DashboardSpec } from "./panel.ts";
import { rate, streams } from "./queries.ts";

export const streamsAndPartitions: DashboardSpec = {
  uid: "chatify-streams",
  title: "Chatify: streams and partitions",
  rows: [
    {
      title: "What waits",
      panels: [
        {
          title: "Entries by topic",
          about: "Settled entries are deleted, so this is the backlog.",
          queries: [[streams("chatify_stream_entries"), "{{topic}}"]],
        },
        {
          title: "Read and not settled, and not read yet",
          about: "The part of it that an owner has in hands, and the lag.",
          queries: [
            [streams("chatify_stream_pending"), "{{topic}}"],
            [streams("chatify_stream_lag"), "{{topic}} not read"],
          ],
        },
        {
          title: "Oldest entry",
          unit: "s",
          about: "Age of the oldest unsettled entry by topic, and of the oldest that was read.",
          queries: [
            ["max by (topic) (chatify_stream_oldest_seconds)", "{{topic}}"],
            ["max by (topic) (chatify_stream_oldest_pending_seconds)", "{{topic}} read"],
          ],
          redFrom: 30,
        },
        {
          title: "Entries by partition",
          width: 12,
          about:
            "One partition that stands out is one busy conversation or user, or a stuck owner.",
          queries: [
            [
              streams('chatify_stream_entries{topic=~"chat_input|push_task"}', "topic, partition"),
              "{{topic}}:{{partition}}",
            ],
          ],
        },
        {
          title: "Oldest entry by partition",
          width: 12,
          unit: "s",
          about: "The same question, asked of age.",
          queries: [
            [
              'max by (topic, partition) (chatify_stream_oldest_seconds{topic=~"chat_input|push_task"})',
              "{{topic}}:{{partition}}",
            ],
          ],
        },
      ],
    },
    {
      title: "Who owns what",
      panels: [
        {
          title: "Partitions owned",
          about: "By node: an even spread, and all of them.",
          queries: [
            ["count by (group, instance) (chatify_partition_epoch)", "{{group}} {{instance}}"],
          ],
          stacked: true,
        },
        {
          title: "Without an owner",
          about: "More than a moment is an alert.",
          queries: [["max by (group) (chatify_partitions_unowned)", "{{group}}"]],
          redFrom: 1,
        },
        {
          title: "Take-overs",
          unit: "ops",
          about: "Partitions acquired. Many without a deployment mean that leases are lost.",
          queries: [[rate("chatify_partition_takeovers_total", "group"), "{{group}}"]],
        },
        {
          title: "Refused writes of former owners",
          unit: "ops",
          about: "The fence at work: a paused owner woke up late.",
          queries: [[rate("chatify_fenced_total", "group"), "{{group}}"]],
        },
        {
          title: "Entries given to another reader",
          unit: "ops",
          about: "Noticed and read again; follows a take-over.",
          queries: [[rate("chatify_stream_gaps_total", "topic"), "{{topic}}"]],
        },
        {
          title: "Owners and epochs",
          kind: "table",
          about: "Who owns which partition now; the epoch grows with each change.",
          queries: [["max by (group, partition, instance) (chatify_partition_epoch)", ""]],
        },
      ],
    },
    {
      title: "Nodes and links",
      panels: [
        {
          title: "Live nodes",
          about: "By role, as the nodes see each other.",
          queries: [["max by (role) (chatify_nodes)", "{{role}}"]],
        },
        {
          title: "Nodes lost",
          about: "Vanished without draining, in the last five minutes.",
          queries: [["max(increase(chatify_nodes_lost_total[5m]))", "lost"]],
          redFrom: 1,
        },
        {
          title: "Trunk links",
          about: "By node; every node is linked to every access node.",
          queries: [["chatify_trunk_links", "{{instance}}"]],
        },
        {
          title: "Trunk traffic",
          unit: "Bps",
          about: "Between nodes; each byte is counted at both ends.",
          queries: [[rate("chatify_trunk_bytes_total", "direction"), "{{direction}}"]],
        },
      ],
    },
  ],
};
