/**
 * The connections of a process to Redis: one for commands (`lane`), one more for writes that wait
 * for a replica where DURABILITY asks for it, and one for each blocking reader. On a Redis Cluster
 * the first two are one to each master.
 */
import type { Redis } from "ioredis";
import { sleep } from "../clock.ts";
import { LIMITS } from "../limits.ts";
import { ChatifyError } from "../protocol/errors.ts";
import { type Endpoint, parseRedisUrl, type RedisAddress } from "./address.ts";
import { ClusterLanes, ClusterMap } from "./cluster_lanes.ts";
import type { CommandLane } from "./command_lane.ts";
import { type ConnectionDeps, type ConnectionOptions, openConnection } from "./connection.ts";
import { Keys } from "./keys.ts";
import { Lane } from "./lane.ts";
import { spreadTag } from "./spread.ts";

/** What a write must have survived before it resolves. */
export type Durability = "fsync" | "replicated" | "memory";

export interface RedisDeps extends ConnectionDeps {
  /** KEY_PREFIX; empty for none. */
  readonly prefix?: string;
  /** fsync and memory differ in how Redis is configured (appendfsync always), not here. */
  readonly durability?: Durability;
  /** Shorter in tests that stall the server. */
  readonly commandTimeoutMs?: number;
}

/** How long a write waits for a replica before its outcome counts as unknown. */
const REPLICA_WAIT_MS = 1_000;
const READY_POLL_MS = 10;

export class RedisClient {
  readonly keys: Keys;
  readonly lane: CommandLane;
  /** For what must be as safe as DURABILITY says: with `replicated`, each turn of it ends with WAIT. */
  readonly durable: CommandLane;
  private readonly address: RedisAddress;
  private readonly map: ClusterMap | null;
  private readonly connections = new Set<Redis>();
  private closed = false;

  constructor(
    url: string,
    private readonly deps: RedisDeps,
  ) {
    this.address = parseRedisUrl(url);
    this.map = this.clusterMap();
    // One server is as good as another for them, and the plain numbers are easier to read.
    const tagOf = this.map === null ? String : spreadTag;
    this.keys = new Keys(deps.prefix ?? "", tagOf);
    this.lane = this.openLane("commands");
    const waits = deps.durability === "replicated";
    this.durable = waits ? this.openLane("replicated", REPLICA_WAIT_MS) : this.lane;
  }

  get isCluster(): boolean {
    return this.map !== null;
  }

  /** Resolves when commands can be sent; rejects with `unavailable` after `timeoutMs`. */
  async ready(timeoutMs = 10_000): Promise<void> {
    const { clock } = this.deps;
    const deadline = clock.monotonic() + timeoutMs;
    while (!this.lane.isReady() || !this.durable.isReady()) {
      if (clock.monotonic() > deadline || this.closed) {
        throw new ChatifyError("unavailable", `Redis did not answer within ${timeoutMs} ms`);
      }
      await sleep(clock, READY_POLL_MS);
    }
  }

  /**
   * A connection of its own for a reader that blocks up to `blockMs` in one command. On a Cluster it
   * is to whoever serves `home`, a key, and follows it when its slot moves.
   */
  blocking(name: string, blockMs: number, home: string): Redis {
    const { map } = this;
    if (map === null) return this.connect(name, blockMs);
    const at = map.locate(home) ?? this.seeds()[0];
    const follow = {
      locate: () => map.locate(home),
      moved: (error: Error) => map.trouble(error, at as Endpoint),
    };
    return this.connect(name, blockMs, { follow, ...(at === undefined ? {} : { at }) });
  }

  /** Ends the blocked read of the client with this id, at whoever serves `home`. */
  unblock(id: string, home: string): Promise<unknown> {
    const lane = this.lane instanceof ClusterLanes ? this.lane.laneOf(home) : this.lane;
    return lane?.write("unblock", "CLIENT", ["UNBLOCK", id]) ?? Promise.resolve(0);
  }

  /** One lane to each server that takes commands, for what looks at servers. */
  servers(): CommandLane[] {
    return this.lane instanceof ClusterLanes ? this.lane.lanes() : [this.lane];
  }

  close(): void {
    this.closed = true;
    this.map?.close();
    for (const connection of this.connections) connection.disconnect();
  }

  private clusterMap(): ClusterMap | null {
    return this.address.kind === "cluster" ? new ClusterMap(this.clusterDeps()) : null;
  }

  private clusterDeps() {
    const { clock, metrics } = this.deps;
    return {
      clock,
      metrics,
      seeds: this.seeds(),
      byName: this.address.tls,
      open: (name: string, extraMs: number, at: Endpoint) => this.connect(name, extraMs, { at }),
    };
  }

  private seeds(): readonly Endpoint[] {
    return this.address.kind === "cluster" ? this.address.seeds : [];
  }

  private openLane(name: string, waitMs?: number): CommandLane {
    const { clock, metrics } = this.deps;
    if (this.map !== null) return new ClusterLanes(this.map, this.clusterDeps(), name, waitMs);
    const connection = this.connect(name, waitMs ?? 0);
    return new Lane({ connection, clock, metrics, ...(waitMs === undefined ? {} : { waitMs }) });
  }

  private connect(name: string, extraMs: number, place: Place = {}): Redis {
    const silenceMs = (this.deps.commandTimeoutMs ?? LIMITS.REDIS_COMMAND_TIMEOUT_MS) + extraMs;
    const connection = openConnection(this.address, { name, silenceMs, ...place }, this.deps);
    this.connections.add(connection);
    // Those of a Cluster come and go with its masters.
    if (this.map !== null) connection.on("end", () => this.connections.delete(connection));
    return connection;
  }
}

type Place = Pick<ConnectionOptions, "at" | "follow">;

export function createRedis(url: string, deps: RedisDeps): RedisClient {
  return new RedisClient(url, deps);
}
