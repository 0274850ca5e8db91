/**
 * Events as bytes, in a buffer that is made once and used again. A segment is
 * `[u32 length of the header][header: JSON][rows]`, compressed as a whole; a row is the kind, the
 * time after the segment's beginning, and the fields of the kind. `segment_reader.ts` reads it.
 */
import { HASH_START, IdFilter, nextHash } from "./id_filter.ts";

/** Events of a segment; with the next one it is sealed. Sealing takes about a millisecond. */
export const SEGMENT_EVENTS_MAX = 4_096;
const BUFFER_BYTES = 262_144;
/** Six texts of TEXT_UNITS_MAX, three bytes each, and the numbers. */
const ROW_BYTES_MAX = 5_120;
/** A longer text is cut; ids and codes are shorter. */
const TEXT_UNITS_MAX = 255;
const NODES_MAX = 254;
export const SEGMENT_VERSION = 1;

export interface SegmentHeader {
  readonly v: number;
  /** Unix ms. */
  readonly base: number;
  /** Nodes that rows name by their place in here, from 1. */
  readonly nodes: readonly string[];
}

/** What is handed on: everything but the rows is for finding the segment again. */
export interface Sealed {
  /** Unix ms of the first and of the last event. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly events: number;
  readonly filter: Uint8Array;
  readonly body: Uint8Array;
}

export class SegmentWriter {
  events = 0;
  private readonly bytes = new Uint8Array(BUFFER_BYTES);
  private readonly filter = new IdFilter();
  private readonly nodes = new Map<string, number>();
  private at = 0;
  private fromMs = 0;
  private toMs = 0;
  private base = 0;

  isFull(): boolean {
    return this.events >= SEGMENT_EVENTS_MAX || this.at > BUFFER_BYTES - ROW_BYTES_MAX;
  }

  /** Begins a row; there must be room for it. */
  begin(kind: number, nowMs: number): void {
    if (this.events === 0) this.base = this.fromMs = this.toMs = nowMs;
    // The wall clock may have been set back.
    if (nowMs < this.fromMs) this.fromMs = nowMs;
    if (nowMs > this.toMs) this.toMs = nowMs;
    this.events++;
    this.byte(kind);
    this.number(nowMs - this.base);
  }

  byte(value: number): void {
    this.bytes[this.at++] = value;
  }

  /** 32 bits; a reader takes them as signed or not. */
  number(value: number): void {
    const { bytes } = this;
    const at = this.at;
    bytes[at] = value;
    bytes[at + 1] = value >> 8;
    bytes[at + 2] = value >> 16;
    bytes[at + 3] = value >> 24;
    this.at = at + 4;
  }

  /** A time relative to the segment's beginning. */
  time(ms: number): void {
    this.number(ms - this.base);
  }

  text(text: string): void {
    this.write(text, HASH_START);
  }

  /** The id of a message, by which the segment is found. */
  msgId(id: string): void {
    this.filter.add(this.write(id, HASH_START));
  }

  /** A user and the client's own id of a message, by which the segment is found. */
  send(user: string, clientMsgId: string): void {
    this.filter.add(this.write(clientMsgId, this.write(user, HASH_START)));
  }

  node(id: string): void {
    let place = this.nodes.get(id);
    if (place === undefined && this.nodes.size < NODES_MAX) {
      place = this.nodes.size + 1;
      this.nodes.set(id, place);
    }
    this.byte(place ?? 0);
  }

  /** Everything since the last seal; the writer is empty again. */
  seal(): Sealed {
    const header: SegmentHeader = {
      v: SEGMENT_VERSION,
      base: this.base,
      nodes: [...this.nodes.keys()],
    };
    const head = new TextEncoder().encode(JSON.stringify(header));
    const whole = new Uint8Array(4 + head.length + this.at);
    new DataView(whole.buffer).setUint32(0, head.length, true);
    whole.set(head, 4);
    whole.set(this.bytes.subarray(0, this.at), 4 + head.length);
    const { events, fromMs, toMs } = this;
    // The fastest level: the next one costs twice as much for a tenth less.
    const body = Bun.zstdCompressSync(whole, { level: 1 });
    const filter = this.filter.take();
    this.nodes.clear();
    this.events = this.at = 0;
    return { fromMs, toMs, events, filter, body };
  }

  /**
   * Length in code units, then each unit in one to three bytes as UTF-8 would have it, surrogates
   * by themselves. Returns the hash of the text, continued from `seed`.
   */
  private write(text: string, seed: number): number {
    const { bytes } = this;
    const units = Math.min(text.length, TEXT_UNITS_MAX);
    let at = this.at;
    let hash = seed;
    bytes[at++] = units;
    for (let i = 0; i < units; i++) {
      const unit = text.charCodeAt(i);
      hash = nextHash(hash, unit);
      if (unit < 0x80) {
        bytes[at++] = unit;
      } else if (unit < 0x800) {
        bytes[at++] = 0xc0 | (unit >> 6);
        bytes[at++] = 0x80 | (unit & 0x3f);
      } else {
        bytes[at++] = 0xe0 | (unit >> 12);
        bytes[at++] = 0x80 | ((unit >> 6) & 0x3f);
        bytes[at++] = 0x80 | (unit & 0x3f);
      }
    }
    this.at = at;
    return hash;
  }
}
