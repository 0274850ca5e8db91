/**
 * Every metric of the system, in one place, with its unit in its name. No label ever holds a user,
 * group, conversation or message id, so cardinality is bounded by roles × partitions × codes.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

// From a tenth of a millisecond to a minute, about two steps per octave where people look.
const latencyBuckets = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  30, 60,
];

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const counter = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Counter<L>({ name: `chatify_${name}`, help, labelNames, registers });
  const gauge = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge<L>({ name: `chatify_${name}`, help, labelNames, registers });
  const histogram = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Histogram<L>({
      name: `chatify_${name}`,
      help,
      labelNames,
      buckets: latencyBuckets,
      registers,
    });
  return {
    registry,
    connections: gauge("connections", "Client WebSockets open on this gateway"),
    handshakes: counter("handshakes_total", "WebSocket handshakes by result", ["result"]),
    framesIn: counter("frames_in_total", "Client frames received by type", ["type"]),
    framesOut: counter("frames_out_total", "Frames queued for clients"),
    bytesIn: counter("bytes_in_total", "Bytes of client frames received"),
    bytesOut: counter("bytes_out_total", "Bytes of frames written to clients"),
    closes: counter("connection_closes_total", "Client connections closed by reason", ["reason"]),
    sessions: gauge("sessions", "Sessions held by this access node"),
    sendAccepted: histogram("send_accepted_seconds", "From a send frame to its accepted"),
    acceptedDelivered: histogram(
      "accepted_delivered_seconds",
      "From the stream entry of a message to its first write to a recipient",
    ),
    deliveredAcked: histogram("delivered_acked_seconds", "From the write to the client's ack"),
    accepted: counter("messages_accepted_total", "Messages made durable on chat_input"),
    numbered: counter("messages_numbered_total", "Messages numbered by logic", ["type"]),
    pushed: counter("messages_pushed_total", "System push messages made durable"),
    delivered: counter("messages_delivered_total", "Messages handed to a session", ["way"]),
    acked: counter("messages_acked_total", "Deliveries settled by a client's ack"),
    archived: counter("messages_archived_total", "Messages stored offline", ["reason"]),
    replayed: counter("messages_replayed_total", "Offline rows delivered in a replay"),
    rejected: counter("messages_rejected_total", "Sends refused by code", ["code"]),
    drops: counter("drops_total", "What was discarded, by reason", ["reason"]),
    duplicates: counter("duplicates_total", "Repetitions recognised, by stage", ["stage"]),
    deadLetters: counter("dead_letters_total", "Entries given up, by reason", ["reason"]),
    batch: histogram("batch_messages", "Messages per stream entry written", ["topic"]),
    streamLength: gauge("stream_entries", "Unsettled entries", ["topic", "partition"]),
    streamPending: gauge("stream_pending", "Entries read, not settled", ["topic", "partition"]),
    streamOldest: gauge("stream_oldest_seconds", "Age of the oldest unsettled entry", [
      "topic",
      "partition",
    ]),
    partitionEpoch: gauge("partition_epoch", "Epoch of a partition that this node owns", [
      "group",
      "partition",
    ]),
    takeovers: counter("partition_takeovers_total", "Partitions acquired", ["group"]),
    fenced: counter("fenced_total", "Writes refused because a later owner exists", ["group"]),
    gaps: counter("stream_gaps_total", "Ordinals that were missing in a read", ["topic"]),
    nodes: gauge("nodes", "Live nodes by role", ["role"]),
    trunkLinks: gauge("trunk_links", "Trunk links that are up"),
    trunkBytes: counter("trunk_bytes_total", "Bytes on the trunk", ["direction"]),
    offlineRows: gauge("offline_rows", "Rows in the offline store"),
    expired: counter("messages_expired_total", "Messages past their expire_time", ["stage"]),
    redisLatency: histogram("redis_seconds", "Redis round trips", ["operation"]),
    redisErrors: counter("redis_errors_total", "Redis operations that failed", ["operation"]),
    storeLatency: histogram("offline_store_seconds", "Offline store calls", ["operation"]),
    storeErrors: counter("offline_store_errors_total", "Offline store failures", ["operation"]),
    httpRequests: counter("http_requests_total", "HTTP requests", ["route", "status"]),
    authFailures: counter("auth_failures_total", "Tokens refused by reason", ["reason"]),
    dedupEntries: gauge("dedup_entries", "Client message ids remembered by this owner"),
    feeds: gauge("push_feeds", "Users with deliveries or a replay under way"),
    inFlight: gauge("push_in_flight", "Deliveries that wait for a client's ack"),
  };
}

/** Adds process and runtime metrics; apart because the simulator does without them. */
export function addProcessMetrics(metrics: Metrics): void {
  collectDefaultMetrics({ register: metrics.registry, prefix: "chatify_" });
}
