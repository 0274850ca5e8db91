import type { DashboardSpec } from "./panel.ts";
import { rate } from "./queries.ts";

export const connections: DashboardSpec = {
  uid: "chatify-connections",
  title: "Chatify: connections",
  rows: [
    {
      title: "Who is there",
      panels: [
        {
          title: "Connections by gateway",
          about: "A gateway takes 18 500 and then sends clients elsewhere.",
          queries: [["chatify_connections > 0", "{{instance}}"]],
          redFrom: 18_000,
          stacked: true,
        },
        {
          title: "Sessions by access node",
          about: "The same connections, as access has registered them.",
          queries: [["chatify_sessions > 0", "{{instance}}"]],
          stacked: true,
        },
        {
          title: "Memory per connection",
          unit: "bytes",
          about:
            "Resident memory of a gateway divided by its connections: meaningful from thousands on.",
          queries: [["chatify_memory_per_connection_bytes", "{{instance}}"]],
        },
      ],
    },
    {
      title: "Coming and going",
      panels: [
        {
          title: "Handshakes",
          unit: "ops",
          about: "By result; what is not ok is the code that the client got.",
          queries: [[rate("chatify_handshakes_total", "result"), "{{result}}"]],
        },
        {
          title: "Closes",
          unit: "ops",
          about: "By reason. `lost` is a connection that ended without a word.",
          queries: [[rate("chatify_connection_closes_total", "reason"), "{{reason}}"]],
        },
        {
          title: "Tokens and keys refused",
          unit: "ops",
          about: "By reason.",
          queries: [[rate("chatify_auth_failures_total", "reason"), "{{reason}}"]],
        },
      ],
    },
    {
      title: "What they do",
      panels: [
        {
          title: "Frames from clients",
          unit: "ops",
          about: "By type; `bad` is what is no frame.",
          queries: [[rate("chatify_frames_in_total", "type"), "{{type}}"]],
        },
        {
          title: "Frames to clients",
          unit: "ops",
          about: "Those of one turn leave as one WebSocket message.",
          queries: [[rate("chatify_frames_out_total"), "frames"]],
        },
        {
          title: "Bytes",
          unit: "Bps",
          about: "Of frames, without the overhead of WebSocket and TLS.",
          queries: [
            [rate("chatify_bytes_in_total"), "in"],
            [rate("chatify_bytes_out_total"), "out"],
          ],
        },
        {
          title: "HTTP requests",
          unit: "ops",
          about: "At gateways and at the roles behind them, by route and status.",
          queries: [[rate("chatify_http_requests_total", "route, status"), "{{status}} {{route}}"]],
        },
      ],
    },
  ],
};
