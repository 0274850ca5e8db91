/**
 * Streams: the message queue, as the roles see it. Redis Streams consumer groups in production, an
 * in-memory double in the simulator; one contract suite runs against both.
 *
 * Durability: `append` and `commit` resolve when the entries are as safe as DURABILITY says.
 * Ordering: entries of one topic partition are read in the order of their ids. Entries of two topics
 * of the same partition are read in an order that is not defined.
 * Duplicates: `append` never executes twice by itself. When its outcome is not known (the reply was
 * lost) it rejects with `outcome_unknown`, and whoever repeats it repeats the same message ids.
 * Ownership: a partition of a group is read by the one node that holds its lease. Everything the
 * owner does to Redis goes through `commit` with its epoch and is refused, as a whole, once a later
 * epoch exists. An owner that wakes up late may still have read entries: they are not lost, the
 * new owner reads every unsettled entry again, in order.
 * Settlement: an entry is settled by `commit`, which acknowledges and deletes it. Until then each new
 * owner gets it again. The length of a stream is therefore exactly what is not settled.
 */
import type { ConsumerGroup, Topic } from "../topology.ts";

export interface Append {
  readonly topic: Topic;
  readonly partition: number;
  readonly body: string;
}

export interface StreamEntry {
  /** Redis stream id, `ms-seq`; ms is when Redis took the entry. */
  readonly id: string;
  readonly body: string;
  /**
   * Position in the partition's topic, counted by `commit` from 1 without gaps; 0 where the entry
   * was written by `append`. A gap tells the reader that somebody else was given an entry.
   */
  readonly ordinal: number;
}

export interface Fence {
  readonly group: ConsumerGroup;
  readonly partition: number;
  /** Grows at each change of owner, never reused: the fencing token. */
  readonly epoch: number;
}

/** A durable map of the owner's, one per name and partition, kept beside its streams. */
export type OwnerMap = "seq" | "dedup" | "numbers" | "stored";

export interface Commit {
  readonly fence: Fence;
  /**
   * Grows from each commit of an owner to the next; a repetition has the same. What is not above the
   * last one applied under its epoch has been applied already, and changes nothing. So a commit
   * whose outcome is not known can be repeated, and a copy of it that stood in some buffer cannot
   * undo later ones when it arrives after all. 0 or absent: applied however often it comes.
   */
  readonly turn?: number;
  /**
   * The turn of the last commit that was confirmed to this owner under its epoch, or 0. Where it is
   * not known any more data was lost, and the commit is refused as that of an earlier owner is.
   */
  readonly after?: number;
  /** Fields to set in the partition's maps; `slice` names a part that expires as a whole. */
  readonly puts?: readonly MapPut[];
  readonly deletes?: readonly { readonly map: OwnerMap; readonly fields: string[] }[];
  /** Slices to forget, with all their fields. */
  readonly drops?: readonly { readonly map: OwnerMap; readonly slices: string[] }[];
  readonly appends?: readonly Append[];
  readonly settles?: readonly { readonly topic: Topic; readonly ids: string[] }[];
}

export interface MapPut {
  readonly map: OwnerMap;
  readonly slice?: string;
  /** Unix seconds at which the slice is forgotten; only with `slice`. */
  readonly expireAt?: number;
  readonly entries: [field: string, value: string][];
}

/** Thrown by `commit` when a later epoch owns the partition: the caller has lost it for good. */
export class FencedError extends Error {
  constructor(readonly fence: Fence) {
    super(`partition ${fence.group}:${fence.partition} has an owner later than ${fence.epoch}`);
    this.name = "FencedError";
  }
}

/** Told to a reader's owner: a stream that it reads is gone, with whatever was not settled. */
export class StreamLostError extends Error {
  constructor(readonly streams: readonly string[]) {
    super(`Redis has lost ${streams.join(", ")}`);
    this.name = "StreamLostError";
  }
}

export interface StreamReader {
  /**
   * Starts reading `partition` from its oldest unsettled entry. Called again for a partition it
   * reads already, it goes back there: unsettled entries are handed over once more.
   */
  assign(partition: number): Promise<void>;
  /** Stops reading it. Entries that were read stay unsettled for the next owner. */
  revoke(partition: number): void;
  /** Stops and starts taking new entries of a partition: back-pressure without losing the lease. */
  pause(partition: number): void;
  resume(partition: number): void;
  stop(): Promise<void>;
}

export interface ReadBatch {
  readonly topic: Topic;
  readonly partition: number;
  readonly entries: readonly StreamEntry[];
}

export interface Streams {
  /**
   * Appends to streams that need no ownership. Ids come back in the order of `entries`.
   * Rejects with `unavailable` (nothing was written) or `outcome_unknown`, as a whole or per entry:
   * entries that are known to be written have an id, the others the error.
   */
  append(entries: readonly Append[]): Promise<(string | Error)[]>;
  /**
   * Applies everything in `commit`, or nothing when the fence fails (FencedError).
   * On one Redis server it is atomic. On a Redis Cluster appends to other partitions, and then the
   * settles, come after the rest; whoever is assigned the partition next first completes what a crash
   * left undone, exactly as it was given. Commits with such appends are applied one after the other.
   * Rejects with `outcome_unknown` when the reply was lost; repeating the same commit is then right.
   */
  commit(commit: Commit): Promise<void>;
  /** Reads values of the owner's maps; undefined where a field does not exist. */
  mapGet(
    map: OwnerMap,
    group: ConsumerGroup,
    partition: number,
    fields: readonly string[],
  ): Promise<(string | undefined)[]>;
  /** All fields of every live slice, for a new owner that fills its memory. */
  mapSlices(
    map: OwnerMap,
    group: ConsumerGroup,
    partition: number,
  ): AsyncIterable<{ slice: string; entries: [string, string][] }>;
  /**
   * A reader for one consumer group. `onBatch` is called synchronously with what arrived, never
   * concurrently with itself; `onError` with what kept it from reading (it goes on by itself).
   * Nothing is read while `mayRead` is false: an owner that was paused for longer than its leases
   * last would otherwise take entries that the next owner is to get.
   */
  reader(
    group: ConsumerGroup,
    onBatch: (batches: readonly ReadBatch[]) => void,
    onError: (error: Error) => void,
    mayRead?: () => boolean,
  ): StreamReader;
}
