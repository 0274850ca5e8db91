/**
 * Pushing once: what makes a push that is asked for twice the same push, in Redis, and in memory for
 * the simulator.
 *
 * A key is reserved before anything is written, and whoever reserves it later gets what the first one
 * reserved: the ids that are to be given out. Then each partition's messages are appended together
 * with the names under which they are known there, in one step. So a request that is repeated after
 * any crash finds the same ids and completes what is missing, and nothing is appended twice. Both are
 * remembered for DEDUP_WINDOW_S.
 */
import type { PushTaskParts } from "../protocol/push_task.ts";

export interface Reservation {
  readonly taskId: string;
  /** Unix ms of the first request. */
  readonly ms: number;
  /** Of what was asked for: the same key with another one is a mistake of the caller. */
  readonly digest: string;
}

/** Messages of one partition that are appended together, once under their name. */
export interface OnceUnit extends PushTaskParts {
  readonly name: string;
  /** What `appendOnce` answers for this name, now and whenever it is asked again. */
  readonly value: string;
}

export interface PushStore {
  /** What `key` stands for: `proposal` if that is news, and null if there is none either. */
  reserve(key: string, proposal: Reservation | null): Promise<Reservation | null>;
  /** Appends the units whose names are new, as one entry; the value of each name, in their order. */
  appendOnce(partition: number, units: readonly OnceUnit[]): Promise<string[]>;
  /** Bytes that `push_task` takes in all partitions, about. */
  backlogBytes(): Promise<number>;
}
