/**
 * The idempotency window of one partition: which (user, client message id) were numbered in the last
 * DEDUP_WINDOW_S, and as what. The owner holds the whole window in memory, so a new message costs no
 * look-up anywhere; Redis holds the same records, in hourly slices that expire as a whole, for the
 * next owner. A record in Redis is `hash → ms.sequence.index.seq`, about 100 bytes.
 *
 * Keys are 128-bit hashes, so no two messages of a window share one. The records live in typed
 * arrays, 40 bytes a slot, because a Map entry with two strings takes four times that.
 */
import { chatMsgIds } from "../../core/protocol/msg_id.ts";

export interface Numbered {
  readonly msgId: string;
  readonly seq: number;
  /** Unix seconds. */
  readonly timestamp: number;
}

/** Where a message stands in `chat_input`, and the seq it was given. */
export interface DedupRecord {
  readonly ms: number;
  readonly sequence: number;
  readonly index: number;
  readonly seq: number;
}

const HOUR_MS = 3_600_000;
const SLOTS_FIRST = 1_024;
const LOAD_MAX = 0.6;

/** A 128-bit hash of (user, client message id); `field` is how Redis knows it. */
export interface DedupKey {
  readonly low: bigint;
  readonly high: bigint;
  readonly field: string;
}

/**
 * Hashes with a seed that clients do not know (it comes from the cluster secret), so nobody can
 * look for a message id that collides with somebody else's.
 */
export function dedupKey(seed: bigint, user: string, clientMsgId: string): DedupKey {
  // `:` cannot stand in a user id, so the two parts never run into each other.
  const text = `${user}:${clientMsgId}`;
  // Zero marks a free slot of the table.
  const low = Bun.hash.wyhash(text, seed) || 1n;
  const high = Bun.hash.wyhash(text, seed ^ 0x9e3779b97f4a7c15n);
  return { low, high, field: `${low.toString(36)}.${high.toString(36)}` };
}

function keyOfField(field: string): DedupKey | null {
  const [low, high] = field.split(".").map(bigintOfBase36);
  return low && high !== undefined && high !== null ? { low, high, field } : null;
}

function bigintOfBase36(text: string): bigint | null {
  let value = 0n;
  for (const char of text) {
    const digit = Number.parseInt(char, 36);
    if (Number.isNaN(digit)) return null;
    value = value * 36n + BigInt(digit);
  }
  return BigInt.asUintN(64, value);
}

export function sliceOf(ms: number): string {
  return `${Math.floor(ms / HOUR_MS)}`;
}

/** Unix seconds at which a slice may be forgotten. */
export function sliceExpiry(slice: string, windowS: number): number {
  return (Number(slice) + 1) * 3_600 + windowS;
}

export function encodeRecord(record: DedupRecord): string {
  return `${record.ms}.${record.sequence}.${record.index}.${record.seq}`;
}

export class DedupWindow {
  private readonly partition: number;
  private readonly entriesMax: number;
  private readonly slices = new Map<string, Slice>();
  private count = 0;

  constructor(partition: number, entriesMax: number) {
    this.partition = partition;
    this.entriesMax = entriesMax;
  }

  get size(): number {
    return this.count;
  }

  find(key: DedupKey): Numbered | null {
    for (const slice of this.slices.values()) {
      const at = slice.find(key);
      if (at < 0) continue;
      const { ms, sequence, index, seq } = slice.read(at);
      const msgId = chatMsgIds(this.partition, `${ms}-${sequence}`)(index);
      return { msgId, seq, timestamp: Math.floor(ms / 1_000) };
    }
    return null;
  }

  /** Returns how many old records were let go to stay within the bound; usually 0. */
  add(key: DedupKey, record: DedupRecord): number {
    const name = sliceOf(record.ms);
    let slice = this.slices.get(name);
    if (slice === undefined) {
      slice = new Slice();
      this.slices.set(name, slice);
    }
    this.count += slice.add(key, record) ? 1 : 0;
    let dropped = 0;
    while (this.count > this.entriesMax && this.slices.size > 1) dropped += this.dropOldest();
    return dropped;
  }

  /** Takes in what a former owner recorded; a field that cannot be read is left out. */
  load(entries: readonly (readonly [string, string])[]): void {
    for (const [field, value] of entries) {
      const key = keyOfField(field);
      const [ms, sequence, index, seq] = value.split(".").map(Number);
      if (key === null || ms === undefined || sequence === undefined) continue;
      if (index === undefined || seq === undefined || Number.isNaN(ms + seq)) continue;
      this.add(key, { ms, sequence, index, seq });
    }
  }

  /** Forgets slices that ended more than the window ago. */
  expire(nowMs: number, windowS: number): void {
    for (const [name, slice] of this.slices) {
      if (sliceExpiry(name, windowS) * 1_000 > nowMs) continue;
      this.slices.delete(name);
      this.count -= slice.size;
    }
  }

  private dropOldest(): number {
    const oldest = [...this.slices.keys()].reduce((a, b) => (Number(a) <= Number(b) ? a : b));
    const size = this.slices.get(oldest)?.size ?? 0;
    this.slices.delete(oldest);
    this.count -= size;
    return size;
  }
}

/** An open-addressing table with linear probing over typed arrays. */
class Slice {
  size = 0;
  private capacity = SLOTS_FIRST;
  private low = new BigUint64Array(SLOTS_FIRST);
  private high = new BigUint64Array(SLOTS_FIRST);
  private ms = new Float64Array(SLOTS_FIRST);
  private seq = new Float64Array(SLOTS_FIRST);
  private sequence = new Uint32Array(SLOTS_FIRST);
  private index = new Uint32Array(SLOTS_FIRST);

  find({ low, high }: DedupKey): number {
    let at = this.start(low);
    while (this.low[at] !== 0n) {
      if (this.low[at] === low && this.high[at] === high) return at;
      at = (at + 1) & (this.capacity - 1);
    }
    return -1;
  }

  read(at: number): DedupRecord {
    return {
      ms: this.ms[at] as number,
      sequence: this.sequence[at] as number,
      index: this.index[at] as number,
      seq: this.seq[at] as number,
    };
  }

  add(key: DedupKey, record: DedupRecord): boolean {
    if (this.find(key) >= 0) return false;
    if (this.size + 1 > this.capacity * LOAD_MAX) this.grow();
    this.put(key, record);
    this.size++;
    return true;
  }

  private put({ low, high }: Pick<DedupKey, "low" | "high">, record: DedupRecord): void {
    let at = this.start(low);
    while (this.low[at] !== 0n) at = (at + 1) & (this.capacity - 1);
    this.low[at] = low;
    this.high[at] = high;
    this.ms[at] = record.ms;
    this.seq[at] = record.seq;
    this.sequence[at] = record.sequence;
    this.index[at] = record.index;
  }

  private start(low: bigint): number {
    // The capacity is a power of two.
    return Number(BigInt.asUintN(32, low)) & (this.capacity - 1);
  }

  private grow(): void {
    const { low, high, ms, seq, sequence, index } = this;
    const capacity = this.capacity * 2;
    this.capacity = capacity;
    this.low = new BigUint64Array(capacity);
    this.high = new BigUint64Array(capacity);
    this.ms = new Float64Array(capacity);
    this.seq = new Float64Array(capacity);
    this.sequence = new Uint32Array(capacity);
    this.index = new Uint32Array(capacity);
    for (const [at, key] of low.entries()) {
      if (key === 0n) continue;
      this.put(
        { low: key, high: high[at] as bigint },
        {
          ms: ms[at] as number,
          sequence: sequence[at] as number,
          index: index[at] as number,
          seq: seq[at] as number,
        },
      );
    }
  }
}
