/** What a reader on Redis is given, and what it knows of each partition that it reads. */
import type { Clock } from "../clock.ts";
import type { RedisClient } from "../redis/client.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { ConsumerGroup, Topic } from "../topology.ts";
import type { ReadBatch } from "./contract.ts";
import type { OrdinalGuard } from "./ordinal_guard.ts";

export interface RedisReaderDeps {
  readonly redis: RedisClient;
  readonly nodeId: string;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly group: ConsumerGroup;
  readonly onBatch: (batches: readonly ReadBatch[]) => void;
  readonly onError: (error: Error) => void;
  /** On a Redis Cluster: the key whose server is read from. */
  readonly home: string;
  /** Ends what former owners of a partition began, before it is read. */
  readonly recover?: (partition: number) => Promise<void>;
  /** False while nothing is certainly owned. */
  readonly mayRead: () => boolean;
}

/** How often a reader that may not read looks whether it may. */
export const MAY_READ_POLL_MS = 50;

/** A partition that is assigned. */
export interface Reading {
  readonly partition: number;
  /** False until the group has been set to the start of its streams. */
  taken: boolean;
  /** Grows whenever the partition must be taken anew, so that late replies are recognised. */
  turn: number;
  paused: boolean;
  /** Read before the pause took effect; handed over at resume. */
  held: ReadBatch[];
  guards: Map<Topic, OrdinalGuard>;
  waiting: (() => void)[];
}

export function newReading(partition: number): Reading {
  return {
    partition,
    taken: false,
    turn: 0,
    paused: false,
    held: [],
    guards: new Map(),
    waiting: [],
  };
}
