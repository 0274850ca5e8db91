import type { DashboardSpec } from "./panel.ts";
import { quantile, quantiles, rate, WINDOW } from "./queries.ts";

const batch = (part: string) => rate(`chatify_batch_messages_${part}`, "topic");

export const messageFlow: DashboardSpec = {
  uid: "chatify-message-flow",
  title: "Chatify: message flow",
  rows: [
    {
      title: "Up: gateway → access → chat_input",
      panels: [
        {
          title: "Sends received and accepted",
          unit: "ops",
          about:
            "A send is accepted when Redis has it. The difference is refused, or a repetition.",
          queries: [
            [rate('chatify_frames_in_total{type="send"}'), "received by gateways"],
            [rate("chatify_messages_accepted_total"), "accepted by access"],
          ],
        },
        {
          title: "Send → accepted",
          unit: "s",
          about: "Seen at the gateway: trunk, group commit, Redis with its fsync, and back.",
          queries: quantiles("chatify_send_accepted_seconds"),
        },
        {
          title: "Refused",
          unit: "ops",
          about: "By code. Those that are retryable are the server's fault.",
          queries: [[rate("chatify_messages_rejected_total", "code"), "{{code}}"]],
        },
      ],
    },
    {
      title: "Across: chat_input → logic → push_task",
      panels: [
        {
          title: "Numbered and pushed",
          unit: "ops",
          about: "What logic hands to push: messages of users, and system push.",
          queries: [
            [rate("chatify_messages_numbered_total"), "numbered"],
            [rate("chatify_messages_pushed_total"), "system push"],
          ],
        },
        {
          title: "Messages per entry",
          about: "Group commit: one at low load, more the longer a round trip takes.",
          queries: [[`${batch("sum")} / ${batch("count")}`, "{{topic}}"]],
        },
        {
          title: "Repetitions and dead letters",
          unit: "ops",
          about:
            "Recognised repetitions are harmless; a dead letter is a message that is not delivered.",
          queries: [
            [rate("chatify_duplicates_total", "stage"), "repeated, seen at {{stage}}"],
            [rate("chatify_dead_letters_total", "reason"), "dead letter: {{reason}}"],
          ],
        },
      ],
    },
    {
      title: "Down: push_task → push → access → gateway → client",
      panels: [
        {
          title: "Delivered and acked",
          unit: "ops",
          about: "What was delivered and not acked within 5 s is stored and comes again.",
          queries: [
            [rate("chatify_messages_delivered_total", "way"), "delivered {{way}}"],
            [rate("chatify_messages_acked_total"), "acked"],
          ],
        },
        {
          title: "Accepted → delivered",
          unit: "s",
          about: "Live messages only: waiting in both streams, numbering, the first write.",
          queries: quantiles("chatify_accepted_delivered_seconds"),
          redFrom: 1,
        },
        {
          title: "Delivered → acked",
          unit: "s",
          about: "The client's network, and the 20 ms in which clients collect their acks.",
          queries: quantiles("chatify_delivered_acked_seconds"),
        },
        {
          title: "Waiting for acks",
          about: "Deliveries that are not settled; a partition stops being read at 50 000.",
          queries: [["sum(chatify_push_in_flight)", "deliveries"]],
        },
        {
          title: "Other ways out",
          unit: "ops",
          about: "Stored for later, or past their expire_time.",
          queries: [
            [rate("chatify_messages_archived_total", "reason"), "stored: {{reason}}"],
            [rate("chatify_messages_expired_total", "stage"), "expired at {{stage}}"],
          ],
        },
        {
          title: "Drops",
          unit: "ops",
          about: "Frames that were discarded, by reason; never a stored message.",
          queries: [[`sum by (reason) (rate(chatify_drops_total[${WINDOW}]))`, "{{reason}}"]],
        },
      ],
    },
    {
      title: "Pushes and jobs",
      panels: [
        {
          title: "Pushes that wait",
          about: "To be written; more than a process takes is refused with a time to come back.",
          queries: [["sum(chatify_push_waiting_messages)", "messages"]],
        },
        {
          title: "Backlog in Redis",
          unit: "bytes",
          about: "Pushes pause at PUSH_BACKLOG_MB.",
          queries: [["max(chatify_push_backlog_bytes)", "bytes"]],
        },
        {
          title: "Jobs",
          about: "Running now, and those that began or ended in the last five minutes.",
          queries: [
            ["sum(chatify_push_jobs_running)", "running"],
            ["sum(increase(chatify_push_jobs_total[5m]))", "changed"],
          ],
        },
        {
          title: "Messages of jobs",
          unit: "ops",
          about: "What jobs have written for their recipients.",
          queries: [[rate("chatify_push_job_messages_total"), "messages"]],
        },
      ],
    },
    {
      title: "The app's backend",
      panels: [
        {
          title: "Events told",
          unit: "ops",
          about: "To webhooks and by Web Push, by what became of the attempt.",
          queries: [
            [rate("chatify_webhook_events_total", "channel, outcome"), "{{channel}} {{outcome}}"],
          ],
        },
        {
          title: "Events that wait",
          about: "To be told now or later. What grows has nobody who answers.",
          queries: [["sum(chatify_webhook_waiting)", "events"]],
        },
        {
          title: "Time to an answer, p99",
          unit: "s",
          about: "Zero while nothing is told.",
          queries: [
            [`${quantile(0.99, "chatify_webhook_seconds")} >= 0 or vector(0)`, "webhooks"],
            [`${quantile(0.99, "chatify_gate_seconds")} >= 0 or vector(0)`, "check before sending"],
          ],
        },
        {
          title: "Checks before sending without an answer",
          unit: "ops",
          about: "Messages waited for each of them in vain.",
          queries: [[rate("chatify_gate_failures_total"), "failures"]],
        },
      ],
    },
  ],
};
