/**
 * What a label may hold. A list is exact; a pattern is for what has no list and is bounded all the
 * same. Nothing here can hold the id of a user, group, conversation, message or connection, so the
 * number of series is bounded by roles × partitions × codes.
 */
import { CLOSE_CODES, ERRORS } from "../protocol/errors.ts";
import { GROUP_TOPICS, ROLES, TOPICS } from "../topology.ts";

export interface LabelPattern {
  readonly pattern: RegExp;
  /** The same in words, for docs/METRICS.md. */
  readonly takes: string;
}

export type LabelValues = readonly string[] | LabelPattern;

export const CODES = Object.keys(ERRORS);
export const CLOSE_REASONS = [...Object.keys(CLOSE_CODES), "lost", "client"];
export const ROLE_NAMES: readonly string[] = ROLES;
export const GROUPS = Object.keys(GROUP_TOPICS);
export const TOPIC_NAMES = Object.keys(TOPICS);
export const READ_TOPICS: readonly string[] = Object.values(GROUP_TOPICS).flat();
export const STORE_OPERATIONS = [
  "archive",
  "archive_unfenced",
  "page",
  "cursor_of",
  "confirm",
  "with_rows",
  "users",
  "mark_chats",
  "chat_mark",
  "reserve_seqs",
  "sweep",
  "count",
  "ledger_add",
  "ledger_find",
  "ledger_trim",
  "holders",
  "save_window",
  "window_page",
  "sweep_window",
  "row",
];
export const AUTH_REASONS = [
  "no_token",
  "no_credential",
  "no_scope",
  "unknown_api_key",
  "expired_api_key",
  "revoked_api_key",
  "cluster_secret",
  "trunk",
  ...CODES,
];
export const DROP_REASONS = [
  "connection_gone",
  "stale_epoch",
  "no_owner",
  "relay",
  "signal",
  "watches_full",
  "window_full",
  "webhooks_full",
];

/** What showed that Redis had lost data. */
export const LOSSES = ["nodes", "lease", "numbers", "stream", "entries"];

/** USER_PARTITIONS and CHAT_PARTITIONS are 1 024 at most. */
export const PARTITION: LabelPattern = { pattern: /^\d{1,4}$/, takes: "partition number" };
export const STATUS: LabelPattern = { pattern: /^[1-5]\d\d$/, takes: "HTTP status" };
/** A route as it is declared, with the names of its parameters and never their values. */
export const ROUTE: LabelPattern = {
  pattern: /^(other|(\/(:?[A-Za-z][A-Za-z_]*|v\d|\*))+)$/,
  takes: "route pattern",
};
/** What the program asks of Redis; a test finds those that are missing here. */
const RELATIONS_OPERATIONS = [
  "add_members",
  "block",
  "blocked_by",
  "blockers",
  "create_group",
  "delete_group",
  "group",
  "members",
  "remove_members",
  "unblock",
].map((name) => `relations_${name}`);
export const REDIS_OPERATIONS = [
  "agree",
  "api_keys",
  "append",
  "bar",
  "commit",
  "deliver",
  "finish",
  "intents",
  "prepare",
  "connection",
  "heartbeat",
  "info",
  "jobs",
  "lease",
  "leases",
  "leave",
  "load",
  "lookup",
  "map_get",
  "map_prune",
  "map_scan",
  "map_slices",
  "nodes",
  "online_count",
  "pending",
  "push",
  "read",
  "register",
  "release",
  "report_loss",
  "scan_sessions",
  "settle",
  "tags",
  "trace",
  "unblock",
  "unregister",
  "verify",
  "webhooks",
  ...RELATIONS_OPERATIONS,
];
/** A pattern although it is a list: nineteen buckets for each from the start would be too many. */
export const TIMED_OPERATION: LabelPattern = {
  pattern: new RegExp(`^(turn|${RELATIONS_OPERATIONS.join("|")})$`),
  takes: "`turn`, or an operation on relations",
};
export const VERSION_TEXT: LabelPattern = {
  pattern: /^\d{1,4}\.\d{1,4}\.\d{1,4}([-+][\w.+-]{1,16})?$/,
  takes: "version",
};
export const ROLE_LIST: LabelPattern = {
  pattern: new RegExp(`^(${ROLES.join("|")})(,(${ROLES.join("|")}))*$`),
  takes: "roles of the process",
};

export function isAllowed(values: LabelValues, value: string): boolean {
  return "pattern" in values ? values.pattern.test(value) : values.includes(value);
}
