/**
 * The connections of a process to Redis: one for commands (`lane`), one more for writes that wait
 * for a replica where DURABILITY asks for it, and one for each blocking reader.
 */
import type { Redis } from "ioredis";
import { sleep } from "../clock.ts";
import { LIMITS } from "../limits.ts";
import { ChatifyError } from "../protocol/errors.ts";
import { parseRedisUrl, type RedisAddress } from "./address.ts";
import { type ConnectionDeps, openConnection } from "./connection.ts";
import { Keys } from "./keys.ts";
import { Lane } from "./lane.ts";

export interface RedisDeps extends ConnectionDeps {
  /** KEY_PREFIX; empty for none. */
  readonly prefix?: string;
  /** Shorter in tests that stall the server. */
  readonly commandTimeoutMs?: number;
}

/** How long a write waits for a replica before its outcome counts as unknown. */
const REPLICA_WAIT_MS = 1_000;
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

  private readonly address: RedisAddress;

  constructor(
    url: string,
    private readonly deps: RedisDeps,
  ) {
    this.address = parseRedisUrl(url);
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
    const silenceMs = this.timeoutMs() + extraMs;
    const connection = openConnection(this.address, { name, silenceMs }, this.deps);
    this.connections.push(connection);
    return connection;
  }

  private timeoutMs(): number {
    return this.deps.commandTimeoutMs ?? LIMITS.REDIS_COMMAND_TIMEOUT_MS;
  }
}

export function createRedis(url: string, deps: RedisDeps): RedisClient {
  return new RedisClient(url, deps);
}
