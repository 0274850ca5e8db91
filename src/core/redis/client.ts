/**
 * Connections to Redis. A process has one for commands (`lane`), one more for writes that wait for a
 * replica where DURABILITY asks for it, and one for each blocking reader.
 *
 * Nothing is ever resent by the client: a command that was not sent rejects with `unavailable`, one
 * whose reply was lost with `outcome_unknown`, and the caller decides. A connection on which nothing
 * arrives for `commandTimeoutMs` while a reply is due is destroyed. One timer per connection does
 * that; a timer per command cost more than the command, and would have left the late reply to be
 * read by nobody.
 */
import { Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import { type Clock, sleep } from "../clock.ts";
import { LIMITS } from "../limits.ts";
import { ChatifyError } from "../protocol/errors.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { Keys } from "./keys.ts";
import { Lane } from "./lane.ts";

export interface RedisDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** KEY_PREFIX; empty for none. */
  readonly prefix?: string;
  /** Shorter in tests that stall the server. */
  readonly commandTimeoutMs?: number;
}

/** How long a write waits for a replica before its outcome counts as unknown. */
const REPLICA_WAIT_MS = 1_000;
const RECONNECT_FIRST_MS = 20;
const RECONNECT_MAX_MS = 1_000;
const CONNECT_TIMEOUT_MS = 2_000;
const READY_POLL_MS = 10;

export class RedisClient {
  readonly keys: Keys;
  readonly prefix: string;
  /** The connection under `lane`, for what brings its own pipelines (relations, the CLI). */
  readonly commands: Redis;
  readonly lane: Lane;
  private replicated: Lane | null = null;
  private readonly connections: Redis[] = [];
  private closed = false;

  constructor(
    private readonly url: string,
    private readonly deps: RedisDeps,
  ) {
    this.prefix = deps.prefix ?? "";
    this.keys = new Keys(this.prefix);
    this.commands = this.connect("commands", 0);
    this.lane = new Lane({ connection: this.commands, clock: deps.clock, metrics: deps.metrics });
  }

  /** Resolves when commands can be sent; rejects with `unavailable` after `timeoutMs`. */
  async ready(timeoutMs = 10_000): Promise<void> {
    const { clock } = this.deps;
    const deadline = clock.monotonic() + timeoutMs;
    while (!this.lane.isReady()) {
      if (clock.monotonic() > deadline || this.closed) {
        throw new ChatifyError("unavailable", `Redis did not answer within ${timeoutMs} ms`);
      }
      await sleep(clock, READY_POLL_MS);
    }
  }

  /** The lane whose writes resolve only when a replica has them; its own connection, as WAIT blocks. */
  replicatedLane(): Lane {
    const { clock, metrics } = this.deps;
    this.replicated ??= new Lane({
      connection: this.connect("replicated", REPLICA_WAIT_MS),
      clock,
      metrics,
      waitMs: REPLICA_WAIT_MS,
    });
    return this.replicated;
  }

  /** A connection of its own for a reader that blocks up to `blockMs` in one command. */
  blocking(name: string, blockMs: number): Redis {
    return this.connect(name, blockMs);
  }

  close(): void {
    this.closed = true;
    for (const connection of this.connections) connection.disconnect();
  }

  private connect(name: string, extraMs: number): Redis {
    const options = connectionOptions(name, this.timeoutMs() + extraMs);
    const connection = new Redis(redisAddress(this.url), options);
    this.connections.push(connection);
    // Without a listener ioredis writes to the console; a refused connection repeats until it works.
    connection.on("error", (error: Error) => {
      this.deps.log.debug({ err: error, connection: name }, "Redis connection failed");
    });
    connection.on("close", () => {
      // "end": somebody here closed it, and it will not come back.
      if (connection.status === "end") return;
      this.deps.metrics.redisErrors.inc({ operation: "connection" });
      this.deps.log.warn({ connection: name }, "Redis connection lost");
    });
    return connection;
  }

  private timeoutMs(): number {
    return this.deps.commandTimeoutMs ?? LIMITS.REDIS_COMMAND_TIMEOUT_MS;
  }
}

export function createRedis(url: string, deps: RedisDeps): RedisClient {
  return new RedisClient(url, deps);
}

/**
 * What ioredis takes as its first argument. redis://, rediss:// and an absolute path pass as they
 * are. A further scheme (sentinel, cluster) belongs here and in `connect`; with sentinels, set
 * `failoverDetector`, or a primary that hangs goes unnoticed.
 */
export function redisAddress(url: string): string {
  return /^(?:unix|redis\+unix):\/\/(\/.*)$/.exec(url)?.[1] ?? url;
}

function connectionOptions(name: string, silenceMs: number): Omit<RedisOptions, "replyMapping"> {
  return {
    connectionName: `chatify:${name}`,
    disableClientInfo: true,
    protocol: 2,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: silenceMs,
    retryStrategy: (times) => Math.min(RECONNECT_FIRST_MS * 2 ** (times - 1), RECONNECT_MAX_MS),
    // A primary that became a replica: leave it, so that the next connection finds the new primary.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
  };
}
