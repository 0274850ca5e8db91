/**
 * The idempotency window of one partition: which (user, client message id) were numbered in the last
 * DEDUP_WINDOW_S, and as what. The owner holds the whole window in memory, so a new message costs no
 * look-up anywhere; what the next owner fills its memory from is in dedup_records.ts.
 *
 * Keys are 128-bit hashes, so no two messages of a window share one. The records live in typed
 * arrays, 40 bytes a slot, because a Map entry with two strings takes four times that. There is a
 * table for each span of four hours, and a new message is looked for in all of them: with shorter
 * spans it would wait for more memory that no cache holds.
 */
import { chatMsgIds } from "../../core/protocol/msg_id.ts";
import { type DedupKey, type DedupRecord, unpackRecords } from "./dedup_records.ts";

export interface Numbered {
  readonly msgId: string;
  readonly seq: number;
  /** Unix seconds. */
  readonly timestamp: number;
}

const SPAN_MS = 4 * 3_600_000;
const SLOTS_FIRST = 1_024;
const LOAD_MAX = 0.6;
const KEY_WORDS = 4;

const spanOf = (ms: number): number => Math.floor(ms / SPAN_MS);

export class DedupWindow {
  private readonly partition: number;
  private readonly entriesMax: number;
  private readonly tables = new Map<number, Table>();
  private count = 0;

  constructor(partition: number, entriesMax: number) {
    this.partition = partition;
    this.entriesMax = entriesMax;
  }

  get size(): number {
    return this.count;
  }

  find(key: DedupKey): Numbered | null {
    for (const table of this.tables.values()) {
      const at = table.find(key);
      if (at < 0) continue;
      const { ms, sequence, index, seq } = table.read(at);
      const msgId = chatMsgIds(this.partition, `${ms}-${sequence}`)(index);
      return { msgId, seq, timestamp: Math.floor(ms / 1_000) };
    }
    return null;
  }

  /** Returns how many old records were let go to stay within the bound; usually 0. */
  add(key: DedupKey, record: DedupRecord): number {
    const span = spanOf(record.ms);
    let table = this.tables.get(span);
    if (table === undefined) {
      table = new Table();
      this.tables.set(span, table);
    }
    this.count += table.add(key, record) ? 1 : 0;
    let dropped = 0;
    while (this.count > this.entriesMax && this.tables.size > 1) dropped += this.dropOldest();
    return dropped;
  }

  /** Takes in what was packed, by this owner or a former one. */
  load(text: string): void {
    unpackRecords(text, (key, record) => this.add(key, record));
  }

  /** Forgets tables whose span ended more than the window ago. */
  expire(nowMs: number, windowS: number): void {
    for (const [span, table] of this.tables) {
      if ((span + 1) * SPAN_MS + windowS * 1_000 > nowMs) continue;
      this.tables.delete(span);
      this.count -= table.size;
    }
  }

  private dropOldest(): number {
    const oldest = Math.min(...this.tables.keys());
    const size = this.tables.get(oldest)?.size ?? 0;
    this.tables.delete(oldest);
    this.count -= size;
    return size;
  }
}

/** An open-addressing table with linear probing over typed arrays. */
class Table {
  size = 0;
  private capacity = SLOTS_FIRST;
  private keys = new Uint32Array(SLOTS_FIRST * KEY_WORDS);
  private ms = new Float64Array(SLOTS_FIRST);
  private seq = new Float64Array(SLOTS_FIRST);
  private sequence = new Uint32Array(SLOTS_FIRST);
  /** One more than the position in the entry: 0 marks a slot that is free. */
  private place = new Uint32Array(SLOTS_FIRST);

  /** The slot of `key`, or -1. */
  find(key: DedupKey): number {
    const at = this.slotOf(key);
    return this.place[at] === 0 ? -1 : at;
  }

  read(at: number): DedupRecord {
    return {
      ms: this.ms[at] as number,
      sequence: this.sequence[at] as number,
      index: (this.place[at] as number) - 1,
      seq: this.seq[at] as number,
    };
  }

  /** False, and without effect, for a key that is known. */
  add(key: DedupKey, record: DedupRecord): boolean {
    let at = this.slotOf(key);
    if (this.place[at] !== 0) return false;
    if (this.size + 1 > this.capacity * LOAD_MAX) {
      this.grow();
      at = this.slotOf(key);
    }
    this.put(at, key, record);
    this.size++;
    return true;
  }

  /** Where `key` is, or where it would be put. */
  private slotOf({ a, b, c, d }: DedupKey): number {
    const { keys, place } = this;
    // The capacity is a power of two.
    const mask = this.capacity - 1;
    let at = a & mask;
    while (place[at] !== 0) {
      const k = at * KEY_WORDS;
      if (keys[k] === a && keys[k + 1] === b && keys[k + 2] === c && keys[k + 3] === d) break;
      at = (at + 1) & mask;
    }
    return at;
  }

  private put(at: number, { a, b, c, d }: DedupKey, record: DedupRecord): void {
    const k = at * KEY_WORDS;
    this.keys[k] = a;
    this.keys[k + 1] = b;
    this.keys[k + 2] = c;
    this.keys[k + 3] = d;
    this.ms[at] = record.ms;
    this.seq[at] = record.seq;
    this.sequence[at] = record.sequence;
    this.place[at] = record.index + 1;
  }

  private grow(): void {
    const { keys, ms, seq, sequence, place } = this;
    const capacity = this.capacity * 2;
    this.capacity = capacity;
    this.keys = new Uint32Array(capacity * KEY_WORDS);
    this.ms = new Float64Array(capacity);
    this.seq = new Float64Array(capacity);
    this.sequence = new Uint32Array(capacity);
    this.place = new Uint32Array(capacity);
    for (let from = 0; from < place.length; from++) {
      if (place[from] === 0) continue;
      const k = from * KEY_WORDS;
      const [a, b, c, d] = keys.subarray(k, k + KEY_WORDS) as unknown as number[];
      const key = { a, b, c, d } as DedupKey;
      const at = this.slotOf(key);
      this.put(at, key, {
        ms: ms[from] as number,
        seq: seq[from] as number,
        sequence: sequence[from] as number,
        index: (place[from] as number) - 1,
      });
    }
  }
}
