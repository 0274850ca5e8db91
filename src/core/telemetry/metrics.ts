/**
 * Every metric of the system, in the way of a message, with its unit in its name. docs/METRICS.md is
 * written from here. What one process alone reports for the whole cluster is in cluster_report.ts.
 */
import {
  AUTH_REASONS,
  CLOSE_REASONS,
  CODES,
  DROP_REASONS,
  GROUPS,
  LOSSES,
  PARTITION,
  READ_TOPICS,
  REDIS_OPERATIONS,
  ROLE_NAMES,
  ROUTE,
  STATUS,
  STORE_OPERATIONS,
  TIMED_OPERATION,
  TOPIC_NAMES,
} from "./label_values.ts";
import { MetricMaker } from "./metric_maker.ts";

// From a tenth of a millisecond to a minute, about two steps per octave where people look.
const LATENCY = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  30, 60,
];
/** Up to MESSAGES_PER_ENTRY_MAX. */
const BATCH = [1, 2, 4, 8, 16, 32, 64, 128, 256];

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const make = new MetricMaker();
  return {
    registry: make.registry,
    /** For what adds metrics of its own, and for the catalogue. */
    make,
    ...clientMetrics(make),
    ...messageMetrics(make),
    ...exceptionMetrics(make),
    ...hookMetrics(make),
    ...streamMetrics(make),
    ...clusterMetrics(make),
    ...storageMetrics(make),
  };
}

function clientMetrics(make: MetricMaker) {
  make.section("Clients, at gateway and access");
  return {
    connections: make.gauge("connections", "Client WebSockets open on this gateway"),
    handshakes: make.counter("handshakes_total", "WebSocket handshakes by result", {
      result: ["ok", ...CODES],
    }),
    framesIn: make.counter("frames_in_total", "Client frames received by type", {
      type: ["send", "ack", "typing", "read", "watch", "ping", "bad"],
    }),
    framesOut: make.counter("frames_out_total", "Frames queued for clients"),
    bytesIn: make.counter("bytes_in_total", "Bytes of client frames received"),
    bytesOut: make.counter("bytes_out_total", "Bytes of frames written to clients"),
    closes: make.counter("connection_closes_total", "Client connections closed by reason", {
      reason: CLOSE_REASONS,
    }),
    sessions: make.gauge("sessions", "Sessions held by this access node"),
    authFailures: make.counter(
      "auth_failures_total",
      "Tokens, keys and secrets refused by reason",
      {
        reason: AUTH_REASONS,
      },
    ),
    httpRequests: make.counter("http_requests_total", "HTTP requests by route and status", {
      route: ROUTE,
      status: STATUS,
    }),
  };
}

function messageMetrics(make: MetricMaker) {
  make.section("The way of a message");
  return {
    sendAccepted: make.hotHistogram(
      "send_accepted_seconds",
      "From a send frame at the gateway to its accepted",
      LATENCY,
    ),
    acceptedDelivered: make.hotHistogram(
      "accepted_delivered_seconds",
      "From the stream entry of a message to its first write towards a recipient, live ones only",
      LATENCY,
    ),
    deliveredAcked: make.hotHistogram(
      "delivered_acked_seconds",
      "From that write to the client's ack",
      LATENCY,
    ),
    accepted: make.counter("messages_accepted_total", "Messages made durable on chat_input"),
    numbered: make.counter("messages_numbered_total", "Messages numbered by logic", {
      type: ["chat"],
    }),
    pushed: make.counter("messages_pushed_total", "System push messages made durable"),
    pushWaiting: make.gauge(
      "push_waiting_messages",
      "Messages of system pushes that wait their turn at this logic node",
    ),
    pushBacklog: make.gauge(
      "push_backlog_bytes",
      "What waits in push_task, about, as this logic node saw it last; pushes wait above a bound",
    ),
    jobsRunning: make.gauge("push_jobs_running", "Push jobs that this logic node runs"),
    jobEvents: make.counter("push_jobs_total", "Push jobs that came and ended here, by event", {
      event: ["created", "finished", "cancelled"],
    }),
    jobMessages: make.counter("push_job_messages_total", "Messages of push jobs made durable"),
    delivered: make.counter("messages_delivered_total", "Messages handed to a session", {
      way: ["live", "replay"],
    }),
    acked: make.counter("messages_acked_total", "Deliveries settled by a client's ack"),
    archived: make.counter("messages_archived_total", "Messages stored offline", {
      reason: ["offline", "unacked"],
    }),
    replayed: make.counter("messages_replayed_total", "Offline rows fetched for a replay"),
    batch: make.histogram("batch_messages", "Messages per stream entry written", BATCH, {
      topic: ["chat_input", "push_task"],
    }),
    feeds: make.gauge("push_feeds", "Users whose feed this push owner keeps in memory"),
    inFlight: make.gauge("push_in_flight", "Deliveries of this push owner that are not settled"),
    dedupEntries: make.gauge("dedup_entries", "Client message ids remembered by this logic owner"),
    dedupUnsaved: make.gauge(
      "dedup_unsaved_bytes",
      "Packed client message ids that are still in Redis, and not in SQL yet; by their owner",
    ),
  };
}

/** Where a message leaves the straight way. */
function exceptionMetrics(make: MetricMaker) {
  make.section("Where a message leaves the straight way");
  return {
    rejected: make.counter("messages_rejected_total", "Sends refused by code", { code: CODES }),
    expired: make.counter("messages_expired_total", "Messages past their expire_time", {
      stage: ["push", "offline"],
    }),
    drops: make.counter("drops_total", "What was discarded, by reason; never a stored message", {
      reason: DROP_REASONS,
    }),
    duplicates: make.counter("duplicates_total", "Repetitions recognised, by stage", {
      stage: ["logic", "ack"],
    }),
    deadLetters: make.counter("dead_letters_total", "Entries given up, by reason", {
      reason: ["entry_not_decodable", "item_not_decodable", "webhook_failed"],
    }),
  };
}

function hookMetrics(make: MetricMaker) {
  make.section("Webhooks and Web Push");
  return {
    hookEvents: make.counter("webhook_events_total", "Events by what became of an attempt", {
      channel: ["webhook", "web_push"],
      outcome: ["delivered", "retried", "given_up", "cancelled", "gone"],
    }),
    hookSeconds: make.histogram("webhook_seconds", "From an attempt to its answer", LATENCY, {
      channel: ["webhook", "web_push"],
    }),
    hookWaiting: make.gauge(
      "webhook_waiting",
      "Events that wait to be told, now or later; by the node that tells them",
    ),
    gateSeconds: make.hotHistogram(
      "gate_seconds",
      "What the check before sending took, per request; messages waited for it",
      LATENCY,
    ),
    gateFailures: make.counter("gate_failures_total", "Requests to the gate without an answer"),
  };
}

function streamMetrics(make: MetricMaker) {
  make.section("Streams and partitions");
  const stream = { topic: TOPIC_NAMES, partition: PARTITION };
  return {
    streamLength: make.gauge(
      "stream_entries",
      "Entries of a stream: what is unsettled, since settled ones are deleted; by the owner",
      stream,
    ),
    streamPending: make.gauge(
      "stream_pending",
      "Entries of a stream that were read and are not settled; by the owner",
      stream,
    ),
    streamLag: make.gauge(
      "stream_lag",
      "Entries of a stream that nobody has read yet, right under trimming; by the owner",
      stream,
    ),
    streamOldest: make.gauge(
      "stream_oldest_seconds",
      "Age of the oldest entry of a stream, read or not; by the owner",
      stream,
    ),
    streamOldestPending: make.gauge(
      "stream_oldest_pending_seconds",
      "Age of the oldest entry of a stream that was read and is not settled; by the owner",
      stream,
    ),
    gaps: make.counter("stream_gaps_total", "Entries that another reader was given, by topic", {
      topic: READ_TOPICS,
    }),
    partitionEpoch: make.gauge("partition_epoch", "Epoch of a partition that this node owns", {
      group: GROUPS,
      partition: PARTITION,
    }),
    takeovers: make.counter("partition_takeovers_total", "Partitions acquired", { group: GROUPS }),
    fenced: make.counter("fenced_total", "Writes refused because a later owner exists", {
      group: GROUPS,
    }),
  };
}

function clusterMetrics(make: MetricMaker) {
  make.section("The cluster and its Redis");
  return {
    nodes: make.gauge("nodes", "Live nodes by role, as this node sees them", { role: ROLE_NAMES }),
    nodesLost: make.counter(
      "nodes_lost_total",
      "Nodes that vanished without draining, as this node saw it",
    ),
    trunkLinks: make.gauge("trunk_links", "Trunk links that are up"),
    trunkBytes: make.counter("trunk_bytes_total", "Bytes on the trunk", {
      direction: ["in", "out"],
    }),
    partitionsUnowned: make.gauge(
      "partitions_unowned",
      "Partitions that nobody owns; by the reporting node",
      { group: GROUPS },
    ),
    dataLost: make.counter(
      "redis_data_lost_total",
      "Times at which Redis had less than it had confirmed, by what showed it",
      { what: LOSSES },
    ),
    redisMemory: make.gauge(
      "redis_memory_bytes",
      "Redis: memory used, and its limit (maxmemory, else the machine's); by the reporting node",
      { kind: ["used", "limit"] },
    ),
    redisReplicas: make.gauge(
      "redis_replicas",
      "Redis: replicas connected, and wanted by DURABILITY; by the reporting node",
      { state: ["connected", "wanted"] },
    ),
    redisPersistence: make.gauge(
      "redis_persistence",
      "Redis: 1 where the append-only file is on, and where its last write worked; by the " +
        "reporting node",
      { check: ["aof_enabled", "aof_write_ok"] },
    ),
  };
}

function storageMetrics(make: MetricMaker) {
  make.section("What storage costs");
  return {
    redisLatency: make.histogram(
      "redis_seconds",
      "Redis round trips; `turn` is one pipeline of everything that one event-loop turn asked for",
      LATENCY,
      { operation: TIMED_OPERATION },
    ),
    redisErrors: make.counter("redis_errors_total", "Redis operations that failed", {
      operation: REDIS_OPERATIONS,
    }),
    ledgerEvents: make.counter("ledger_events_total", "Events that the ledger of this node took"),
    ledgerDropped: make.counter(
      "ledger_dropped_total",
      "Events of the ledger that were dropped because the store was away for too long",
    ),
    ledgerBytes: make.gauge("ledger_bytes", "Bytes of the ledger in the database, every 30 s"),
    ledgerOldest: make.gauge(
      "ledger_oldest_seconds",
      "Age of the oldest event in the ledger, every 30 s",
    ),
    offlineRows: make.gauge("offline_rows", "Rows in the offline store, counted every 30 s"),
    storeLatency: make.histogram("offline_store_seconds", "Calls to the SQL database", LATENCY, {
      operation: STORE_OPERATIONS,
    }),
    storeErrors: make.counter(
      "offline_store_errors_total",
      "Offline store failures, at the store and at the push nodes that call it",
      { operation: STORE_OPERATIONS },
    ),
  };
}
