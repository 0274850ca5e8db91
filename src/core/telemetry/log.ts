/**
 * The log: one JSON object a line on stdout, with the field names of the Elastic Common Schema where
 * it has one. What people wrote and what proves who they are never reaches it.
 */
import { type DestinationStream, type Logger, pino } from "pino";
import { type Clock, systemClock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Role } from "../topology.ts";
import type { TraceContext } from "./telemetry.ts";

/** Keys whose values are never logged, at up to REDACTED_DEPTH levels below the logged object. */
export const REDACTED_KEYS = [
  "apiKey",
  "apiKeys",
  "api_key",
  "authorization",
  "Authorization",
  "clusterSecret",
  "content",
  "cookie",
  "jwtSecret",
  "offlineDatabaseUrl",
  "password",
  "redisUrl",
  "sec-websocket-protocol",
  "secret",
  "token",
  "x-api-key",
] as const;

/** Each level adds a path per key to every line that is written, so it stops where logs do. */
export const REDACTED_DEPTH = 4;

export interface LogOptions {
  /** Whose lines these are; all roles of the process by default. */
  readonly role?: Role;
  /** Stdout by default, written synchronously: a crash loses no line. */
  readonly destination?: DestinationStream;
  readonly clock?: Pick<Clock, "now">;
}

export type LogConfig = Pick<Config, "logLevel" | "nodeId" | "roles">;

/**
 * A logger for a process or one role of it. Two keys are special in what it logs: `trace` (a
 * TraceContext) becomes `trace.id` and `span.id`, and `err` becomes `error.*`.
 */
export function createLog(config: LogConfig, options: LogOptions = {}): Logger {
  const clock = options.clock ?? systemClock;
  return pino(
    {
      level: config.logLevel,
      messageKey: "message",
      errorKey: "err",
      base: {
        "service.name": "chatify",
        "service.node.name": config.nodeId,
        "chatify.role": options.role ?? config.roles.join(","),
      },
      timestamp: () => `,"@timestamp":"${new Date(clock.now()).toISOString()}"`,
      formatters: { level: (label) => ({ "log.level": label }), log: renamed },
      redact: { paths: redactedPaths(), censor: "[redacted]" },
    },
    options.destination ?? pino.destination({ fd: 1, sync: true }),
  );
}

function redactedPaths(): string[] {
  const paths: string[] = [];
  for (let depth = 0, above = ""; depth <= REDACTED_DEPTH; depth++, above += "[*]") {
    for (const key of REDACTED_KEYS) paths.push(`${above}["${key}"]`);
  }
  return paths;
}

function renamed(line: Record<string, unknown>): Record<string, unknown> {
  if (!("trace" in line) && !("err" in line)) return line;
  const { trace, err, ...rest } = line;
  return { ...rest, ...traceFields(trace), ...errorFields(err) };
}

function traceFields(trace: unknown): Record<string, string> {
  const [, traceId, spanId] = typeof trace === "string" ? (trace as TraceContext).split("-") : [];
  return traceId && spanId ? { "trace.id": traceId, "span.id": spanId } : {};
}

function errorFields(err: unknown): Record<string, unknown> {
  if (err === undefined || err === null) return {};
  if (!(err instanceof Error)) return { "error.message": String(err) };
  return {
    "error.type": err.name,
    "error.message": err.message,
    "error.stack_trace": stackWithCauses(err),
    ...("code" in err ? { "error.code": err.code } : {}),
  };
}

function stackWithCauses(error: Error): string {
  const stack = error.stack ?? `${error.name}: ${error.message}`;
  return error.cause instanceof Error
    ? `${stack}\ncaused by ${stackWithCauses(error.cause)}`
    : stack;
}
