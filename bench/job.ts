/**
 * What the benchmark asks of its load generator, which is a process of its own, and what it hears
 * back: one JSON line per event.
 */
import type { ProcessCost } from "./processes.ts";

/** What the server under load speaks. */
export type DialectName = "chatify" | "socketio" | "centrifuge" | "mqtt";

interface JobBase {
  /** Where to connect, in turn. */
  readonly wsPorts: readonly number[];
  readonly path: string;
  /** Signs the users' tokens. */
  readonly secret: string;
  readonly users: number;
  /** The processes whose CPU is counted, with all that they started. */
  readonly pids: readonly number[];
  readonly warmupS: number;
  readonly seconds: number;
}

export interface ChatJob extends JobBase {
  readonly kind: "chat";
  readonly dialect: DialectName;
  /** Messages that a user has on the way at most; null: an open loop at `rate`. */
  readonly inFlight: number | null;
  /** Messages a second of all users together, in an open loop. */
  readonly rate: number;
  /** The warm-up also lasts until so many are delivered, because code gets compiled by use. */
  readonly warmupMessages: number;
  /** Measured until so many are delivered in all, if that takes longer than `seconds`. */
  readonly messagesMin: number;
  readonly bodyBytes: number;
  readonly ackMs: number;
}

export interface PushJob extends JobBase {
  readonly kind: "push";
  readonly httpPorts: readonly number[];
  readonly apiKey: string;
  /** Requests on the way at once. */
  readonly inFlight: number;
  /** False for a floor that answers requests and delivers nothing. */
  readonly delivers: boolean;
}

export interface FanoutJob extends JobBase {
  readonly kind: "fanout";
  /** Of which all users are members; the first one writes. */
  readonly group: string;
  /** False for a floor that waits for no acks. */
  readonly acks: boolean;
}

export interface ConnectJob extends JobBase {
  readonly kind: "connect";
  /** Handshakes on the way at once. */
  readonly inFlight: number;
  /** False for a floor that says nothing after its handshake. */
  readonly welcomes: boolean;
  /** Stays connected and silent for so long after the last connect. */
  readonly holdS: number;
}

export type Job = ChatJob | PushJob | FanoutJob | ConnectJob;

export interface LatencyFigures {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export interface LoadResult {
  readonly event: "result";
  /** What was done inside the measured window: messages delivered, requests, connections. */
  readonly done: number;
  readonly windowMs: number;
  readonly cpu: readonly ProcessCost[];
  /** Share of one core that the load generator used: near 1, it was the bottleneck. */
  readonly loadCpu: number;
  readonly delivery: LatencyFigures;
  /** From the send to its `sent`; only in an open loop. */
  readonly answer: LatencyFigures | null;
  /** WebSocket messages that came and acks that went inside the window; null: not counted. */
  readonly wire: { readonly received: number; readonly acks: number } | null;
  /** Over the whole run, warm-up and last acks included. */
  readonly total: number;
  readonly rejected: Readonly<Record<string, number>>;
  readonly duplicates: number;
  /** Sent and never delivered, after waiting for them. */
  readonly missing: number;
}

/** `held`: the connections have been silent for a while. */
export type LoadMoment = "connected" | "begin" | "end" | "held";

export type LoadEvent = { readonly event: LoadMoment } | LoadResult;
