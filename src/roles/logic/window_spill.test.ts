import { expect, test } from "bun:test";
import { LIMITS } from "../../core/limits.ts";
import type { WindowSegment, WindowStore } from "../../core/offline/window_store.ts";
import { type Commit, FencedError, type Streams } from "../../core/streams/contract.ts";
import { ManualClock } from "../../core/testing/manual_clock.ts";
import { silentTelemetry } from "../../core/testing/silent_telemetry.ts";
import { type DedupRecord, dedupKey } from "./dedup_records.ts";
import { DedupWindow } from "./dedup_window.ts";
import { WindowSpill } from "./window_spill.ts";

const PARTITION = 2;
const key = (id: string) => dedupKey(7n, "alice", id);

/** Redis and SQL around one partition, and an owner of it. */
class World {
  readonly clock = new ManualClock();
  readonly telemetry = silentTelemetry();
  readonly slices = new Map<string, Map<string, string>>();
  readonly segments = new Map<string, WindowSegment>();
  epoch = 1;
  sqlAway = false;
  private turn = 0;

  owner(waitingCharsMax = 1_000_000): WindowSpill {
    const { clock, epoch, telemetry } = this;
    return new WindowSpill({
      partition: PARTITION,
      epoch,
      streams: this.streams() as unknown as Streams,
      windows: this.windows(),
      clock,
      telemetry,
      limits: { ...LIMITS, WINDOW_SLICE_CHARS: 1_000 },
      waitingCharsMax,
    });
  }

  /** One commit that records these client message ids. */
  record(spill: WindowSpill, ...ids: string[]): void {
    const records = ids.map((id, index): [ReturnType<typeof key>, DedupRecord] => [
      key(id),
      { ms: this.clock.now(), sequence: ++this.turn, index, seq: this.turn },
    ]);
    for (const { slice = "", entries } of spill.put(records, this.turn)) {
      const fields = this.slices.get(slice) ?? new Map<string, string>();
      this.slices.set(slice, fields);
      for (const [field, text] of entries) fields.set(field, text);
    }
    spill.sealDue();
  }

  /** What a new owner knows. */
  async remembered(...ids: string[]): Promise<boolean[]> {
    this.epoch++;
    const window = new DedupWindow(PARTITION, 10_000);
    await this.owner().recover(window);
    return ids.map((id) => window.find(key(id)) !== null);
  }

  private streams(): Partial<Streams> {
    const { slices } = this;
    return {
      commit: async ({ drops = [], fence }: Commit) => {
        if (fence.epoch !== this.epoch) throw new FencedError(fence);
        for (const drop of drops) for (const slice of drop.slices) slices.delete(slice);
      },
      async *mapSlices() {
        for (const [slice, fields] of slices) yield { slice, entries: [...fields] };
      },
    };
  }

  private windows(): WindowStore {
    return {
      saveWindow: async (segments) => {
        if (this.sqlAway) throw new Error("SQL is away");
        for (const segment of segments) {
          if (!this.segments.has(segment.name)) this.segments.set(segment.name, segment);
        }
      },
      windowPage: async () => {
        if (this.sqlAway) throw new Error("SQL is away");
        return { segments: [...this.segments.values()], cursor: null };
      },
      sweepWindow: async () => 0,
    };
  }
}

test("a slice stays in Redis while it is young, then moves to SQL and leaves Redis", async () => {
  const world = new World();
  const spill = world.owner();
  world.record(spill, "c1", "c2");
  world.record(spill, "c3");
  expect(world.slices.size).toBe(1);
  await world.clock.advance(LIMITS.WINDOW_SLICE_MS - 1);
  spill.sealDue();
  await world.clock.advance(0);
  expect(world.segments.size).toBe(0);
  await world.clock.advance(1);
  spill.sealDue();
  await world.clock.advance(0);
  expect(world.slices.size).toBe(0);
  expect([...world.segments.values()]).toMatchObject([{ partition: PARTITION }]);
  expect(spill.unsavedChars).toBe(0);
  expect(await world.remembered("c1", "c2", "c3", "c4")).toEqual([true, true, true, false]);
});

test("a slice that is full moves at once, in parts that a request can carry", async () => {
  const world = new World();
  const spill = world.owner();
  for (let i = 0; i < 30; i++) world.record(spill, `a${i}`, `b${i}`);
  await world.clock.advance(0);
  expect(world.slices.size).toBeLessThanOrEqual(1);
  for (const { records } of world.segments.values()) expect(records.length).toBeLessThan(1_200);
  expect(await world.remembered("a0", "b0", "a29", "b29")).toEqual([true, true, true, true]);
});

test("while SQL is away slices stay in Redis, and move when it is back", async () => {
  const world = new World();
  const spill = world.owner();
  world.sqlAway = true;
  world.record(spill, "c1");
  await world.clock.advance(LIMITS.WINDOW_SLICE_MS);
  spill.sealDue();
  await world.clock.advance(20_000);
  expect(world.slices.size).toBe(1);
  expect(spill.unsavedChars).toBeGreaterThan(0);
  world.sqlAway = false;
  await world.clock.advance(5_000);
  expect(world.slices.size).toBe(0);
  expect(await world.remembered("c1")).toEqual([true]);
});

test("a new owner moves what a former one left in Redis, and does not begin without SQL", async () => {
  const world = new World();
  world.record(world.owner(), "c1");
  world.sqlAway = true;
  const began = world.remembered("c1");
  expect(await began.catch((error: Error) => error.message)).toBe("SQL is away");
  world.sqlAway = false;
  expect(await world.remembered("c1")).toEqual([true]);
  await world.clock.advance(0);
  expect(world.slices.size).toBe(0);
  expect(await world.remembered("c1")).toEqual([true]);
});

test("an owner that is too late drops nothing", async () => {
  const world = new World();
  const spill = world.owner();
  world.record(spill, "c1");
  world.epoch++;
  await world.clock.advance(LIMITS.WINDOW_SLICE_MS);
  spill.sealDue();
  await world.clock.advance(10_000);
  expect(world.slices.size).toBe(1);
});

test("past its bound the oldest slice is given up, which is counted", async () => {
  const world = new World();
  const spill = world.owner(50);
  world.sqlAway = true;
  for (const id of ["c1", "c2", "c3"]) {
    world.record(spill, id);
    await world.clock.advance(LIMITS.WINDOW_SLICE_MS);
    spill.sealDue();
    await world.clock.advance(5_000);
  }
  expect(world.slices.size).toBe(1);
  const { values } = await world.telemetry.metrics.drops.get();
  expect(values.find(({ labels }) => labels.reason === "window_full")?.value).toBe(4);
  world.sqlAway = false;
  expect(await world.remembered("c1", "c3")).toEqual([false, true]);
});
