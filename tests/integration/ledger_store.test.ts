/** The ledger's store, on both engines, held to one contract. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { IdFilter, messageHash } from "../../src/core/ledger/id_filter.ts";
import type { LedgerStore, Segment } from "../../src/core/ledger/store.ts";
import type { OfflineEngine } from "../../src/roles/offline/engine.ts";
import { makeRow, type OpenedStore, postgresHarness, sqliteHarness } from "./offline_stores.ts";

let numbers = 0;

/** A segment of one second that begins at `fromMs` and holds these ids. */
function segment(fromMs: number, ids: readonly string[], bodyBytes = 40): Segment {
  const filter = new IdFilter();
  for (const id of ids) filter.add(messageHash(id));
  const body = crypto.getRandomValues(new Uint8Array(bodyBytes));
  const number = ++numbers;
  return { node: "n", number, fromMs, toMs: fromMs + 999, events: 1, filter: filter.take(), body };
}

for (const harness of [sqliteHarness(), postgresHarness()]) {
  describe(`the ledger on ${harness.name}`, () => {
    let opened: OpenedStore;
    let engine: OfflineEngine;
    let ledger: LedgerStore;
    const bodies = async (fromMs: number, id: string) => {
      const { segments } = await ledger.find(fromMs, [messageHash(id)]);
      return segments.map(({ body }) => Buffer.from(body).toString("hex"));
    };
    const hex = (...all: Segment[]) => all.map(({ body }) => Buffer.from(body).toString("hex"));

    beforeAll(() => harness.start(), 60_000);
    afterAll(() => harness.stop());
    beforeEach(async () => {
      opened = await harness.open();
      engine = opened.store as OfflineEngine;
      ledger = engine.ledger;
    });
    afterEach(() => opened.close());

    test("a segment is found by its ids from its end back, and another one is not read", async () => {
      const [a, b] = [segment(1_000, ["x", "y"]), segment(3_000, ["y"])];
      await ledger.add([a, b]);
      expect(await bodies(0, "y")).toEqual(hex(a, b));
      expect(await bodies(0, "x")).toEqual(hex(a));
      expect(await bodies(2_000, "y")).toEqual(hex(b));
      expect(await bodies(1_999, "x")).toEqual(hex(a));
      expect(await bodies(0, "z")).toEqual([]);
      expect((await ledger.find(0, [messageHash("z")])).looked).toBe(2);
    });

    test("adding a segment again, as after a lost answer, changes nothing", async () => {
      const [a, b] = [segment(1_000, ["x"]), segment(1_000, ["x"])];
      await ledger.add([a]);
      await ledger.add([a, b]);
      expect(await bodies(0, "x")).toEqual(hex(a, b));
      expect((await ledger.size()).segments).toBe(2);
    });

    test("more segments than one page of filters are all looked through", async () => {
      const all = Array.from({ length: 1_203 }, (_, i) => segment(i, [`id-${i}`]));
      await ledger.add(all);
      const last = all.at(-1) as Segment;
      expect(await bodies(0, "id-1202")).toContain(hex(last)[0] as string);
    });

    test("retention takes what ended before its time, then the oldest down to its bytes", async () => {
      const all = Array.from({ length: 10 }, (_, i) => segment(i * 1_000, ["x"], 5_000));
      await ledger.add(all);
      expect(await ledger.trim(2_000, 1_000_000)).toBe(2);
      expect(await bodies(0, "x")).toEqual(hex(...all.slice(2)));
      const { bytes, oldestMs } = await ledger.size();
      expect([bytes > 8 * 5_000, bytes < 8 * 5_100, oldestMs]).toEqual([true, true, 2_000]);
      expect(await ledger.trim(2_000, 3 * 5_100)).toBe(5);
      expect(await bodies(0, "x")).toEqual(hex(...all.slice(7)));
      expect(await ledger.trim(2_000, 0)).toBe(3);
      expect(await ledger.size()).toEqual({ segments: 0, bytes: 0, oldestMs: null });
    });

    test("who holds a message is known without knowing whom it was for", async () => {
      const rows = ["carol", "alice", "bob"].map((user) => makeRow(user, { msg_id: "m" }));
      await engine.archive({ partition: 1, epoch: 1 }, [...rows, makeRow("alice")]);
      const holders = await engine.holders("m", 2);
      expect(holders.map(({ user_id }) => user_id)).toEqual(["alice", "bob"]);
      expect(await engine.holders("no such message", 2)).toEqual([]);
    });
  });
}
