/**
 * Makes connections. Nothing is ever resent by one: a command that was not sent rejects with
 * `unavailable`, one whose reply was lost with `outcome_unknown`, and the caller decides. A
 * connection on which nothing arrives for `silenceMs` while a reply is due is destroyed. One timer
 * per connection does that; a timer per command cost more than the command, and would have left the
 * late reply to be read by nobody.
 */
import { Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Endpoint, RedisAddress } from "./address.ts";

export interface ConnectionDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** The certificate authorities, PEM, that TLS believes instead of the machine's own. */
  readonly ca?: string | undefined;
}

export interface ConnectionOptions {
  readonly name: string;
  readonly silenceMs: number;
  /** Of several masters, the one that is meant. */
  readonly at?: Endpoint;
  /** For a connection that stays with a slot of a Redis Cluster, whoever serves it. */
  readonly follow?: Follow;
}

export interface Follow {
  locate(): Endpoint | null;
  /** Takes a MOVED reply, which `locate` then knows. */
  moved(error: Error): void;
}

type Options = Omit<RedisOptions, "replyMapping">;

const RECONNECT_FIRST_MS = 20;
const RECONNECT_MAX_MS = 1_000;
const CONNECT_TIMEOUT_MS = 2_000;
/** How long one Sentinel may take to say who is primary, before the next is asked. */
const SENTINEL_TIMEOUT_MS = 1_000;

export function openConnection(
  address: RedisAddress,
  { name, silenceMs, at, follow }: ConnectionOptions,
  deps: ConnectionDeps,
): Redis {
  const connection = new Redis({ ...common(name, silenceMs), ...placeOf(address, at, deps.ca) });
  // Without a listener ioredis writes to the console; a refused connection repeats until it works.
  connection.on("error", (error: Error) => {
    deps.log.debug({ err: error, connection: name }, "Redis connection failed");
  });
  connection.on("close", () => {
    // "end": somebody here closed it, and it will not come back.
    if (connection.status === "end") return;
    deps.metrics.redisErrors.inc({ operation: "connection" });
    deps.log.warn({ connection: name }, "Redis connection lost");
  });
  if (address.kind === "sentinel") reviveWhenEnded(connection, deps.clock);
  if (follow !== undefined) stayWith(connection, follow);
  return connection;
}

/** ioredis reads where to connect from its options, each time. */
function stayWith(connection: Redis, follow: Follow): void {
  connection.options.reconnectOnError = (error) => {
    const moved = error.message.startsWith("MOVED");
    if (moved) follow.moved(error);
    return moved || error.message.startsWith("READONLY");
  };
  connection.on("close", () => {
    const at = follow.locate();
    if (at !== null) Object.assign(connection.options, at);
  });
}

/**
 * A failover that is told to a Sentinel client while it is connecting ends it for good (ioredis 6.0:
 * `connect` finds its connector disconnected, and takes that for the caller's wish). So unless it is
 * disconnected here, it is connected again.
 */
function reviveWhenEnded(connection: Redis, clock: Clock): void {
  let wanted = true;
  const disconnect = connection.disconnect.bind(connection);
  connection.disconnect = (reconnect = false) => {
    if (!reconnect) wanted = false;
    disconnect(reconnect);
  };
  connection.on("end", () => {
    if (!wanted) return;
    clock.after(RECONNECT_FIRST_MS, () => {
      // Its failure is told by the events "error" and, again, "end".
      if (wanted && connection.status === "end") connection.connect().catch(() => {});
    });
  });
}

function placeOf(address: RedisAddress, at: Endpoint | undefined, ca: string | undefined): Options {
  const { username, password } = address;
  const who = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
  const tls = address.tls ? { tls: ca === undefined ? {} : { ca } } : {};
  if (address.kind === "sentinel") return { ...who, ...sentinels(address, tls) };
  if (address.kind === "cluster") {
    if (at === undefined)
      throw new Error("a connection to a Redis Cluster goes to one of its nodes");
    return { ...who, ...tls, host: at.host, port: at.port };
  }
  const place = typeof address.at === "string" ? { path: address.at } : { ...address.at };
  return { ...who, ...tls, ...place, db: address.db };
}

function sentinels(
  address: RedisAddress & { kind: "sentinel" },
  tls: Pick<Options, "tls">,
): Options {
  const { db, name, sentinelPassword, sentinelUsername } = address;
  return {
    sentinels: address.sentinels.map(({ host, port }) => ({ host, port })),
    name,
    db,
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    ...(tls.tls === undefined
      ? {}
      : { ...tls, sentinelTLS: tls.tls, enableTLSForSentinelMode: true }),
    sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
    sentinelRetryStrategy: backoff,
    sentinelReconnectStrategy: backoff,
    // Without it a primary that hangs, its connections open, goes unnoticed.
    failoverDetector: true,
  };
}

function common(name: string, silenceMs: number): Options {
  return {
    connectionName: `chatify:${name}`,
    disableClientInfo: true,
    protocol: 2,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: silenceMs,
    retryStrategy: backoff,
    // A primary that became a replica: leave it, so that the next connection finds the new primary.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
  };
}

function backoff(times: number): number {
  return Math.min(RECONNECT_FIRST_MS * 2 ** (times - 1), RECONNECT_MAX_MS);
}
