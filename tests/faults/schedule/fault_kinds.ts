/** Every kind of fault that a run knows, by the name under which it is counted. */
import type { LinkFault } from "../network/link_fault.ts";

export const ROLES = ["gateway", "access", "logic", "push", "offline"] as const;
export const SIGNALS = ["SIGKILL", "SIGSTOP", "SIGTERM"] as const;

type ProcessKind = `${(typeof SIGNALS)[number]} ${(typeof ROLES)[number]}`;

export const PROCESS_KINDS: readonly ProcessKind[] = SIGNALS.flatMap((signal) =>
  ROLES.map((role) => `${signal} ${role}` as const),
);

export const OTHER_KINDS = [
  "rolling restart",
  "redis kill -9",
  "redis SIGSTOP",
  "redis DEBUG SLEEP",
  "redis CLIENT PAUSE",
  "redis CLIENT KILL",
  "redis slow script",
  "redis out of memory",
  "sql locked",
  "sql disk full",
  "network cut",
  "network one-way cut",
  "network stall",
  "network delay",
  "network throttle",
  "network byte at a time",
  "network half open",
  "network swallowed reply",
  "slow reader",
  "reconnect storm",
  "duplicate login",
  "forged acks",
  "client killed before ack",
] as const;

/** Those that need a database server. */
export const SERVER_KINDS = ["sql down", "sql frozen"] as const;

export type FaultKind = ProcessKind | (typeof OTHER_KINDS)[number] | (typeof SERVER_KINDS)[number];

export function kindsFor(backend: "sqlite" | "postgres"): FaultKind[] {
  const server = backend === "postgres" ? SERVER_KINDS : [];
  return [...PROCESS_KINDS, ...OTHER_KINDS, ...server];
}

/** The fault that a proxy is to play for a kind; null for kinds that are not the network's. */
export function linkFaultOf(kind: FaultKind, draw: number): LinkFault | null {
  switch (kind) {
    case "network cut":
      return { kind: "cut" };
    case "network one-way cut":
      return { kind: "one_way_cut", direction: draw < 0.5 ? "up" : "down" };
    case "network stall":
      return { kind: "stall" };
    case "network delay":
      return { kind: "delay", ms: 20 + draw * 380, jitterMs: 50 };
    case "network throttle":
      return { kind: "throttle", bytesPerSecond: 8_192 + draw * 65_536 };
    case "network byte at a time":
      return { kind: "byte_at_a_time" };
    case "network half open":
      return { kind: "half_open", keeps: draw < 0.5 ? "client" : "server" };
    case "network swallowed reply":
      return { kind: "swallowed_reply" };
    default:
      return null;
  }
}

/** Of processes that were killed: how long their work takes to move is measured. */
export function isKill(kind: FaultKind): boolean {
  return kind.startsWith("SIGKILL");
}
