/**
 * Where segments are kept: blobs in the offline role's database, found by time and by what their
 * filters say. Adding is idempotent by (node, number). A segment that is added is not necessarily on
 * disk: losing the last ones with the machine loses trail, and no message.
 */
export interface Segment {
  readonly node: string;
  /** Counted by the node from 1. */
  readonly number: number;
  /** Unix ms of the first and of the last event. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly events: number;
  readonly filter: Uint8Array;
  readonly body: Uint8Array;
}

export interface SegmentSink {
  add(segments: readonly Segment[]): Promise<void>;
}

export interface Found {
  readonly segments: readonly Pick<Segment, "node" | "body">[];
  /** Segments that were asked about by their filters alone. */
  readonly looked: number;
  /** There are more than FOUND_SEGMENTS_MAX: the newest are left out. */
  readonly cut: boolean;
}

export interface LedgerSize {
  readonly segments: number;
  readonly bytes: number;
  /** Unix ms of the oldest event kept; null when there is none. */
  readonly oldestMs: number | null;
}

export interface LedgerStore extends SegmentSink {
  /** The segments with something from `fromMs` on that may hold an id with one of `hashes`. */
  find(fromMs: number, hashes: readonly number[]): Promise<Found>;
  /** Deletes what ended before `beforeMs`, then the oldest until at most `bytesMax` are left. */
  trim(beforeMs: number, bytesMax: number): Promise<number>;
  size(): Promise<LedgerSize>;
}

/** More than any message has that is not written again every few minutes for days. */
export const FOUND_SEGMENTS_MAX = 1_000;
/** Filters that are looked through at a time: a few hundred KB, some milliseconds. */
export const FILTERS_PAGE = 500;
