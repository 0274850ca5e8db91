/**
 * Every bound of the system, with what happens when it is reached. How they relate is asserted at
 * the end: a change that breaks a relation stops the program at start, not at three in the morning.
 * Times are milliseconds unless the name says otherwise.
 */
import { CONTENT_CHARS_MAX, ID_CHARS_MAX } from "./protocol/message.ts";

export const LIMITS = {
  /** Largest WebSocket message from a client; larger: closed with 1009. */
  FRAME_BYTES_MAX: 1_048_576,
  /** Unsent bytes per client connection; more: closed as slow_consumer, the rest replayed later. */
  CLIENT_BUFFER_BYTES_MAX: 1_048_576,
  /** Connections of one gateway process; more: 503 too_many_connections. A process has 20 000 fds. */
  CONNECTIONS_MAX: 18_500,
  /**
   * Clients that one gateway takes per second, unless ADMISSION_RATE says otherwise, and at once when
   * it was idle; more: `bye` overloaded, or 503, with a time to come back.
   */
  ADMISSIONS_PER_SECOND: 2_000,
  ADMISSIONS_BURST: 4_000,
  /** Devices of one user online at once; more: closed as too_many_devices. */
  DEVICES_PER_USER_MAX: 10,
  /** Sends per second and connection, sustained and burst; more: rejected with rate_limited. */
  MESSAGES_PER_SECOND: 200,
  MESSAGES_BURST: 1_000,
  /** Sends of one connection that wait for `accepted`; more: rejected with overloaded. */
  SENDS_IN_FLIGHT_PER_CONNECTION_MAX: 1_024,
  /** Deliveries of one session that wait for the client's ack; more wait in the user's feed. */
  UNACKED_PER_SESSION_MAX: 512,
  /** WebSocket idle time after which a silent client is closed; pings go out before that. */
  HEARTBEAT_MS: 30_000,
  CLIENT_IDLE_MS: 75_000,
  /** A client must be welcomed within this time of its handshake; else closed as server_error. */
  REGISTER_TIMEOUT_MS: 15_000,

  /** Messages that share one stream entry; more start another entry. */
  MESSAGES_PER_ENTRY_MAX: 256,
  /** Bytes of one stream entry before another one is started. */
  ENTRY_BYTES_MAX: 1_048_576,
  /** Messages waiting in one access process to be written; more: rejected with overloaded. */
  UPLINK_PENDING_MAX: 100_000,
  /** Stream entries taken per read and topic partition. */
  READ_ENTRIES_MAX: 128,
  /** How long a blocking read waits for something to read. */
  READ_BLOCK_MS: 1_000,
  /** Unsettled messages of one partition in a push owner; more: it stops reading the partition. */
  PARTITION_UNSETTLED_MAX: 50_000,
  /** Entries of dead_letter and data_report kept; more: the oldest are trimmed, and counted. */
  DEAD_LETTER_ENTRIES_MAX: 100_000,
  DATA_REPORT_ENTRIES_MAX: 1_000_000,
  /** Times an entry is tried before it is dead-lettered, when the failure is the entry's own. */
  ATTEMPTS_MAX: 3,

  /** A delivery that no device acked in this time is archived offline. */
  ACK_TIMEOUT_MS: 5_000,
  /** First and longest wait before an archived delivery is tried again on a connection that lives. */
  REDELIVER_FIRST_MS: 10_000,
  REDELIVER_MAX_MS: 120_000,
  /** Rows fetched per page of a replay. */
  REPLAY_PAGE: 256,
  /** Most rows a page of the public route holds. */
  RETRIEVE_PAGE_MAX: 1_000,

  /** A lease that is not renewed for so long may be taken over. */
  LEASE_TTL_MS: 2_000,
  LEASE_RENEW_MS: 400,
  /**
   * A node that is silent for so long is dead. What a killed one owned moves when the others have
   * heard so: at most NODE_TTL_MS + HEARTBEAT_NODE_MS after the kill, which is below 3 s.
   */
  NODE_TTL_MS: 2_400,
  HEARTBEAT_NODE_MS: 300,

  /** Unsent bytes of a trunk link; more: the link is closed. */
  TRUNK_BUFFER_BYTES_MAX: 67_108_864,
  /** Largest trunk frame; larger: the link is closed. */
  TRUNK_FRAME_BYTES_MAX: 33_554_432,
  TRUNK_PING_MS: 1_000,
  TRUNK_TIMEOUT_MS: 4_000,

  /**
   * Numbers of a chat partition that SQL has reserved beyond those given; the next are reserved when
   * half of them are used. Without any left the partition waits for SQL.
   */
  SEQS_RESERVED: 1_000_000,
  /** After a restart of Redis that nobody witnessed, so many numbers are left out. */
  SEQS_SKIPPED: 10_000,
  /** Shortest pause between two records of commits in SQL, and the longest while SQL is away. */
  CHAT_MARK_MS: 200,
  CHAT_MARK_RETRY_MS: 2_000,

  /** How long a client message id is remembered, in seconds. */
  DEDUP_WINDOW_S: 86_400,
  /** Messages that one logic owner remembers per partition; more: the oldest hours go first. */
  DEDUP_ENTRIES_MAX: 4_000_000,
  /** Age, and characters, at which a slice of a window is moved from Redis to SQL. */
  WINDOW_SLICE_MS: 5_000,
  WINDOW_SLICE_CHARS: 262_144,
  /** Conversations whose last seq one logic owner keeps in memory; more: least recent goes. */
  CONVERSATIONS_CACHED_MAX: 100_000,
  /** Users whose sessions one push owner keeps in memory; more: least recent goes. */
  PRESENCE_CACHED_MAX: 100_000,
  /** Members of a group; more: group_full. */
  GROUP_MEMBERS_MAX: 10_000,
  /** Group memberships one logic process keeps in memory; more: least recent group goes. */
  GROUP_MEMBERS_CACHED_MAX: 1_000_000,
  /** Watches of presence one push owner keeps; more are ignored, and counted. */
  WATCHES_MAX: 200_000,
  /** Recipients of one system push; more: 413. */
  PUSH_RECIPIENTS_MAX: 1_000,
  /** Messages of system pushes that one logic process writes at a time; more wait their turn. */
  PUSH_PENDING_MAX: 20_000,
  /** Messages that wait so; more: refused with overloaded at once. */
  PUSH_WAITING_MAX: 2_000_000,
  /** How long a push waits for its turn before it is refused with overloaded. */
  PUSH_WAIT_MS: 30_000,
  /** Callers whose rate of pushes is remembered; more: those seen last. */
  PUSH_CALLERS_MAX: 10_000,
  /** Tags of one user; more: conflict. */
  TAGS_PER_USER_MAX: 100,
  /** How far ahead a push job may be scheduled; further: 422. */
  JOB_START_DELAY_MAX_S: 2_592_000,
  /** Messages of one chunk of a push job, which becomes one stream entry; more make another. */
  JOB_CHUNK_MAX: 256,
  /** Chunks that a job's runner has on their way at a time; more wait in its lists. */
  JOB_CHUNKS_IN_FLIGHT_MAX: 16,
  /** A job whose runner is silent for so long is taken over by another logic node. */
  JOB_LEASE_MS: 3_000,
  JOB_TICK_MS: 500,
  /** Push jobs that have not ended; more: 429. */
  JOBS_OPEN_MAX: 1_000,
  /** Largest HTTP body; larger: 413. */
  HTTP_BODY_BYTES_MAX: 8_388_608,

  /** How long events of the ledger are only in memory: what a process that is killed takes along. */
  LEDGER_SEAL_MS: 1_000,
  /** Sealed segments that wait in one process for the store; more: dropped, and counted. */
  LEDGER_PENDING_BYTES_MAX: 16_777_216,

  /** Events that wait to be told to webhooks and Web Push; more: not taken, and counted. */
  WEBHOOK_QUEUE_MAX: 100_000,
  /** Attempts to tell an event, over some hours; after the last it goes to dead_letter. */
  WEBHOOK_ATTEMPTS_MAX: 10,
  /** Browsers of one user that Web Push reaches; more: the oldest is forgotten. */
  WEB_PUSH_SUBSCRIPTIONS_MAX: 10,

  /** Time a process has from SIGTERM to its exit. */
  DRAIN_MS: 8_000,
  /** Clients of a draining gateway are told to come back spread over this time. */
  DRAIN_SPREAD_MS: 5_000,
  /** How long one Redis command may take before its outcome counts as unknown. */
  REDIS_COMMAND_TIMEOUT_MS: 5_000,
} as const;

export type Limits = { readonly [name in keyof typeof LIMITS]: number };

/** Checks how limits relate; throws a sentence that names both sides. */
export function assertLimits(limits: Limits): void {
  const rules: [ok: boolean, rule: string][] = [
    [limits.LEASE_RENEW_MS * 3 < limits.LEASE_TTL_MS, "a lease survives two missed renewals"],
    [limits.HEARTBEAT_NODE_MS * 3 < limits.NODE_TTL_MS, "a node survives two missed heartbeats"],
    [limits.LEASE_TTL_MS < limits.NODE_TTL_MS, "a lease ends before its node is declared dead"],
    [limits.NODE_TTL_MS + limits.HEARTBEAT_NODE_MS < 3_000, "work of a dead node moves within 3 s"],
    [limits.HEARTBEAT_MS * 2 < limits.CLIENT_IDLE_MS, "a client survives a missed heartbeat"],
    [limits.ADMISSIONS_BURST < limits.CONNECTIONS_MAX, "a burst of clients fits a gateway"],
    [limits.FRAME_BYTES_MAX > CONTENT_CHARS_MAX * 4, "a frame holds the largest content"],
    [limits.ENTRY_BYTES_MAX > CONTENT_CHARS_MAX * 6, "an entry holds the largest message"],
    [limits.TRUNK_FRAME_BYTES_MAX > limits.ENTRY_BYTES_MAX, "a trunk frame holds an entry"],
    [limits.TRUNK_BUFFER_BYTES_MAX > limits.TRUNK_FRAME_BYTES_MAX, "a link buffers a frame"],
    [limits.TRUNK_PING_MS * 3 < limits.TRUNK_TIMEOUT_MS, "a link survives two missed pings"],
    [limits.UNACKED_PER_SESSION_MAX >= limits.REPLAY_PAGE, "a session's window holds a page"],
    [limits.ACK_TIMEOUT_MS < limits.REDELIVER_FIRST_MS, "archiving comes before redelivery"],
    [limits.GROUP_MEMBERS_MAX * (ID_CHARS_MAX + 3) < 8_388_608, "a group's fan-out fits an entry"],
    [limits.PUSH_RECIPIENTS_MAX <= limits.PUSH_PENDING_MAX, "the largest push can be written"],
    [limits.JOB_TICK_MS * 3 < limits.JOB_LEASE_MS, "a job's runner survives two missed renewals"],
    [limits.JOB_CHUNK_MAX <= limits.MESSAGES_PER_ENTRY_MAX, "an entry holds a job's chunk"],
    [limits.WINDOW_SLICE_CHARS * 4 < limits.HTTP_BODY_BYTES_MAX, "a body holds a window's slice"],
    [limits.READ_BLOCK_MS < limits.REDIS_COMMAND_TIMEOUT_MS, "a blocked read is not a timeout"],
  ];
  for (const [ok, rule] of rules) if (!ok) throw new Error(`limits contradict: ${rule}`);
}
