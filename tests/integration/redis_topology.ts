/** A Redis as a test sees it, whatever shape it is run in. */
import type { Redis } from "ioredis";

export const TOPOLOGIES = ["single", "sentinel", "cluster"] as const;
export type TopologyKind = (typeof TOPOLOGIES)[number];

export interface RedisTopology {
  readonly kind: TopologyKind;
  /** What REDIS_URL takes. */
  readonly url: string;
  /** A connection to the server that now serves `key`, for what a test does behind the program. */
  serving(key: string): Promise<Redis>;
  /** Empties every server. */
  flush(): Promise<void>;
  /**
   * Kills the server of `key` with SIGKILL. One that has a replica is replaced by it, and comes back
   * as a replica; a single one comes back on its data. Resolves when all are in step again.
   */
  failOver(key?: string): Promise<void>;
  stop(): Promise<void>;
}
