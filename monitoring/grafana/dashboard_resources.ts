import type { DashboardSpec } from "./panel.ts";
import { byProcess, quantile, rate, WINDOW } from "./queries.ts";

export const resources: DashboardSpec = {
  uid: "chatify-resources",
  title: "Chatify: resources",
  rows: [
    {
      title: "Processes",
      panels: [
        {
          title: "CPU",
          about: "Cores. A process is one thread and a little: at 1 it is full.",
          queries: [
            [
              byProcess(`rate(chatify_process_cpu_seconds_total[${WINDOW}])`),
              "{{roles}} {{instance}}",
            ],
          ],
          redFrom: 1,
        },
        {
          title: "Event-loop lag, p99",
          unit: "s",
          about: "How late a timer fires, and so everything else.",
          queries: [[quantile(0.99, "chatify_event_loop_lag_seconds", "instance"), "{{instance}}"]],
          redFrom: 0.1,
        },
        {
          title: "Resident memory",
          unit: "bytes",
          about: "Of the process, heap included.",
          queries: [[byProcess("chatify_process_resident_memory_bytes"), "{{roles}} {{instance}}"]],
        },
        {
          title: "JavaScript heap",
          unit: "bytes",
          about: "In use. What only grows is a leak.",
          queries: [[byProcess("chatify_process_heap_used_bytes"), "{{roles}} {{instance}}"]],
        },
        {
          title: "File descriptors",
          unit: "percentunit",
          about: "Of those that the process may open; every connection is one.",
          queries: [["chatify_process_open_fds / chatify_process_max_fds", "{{instance}}"]],
          redFrom: 0.9,
        },
        {
          title: "What is kept in memory",
          about: "Feeds of users at push, client message ids at logic: both are bounded.",
          queries: [
            ["sum(chatify_push_feeds)", "feeds"],
            ["sum(chatify_dedup_entries)", "client message ids"],
          ],
        },
        {
          title: "What runs",
          kind: "table",
          width: 16,
          about: "Versions by process.",
          queries: [["max by (instance, roles, version, bun) (chatify_build_info)", ""]],
        },
        {
          title: "Uptime",
          unit: "s",
          about: "Since the process started.",
          queries: [["time() - chatify_process_start_time_seconds", "{{instance}}"]],
        },
      ],
    },
    {
      title: "Redis",
      panels: [
        {
          title: "Round trip of a turn",
          unit: "s",
          about:
            "One pipeline of everything that a turn of the event loop asked for; fsync included.",
          queries: [
            [quantile(0.5, "chatify_redis_seconds", "operation"), "p50 {{operation}}"],
            [quantile(0.99, "chatify_redis_seconds", "operation"), "p99 {{operation}}"],
          ],
        },
        {
          title: "Failures",
          unit: "ops",
          about: "By operation.",
          queries: [[rate("chatify_redis_errors_total", "operation"), "{{operation}}"]],
        },
        {
          title: "Memory",
          unit: "bytes",
          about: "Used, and the limit at which Redis refuses writes.",
          queries: [["max by (kind) (chatify_redis_memory_bytes)", "{{kind}}"]],
        },
        {
          title: "Replicas",
          about: "Connected, and wanted by DURABILITY.",
          queries: [["max by (state) (chatify_redis_replicas)", "{{state}}"]],
        },
        {
          title: "Append-only file",
          about: "1: it is on, and its last write worked.",
          queries: [["min by (check) (chatify_redis_persistence)", "{{check}}"]],
        },
      ],
    },
  ],
};
