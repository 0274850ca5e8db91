/**
 * Where the records of one partition's idempotency window are, beside the owner's memory: the latest
 * in Redis, in a slice that each commit adds to, all others in SQL. A slice that is a few seconds old,
 * or full, is sealed: no commit adds to it any more. Sealed slices are saved to SQL, oldest first,
 * and dropped from Redis once that is confirmed. While SQL is away they stay in Redis, up to a
 * bound; past it the oldest are given up, which is counted: then a repetition of theirs is
 * recognised by this owner, and no more by the next.
 */
import { type Clock, sleep } from "../../core/clock.ts";
import type { Limits } from "../../core/limits.ts";
import { WINDOW_PAGE_MAX, type WindowStore } from "../../core/offline/window_store.ts";
import { FencedError, type MapPut, type Streams } from "../../core/streams/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { type DedupKey, type DedupRecord, packRecords } from "./dedup_records.ts";
import type { DedupWindow } from "./dedup_window.ts";

export interface WindowSpillDeps {
  readonly partition: number;
  readonly epoch: number;
  readonly streams: Streams;
  readonly windows: WindowStore;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  /** Characters of records that may wait for SQL; more: the oldest are given up. */
  readonly waitingCharsMax: number;
}

/** A slice in Redis, with what is in it. */
interface Slice {
  readonly name: string;
  readonly openedAt: number;
  readonly expireAt: number;
  texts: string[];
  chars: number;
}

const RETRY_MS = 2_000;
/** At least; see dedup_records.ts. */
export const CHARS_PER_RECORD = 32;
/** Seconds by which a record outlives the window, so that no clock that is behind misses it. */
const EXPIRY_SLACK_S = 60;

export class WindowSpill {
  private readonly deps: WindowSpillDeps;
  private open: Slice | null = null;
  private sealed: Slice[] = [];
  private waitingChars = 0;
  private saving = false;
  /** Texts at the end of the open slice whose commit is not known to be in. */
  private unconfirmed = 0;
  private stopped = false;

  constructor(deps: WindowSpillDeps) {
    this.deps = deps;
  }

  /** Fills `window` with all that former owners recorded; what is still in Redis is to be moved. */
  async recover(window: DedupWindow): Promise<void> {
    const { clock, partition, streams, windows } = this.deps;
    const found = new Map<string, string[]>();
    for await (const { slice, entries } of streams.mapSlices("dedup", "logic", partition)) {
      const texts = found.get(slice) ?? [];
      for (const [, text] of entries) texts.push(text);
      found.set(slice, texts);
    }
    const nowS = Math.floor(clock.now() / 1_000);
    let cursor: string | null = null;
    do {
      const page = await windows.windowPage(partition, cursor, WINDOW_PAGE_MAX, nowS);
      for (const { records } of page.segments) window.load(records);
      cursor = page.cursor;
    } while (cursor !== null && !this.stopped);
    for (const text of [...found.values()].flat()) window.load(text);
    for (const [name, texts] of found) this.adopt(name, texts);
  }

  /** What a commit with this turn is to record, with the messages that it hands on. */
  put(records: readonly (readonly [DedupKey, DedupRecord])[], turn: number): MapPut[] {
    if (records.length === 0) return [];
    const { epoch } = this.deps;
    // No other commit of any owner has this name.
    const name = `${epoch}.${turn}`;
    this.open ??= this.newSlice(name);
    const text = packRecords(records);
    this.open.texts.push(text);
    this.open.chars += text.length;
    this.unconfirmed = 1;
    const { expireAt, name: slice } = this.open;
    return [{ map: "dedup", slice, expireAt, entries: [[name, text]] }];
  }

  /** The commit that `put` was for is in. */
  confirmed(): void {
    this.unconfirmed = 0;
  }

  /** What was committed and is not known to be in SQL: all that there is of it, if Redis lost it. */
  unsavedTexts(): string[] {
    const open = this.open?.texts ?? [];
    const committed = open.slice(0, open.length - this.unconfirmed);
    return [...this.sealed.flatMap(({ texts }) => texts), ...committed];
  }

  /** For a commit with this turn, before any other: puts what Redis has lost back. */
  restore(texts: readonly string[], turn: number): MapPut[] {
    if (texts.length === 0) return [];
    const name = `${this.deps.epoch}.${turn}`;
    this.open = this.newSlice(name);
    this.open.texts = [...texts];
    this.open.chars = texts.reduce((sum, text) => sum + text.length, 0);
    const entries = texts.map((text, i): [string, string] => [`${name}.${i}`, text]);
    return [{ map: "dedup", slice: name, expireAt: this.open.expireAt, entries }];
  }

  /** Seals the open slice when it is time. Only while no commit is under way: it may add to it. */
  sealDue(): void {
    const { clock, limits } = this.deps;
    if (this.open === null) return;
    const age = clock.monotonic() - this.open.openedAt;
    if (age < limits.WINDOW_SLICE_MS && this.open.chars < limits.WINDOW_SLICE_CHARS) return;
    this.seal(this.open);
    this.open = null;
    if (!this.saving) void this.save();
  }

  /** Characters of records that only Redis has, beside this owner's memory. */
  get unsavedChars(): number {
    return this.waitingChars + (this.open?.chars ?? 0);
  }

  stop(): void {
    this.stopped = true;
    this.sealed = [];
  }

  private newSlice(name: string): Slice {
    const { clock, limits } = this.deps;
    const endS = Math.ceil(clock.now() / 1_000) + limits.DEDUP_WINDOW_S + EXPIRY_SLACK_S;
    const expireAt = endS + Math.ceil(limits.WINDOW_SLICE_MS / 1_000);
    return { name, openedAt: clock.monotonic(), expireAt, texts: [], chars: 0 };
  }

  private adopt(name: string, texts: string[]): void {
    const slice = this.newSlice(name);
    slice.texts = texts;
    slice.chars = texts.reduce((sum, text) => sum + text.length, 0);
    this.seal(slice);
    if (!this.saving) void this.save();
  }

  private seal(slice: Slice): void {
    this.sealed.push(slice);
    this.waitingChars += slice.chars;
  }

  private async save(): Promise<void> {
    const { clock, limits, partition, telemetry, waitingCharsMax, windows } = this.deps;
    this.saving = true;
    while (this.sealed.length > 0 && !this.stopped) {
      const slice = this.sealed[0] as Slice;
      const texts = inParts(slice.texts, limits.WINDOW_SLICE_CHARS);
      try {
        if (this.waitingChars <= waitingCharsMax) {
          await windows.saveWindow(
            texts.map((records, i) => {
              const name = `${slice.name}.${i}`;
              return { partition, name, expire_at: slice.expireAt, records };
            }),
          );
        } else {
          const records = Math.ceil(slice.chars / CHARS_PER_RECORD);
          telemetry.metrics.drops.inc({ reason: "window_full" }, records);
          telemetry.log.error({ partition }, "a slice of the idempotency window is given up");
        }
        await this.drop(slice);
      } catch (error) {
        if (this.stopped || error instanceof FencedError) break;
        telemetry.log.warn(
          { err: error, partition },
          "a slice of the window stays in Redis; again",
        );
        await sleep(clock, RETRY_MS);
      }
    }
    this.saving = false;
  }

  /** Without a turn: it may be repeated, and nothing adds to a sealed slice any more. */
  private async drop(slice: Slice): Promise<void> {
    const { epoch, partition, streams } = this.deps;
    const fence = { group: "logic" as const, partition, epoch };
    await streams.commit({ fence, drops: [{ map: "dedup", slices: [slice.name] }] });
    this.sealed.shift();
    this.waitingChars -= slice.chars;
  }
}

/** Joined in parts of about `charsMax`. */
function inParts(texts: readonly string[], charsMax: number): string[] {
  const parts: string[] = [];
  let part: string[] = [];
  let chars = 0;
  for (const text of texts) {
    if (chars > 0 && chars + text.length > charsMax) {
      parts.push(part.join(""));
      part = [];
      chars = 0;
    }
    part.push(text);
    chars += text.length;
  }
  if (part.length > 0) parts.push(part.join(""));
  return parts;
}
