import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  type OfflineRow,
  type OfflineStore,
  StaleEpochError,
} from "../../src/core/offline/contract.ts";
import { ChatifyError } from "../../src/core/protocol/errors.ts";
import {
  httpHarness,
  makeRow,
  type OpenedStore,
  postgresHarness,
  sqliteHarness,
} from "./offline_stores.ts";

const owner = { partition: 3, epoch: 7 };
const later = { partition: 3, epoch: 8 };
const nowS = 1_800_000_000;

const rowsOf = (user: string, count: number) => Array.from({ length: count }, () => makeRow(user));
const ids = (rows: readonly OfflineRow[]) => rows.map((row) => row.msg_id);

async function stored(store: OfflineStore, user: string): Promise<string[]> {
  return ids((await store.page(user, null, 1_000, nowS)).rows);
}

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => "it did not fail",
    (error: unknown) => error,
  );
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await failure(work);
  return error instanceof ChatifyError ? error.code : String(error);
}

for (const harness of [sqliteHarness(), postgresHarness(), httpHarness()]) {
  describe(`the offline store over ${harness.name}`, () => {
    let opened: OpenedStore;
    let store: OfflineStore;

    beforeAll(() => harness.start(), 60_000);
    afterAll(() => harness.stop());
    beforeEach(async () => {
      opened = await harness.open();
      store = opened.store;
    });
    afterEach(() => opened.close());

    test("returns rows exactly as they were archived, in the order of archiving", async () => {
      const rows = [...rowsOf("ann", 3), makeRow("ann", { seq: 1 }), ...rowsOf("ann", 120)];
      await store.archive(owner, rows.slice(0, 4));
      await store.archive(owner, rows.slice(4));
      const page = await store.page("ann", null, 1_000, nowS);
      expect(page.rows).toEqual(rows);
      expect(page.cursor).toBeNull();
    });

    test("keeps each user's order when rows of many users share a call", async () => {
      const rows = Array.from({ length: 90 }, (_, i) => makeRow(`user-${i % 3}`));
      await store.archive(owner, rows);
      for (const user of ["user-0", "user-1", "user-2"]) {
        expect(await stored(store, user)).toEqual(ids(rows.filter((r) => r.user_id === user)));
      }
    });

    test("archives a row once, however often it comes, and keeps its first place", async () => {
      const [a, b, c] = rowsOf("ann", 3) as [OfflineRow, OfflineRow, OfflineRow];
      await store.archive(owner, [a, b]);
      await store.archive(owner, [b, c, a, c]);
      await Promise.all([store.archive(owner, [a, c]), store.archive(owner, [c, b])]);
      expect(await stored(store, "ann")).toEqual(ids([a, b, c]));
      expect(await store.count()).toBe(3);
    });

    test("keeps a message for each of its recipients", async () => {
      const row = makeRow("ann");
      await store.archive(owner, [row, { ...row, user_id: "bob" }]);
      await store.confirm(owner, [{ user_id: "ann", msg_ids: [row.msg_id] }]);
      expect(await store.withRows(["ann", "bob", "eve"])).toEqual(["bob"]);
    });

    test("deletes nothing but what is confirmed, once", async () => {
      const rows = rowsOf("ann", 5);
      await store.archive(owner, rows);
      const [first, second] = ids(rows) as [string, string];
      const confirmed = [{ user_id: "ann", msg_ids: [first, second, "m-unknown"] }];
      expect(await store.confirm(owner, confirmed)).toBe(2);
      expect(await store.confirm(owner, confirmed)).toBe(0);
      expect(await store.confirm(null, [{ user_id: "bob", msg_ids: ids(rows) }])).toBe(0);
      expect(await stored(store, "ann")).toEqual(ids(rows.slice(2)));
      expect(await store.confirm(null, [{ user_id: "ann", msg_ids: ids(rows) }])).toBe(3);
      expect(await store.withRows(["ann"])).toEqual([]);
      expect(await store.count()).toBe(0);
    });

    test("pages to the end, also when rows that were read are deleted meanwhile", async () => {
      const rows = rowsOf("ann", 25);
      await store.archive(owner, rows);
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const page = await store.page("ann", cursor, 10, nowS);
        seen.push(...ids(page.rows));
        await store.confirm(owner, [{ user_id: "ann", msg_ids: ids(page.rows) }]);
        cursor = page.cursor;
      } while (cursor !== null);
      expect(seen).toEqual(ids(rows));
    });

    test("has no next page when the rows end with the page", async () => {
      await store.archive(owner, rowsOf("ann", 10));
      expect((await store.page("ann", null, 10, nowS)).cursor).toBeNull();
      expect((await store.page("ann", null, 9, nowS)).cursor).not.toBeNull();
      expect(await store.page("nobody", null, 9, nowS)).toEqual({ rows: [], cursor: null });
    });

    test("a cursor stays valid when every row is deleted and others come", async () => {
      const rows = rowsOf("ann", 4);
      await store.archive(owner, rows);
      const { cursor } = await store.page("ann", null, 3, nowS);
      await store.confirm(owner, [{ user_id: "ann", msg_ids: ids(rows) }]);
      const next = rowsOf("ann", 2);
      await store.archive(owner, next);
      expect(ids((await store.page("ann", cursor, 10, nowS)).rows)).toEqual(ids(next));
    });

    test("finds the cursor of a message, and none of a message that is not there", async () => {
      const rows = rowsOf("ann", 3);
      await store.archive(owner, rows);
      const cursor = await store.cursorOf("ann", rows[0]?.msg_id ?? "");
      expect(ids((await store.page("ann", cursor, 10, nowS)).rows)).toEqual(ids(rows.slice(1)));
      expect(await store.cursorOf("ann", "m-unknown")).toBeNull();
      expect(await store.cursorOf("bob", rows[0]?.msg_id ?? "")).toBeNull();
    });

    test("refuses cursors and page sizes that it did not offer", async () => {
      for (const cursor of ["", "-1", "x", "1.5", "1; DROP TABLE", "9".repeat(30)]) {
        expect(await codeOf(store.page("ann", cursor, 10, nowS))).toBe("bad_request");
      }
      for (const limit of [0, -1, 1_001]) {
        expect(await codeOf(store.page("ann", null, limit, nowS))).toBe("bad_request");
      }
    });

    test("leaves out what expired, and sweeps it and only it", async () => {
      const at = (expire_time: number) => makeRow("ann", { expire_time });
      const rows = [at(nowS - 1), at(0), at(nowS), at(nowS - 100), at(nowS + 1)];
      await store.archive(owner, rows);
      const alive = ids(rows.filter((r) => r.expire_time === 0 || r.expire_time >= nowS));
      expect(await stored(store, "ann")).toEqual(alive);
      expect(await store.count()).toBe(5);
      const first = await store.sweep(nowS, 1);
      const rest = await store.sweep(nowS, 100);
      expect([first.length, rest.length]).toEqual([1, 1]);
      const swept = [...first, ...rest].sort((a, b) => (a.msg_id < b.msg_id ? -1 : 1));
      const expired = ids(rows).filter((id) => !alive.includes(id));
      expect(swept).toEqual(expired.sort().map((msg_id) => ({ user_id: "ann", msg_id })));
      expect(await store.sweep(nowS, 100)).toEqual([]);
      expect(await store.count()).toBe(3);
    });

    test("refuses an owner, as a whole call, once a later one wrote", async () => {
      const rows = rowsOf("ann", 3);
      await store.archive(owner, rows.slice(0, 1));
      await store.archive(later, rows.slice(1, 2));
      expect(await failure(store.archive(owner, rows))).toBeInstanceOf(StaleEpochError);
      const confirmed = [{ user_id: "ann", msg_ids: ids(rows) }];
      expect(await failure(store.confirm(owner, confirmed))).toBeInstanceOf(StaleEpochError);
      expect(await stored(store, "ann")).toEqual(ids(rows.slice(0, 2)));
      expect(await store.confirm(later, confirmed)).toBe(2);
      expect(await failure(store.archive(owner, rows))).toBeInstanceOf(StaleEpochError);
      expect(await store.withRows(["ann"])).toEqual([]);
    });

    test("says to a stale owner which epoch is the later one", async () => {
      await store.archive(later, []);
      const seen = { seen: later.epoch };
      expect(await failure(store.archive(owner, rowsOf("ann", 1)))).toMatchObject(seen);
      expect(await failure(store.confirm(owner, []))).toMatchObject(seen);
    });

    test("walks through the users who have rows, each once, in the order of their ids", async () => {
      for (const user of ["eve", "ann", "bob", "ann"]) await store.archive(owner, rowsOf(user, 2));
      expect(await store.users("", 10)).toEqual(["ann", "bob", "eve"]);
      expect(await store.users("", 2)).toEqual(["ann", "bob"]);
      expect(await store.users("bob", 2)).toEqual(["eve"]);
      expect(await store.users("eve", 2)).toEqual([]);
    });

    test("keeps the latest mark of a chat partition, whichever comes first", async () => {
      const mark = { partition: 2, epoch: 1_700_000_000_000, turn: 500, top: 41, closed: false };
      expect(await store.chatMark(2)).toBeNull();
      await store.markChats([{ ...mark, partition: 1 }, mark]);
      await store.markChats([{ ...mark, turn: 499, top: 40 }]);
      expect(await store.chatMark(2)).toMatchObject(mark);
      await store.markChats([{ ...mark, epoch: mark.epoch + 1, turn: 3, top: 44 }]);
      await store.markChats([{ ...mark, turn: 9_999, top: 43 }]);
      expect(await store.chatMark(2)).toMatchObject({ epoch: mark.epoch + 1, turn: 3, top: 44 });
      await store.markChats([{ ...mark, epoch: mark.epoch + 1, turn: 3, top: 44, closed: true }]);
      expect(await store.chatMark(2)).toMatchObject({ turn: 3, closed: true });
      await store.markChats([]);
      expect(await store.chatMark(1)).toMatchObject({ top: 41 });
    });

    test("reserves numbers above all that were reserved or given, and a mark takes none back", async () => {
      expect(await store.reserveSeqs(2, 0, 100)).toBe(100);
      expect(await store.reserveSeqs(2, 0, 100)).toBe(200);
      expect(await store.reserveSeqs(2, 1_000, 100)).toBe(1_100);
      const both = await Promise.all([store.reserveSeqs(2, 0, 10), store.reserveSeqs(2, 0, 10)]);
      expect(both.toSorted((a, b) => a - b)).toEqual([1_110, 1_120]);
      await store.markChats([{ partition: 2, epoch: 5, turn: 1, top: 7, closed: false }]);
      expect(await store.chatMark(2)).toEqual({
        ...{ partition: 2, epoch: 5, turn: 1, top: 7, closed: false, ceiling: 1_120 },
      });
      expect(await store.reserveSeqs(3, 0, 5)).toBe(5);
    });

    test("an empty call of a later owner fences the one before", async () => {
      await store.archive(later, []);
      expect(await failure(store.confirm(owner, []))).toBeInstanceOf(StaleEpochError);
      await store.confirm({ partition: 4, epoch: 1 }, []);
      expect(await failure(store.archive({ partition: 4, epoch: 0 }, []))).toBeInstanceOf(
        StaleEpochError,
      );
    });

    test("a stale call fails alone among calls of the same moment", async () => {
      await store.archive(later, []);
      const other = { partition: 4, epoch: 1 };
      const [a, b, c] = [rowsOf("ann", 2), rowsOf("bob", 2), rowsOf("eve", 2)];
      const outcomes = await Promise.allSettled([
        store.archive(later, a),
        store.archive(owner, b),
        store.archive(other, c),
        store.confirm(owner, [{ user_id: "ann", msg_ids: ids(a) }]),
        store.confirm(null, [{ user_id: "eve", msg_ids: [] }]),
      ]);
      const fates = outcomes.map(({ status }) => status === "fulfilled");
      expect(fates).toEqual([true, false, true, false, true]);
      expect(await stored(store, "ann")).toEqual(ids(a));
      expect(await stored(store, "bob")).toEqual([]);
      expect(await stored(store, "eve")).toEqual(ids(c));
    });

    test("owners that change within one moment are told apart", async () => {
      const rows = rowsOf("ann", 3).map((row) => [row]);
      const [a = [], b = [], c = []] = rows;
      await Promise.allSettled([store.archive(owner, a), store.archive(later, b)]);
      expect(await failure(store.archive(owner, c))).toBeInstanceOf(StaleEpochError);
      expect(await stored(store, "ann")).toContain(b[0]?.msg_id ?? "");
      expect(await stored(store, "ann")).not.toContain(c[0]?.msg_id ?? "");
    });

    test("concurrent calls all succeed, each with its own count", async () => {
      const users = Array.from({ length: 60 }, (_, i) => `user-${i}`);
      const rows = new Map(users.map((user, i) => [user, rowsOf(user, (i % 5) + 1)]));
      await Promise.all(
        users.map((user, i) => {
          return store.archive({ partition: i % 8, epoch: 1 }, rows.get(user) ?? []);
        }),
      );
      expect((await store.withRows(users)).sort()).toEqual([...users].sort());
      const counts = await Promise.all(
        users.map((user, i) => {
          const msg_ids = ids(rows.get(user) ?? []);
          return store.confirm({ partition: i % 8, epoch: 1 }, [{ user_id: user, msg_ids }]);
        }),
      );
      expect(counts).toEqual(users.map((_, i) => (i % 5) + 1));
    });

    test("a large call is stored whole and in order", async () => {
      const message = JSON.stringify({ content: "ü".repeat(20_000) });
      const rows = rowsOf("ann", 500).map((row) => ({ ...row, message }));
      await store.archive(owner, rows);
      const first = await store.page("ann", null, 300, nowS);
      const second = await store.page("ann", first.cursor, 300, nowS);
      expect(ids([...first.rows, ...second.rows])).toEqual(ids(rows));
    }, 30_000);

    test("keeps a window's segments, page by page, until they expire", async () => {
      const expire_at = nowS + 60;
      const segment = (partition: number, name: string, records = `records of ${name}`) => {
        return { partition, name, expire_at, records };
      };
      await store.saveWindow([segment(1, "b"), segment(1, "a.1"), segment(2, "a")]);
      await store.saveWindow([segment(1, "B"), { ...segment(1, "a"), expire_at: nowS - 1 }]);
      const first = await store.windowPage(1, null, 2, nowS);
      expect(first.segments).toEqual([
        { name: "B", records: "records of B" },
        { name: "a.1", records: "records of a.1" },
      ]);
      const second = await store.windowPage(1, first.cursor, 2, nowS);
      expect(second).toEqual({ segments: [{ name: "b", records: "records of b" }], cursor: null });
      expect(await store.windowPage(3, null, 64, nowS)).toEqual({ segments: [], cursor: null });
      expect(await store.sweepWindow(nowS, 10)).toBe(1);
      expect(await store.sweepWindow(nowS, 10)).toBe(0);
      expect(await store.sweepWindow(expire_at + 1, 2)).toBe(2);
      expect((await store.windowPage(1, null, 64, nowS)).segments.length).toBeLessThan(3);
      expect(await codeOf(store.windowPage(1, null, 65, nowS))).toBe("bad_request");
    });

    test("a segment that is saved again stays as it was, and counts as no message", async () => {
      const segment = { partition: 1, name: "7.1.0", expire_at: nowS + 60, records: "first" };
      await store.archive(owner, rowsOf("ann", 1));
      await Promise.all([store.saveWindow([segment]), store.saveWindow([segment])]);
      await store.saveWindow([{ ...segment, records: "second" }]);
      const page = await store.windowPage(1, null, 64, nowS);
      expect(page.segments).toEqual([{ name: "7.1.0", records: "first" }]);
      expect(await store.count()).toBe(1);
    });

    test("is unavailable while the database is away, and a repeated call heals it", async () => {
      const rows = rowsOf("ann", 3);
      await store.archive(owner, rows.slice(0, 1));
      await opened.down();
      expect(await codeOf(store.archive(owner, rows))).toBe("unavailable");
      const confirmed = [{ user_id: "ann", msg_ids: ids(rows.slice(0, 1)) }];
      expect(await codeOf(store.confirm(owner, confirmed))).toBe("unavailable");
      await opened.up();
      await store.archive(owner, rows);
      expect(await stored(store, "ann")).toEqual(ids(rows));
    }, 30_000);

    test("calls whose outcome is not known may be repeated until they succeed", async () => {
      const calls = Array.from({ length: 40 }, () => rowsOf("ann", 5));
      const fates = calls.map((rows) => codeOf(store.archive(owner, rows)));
      await opened.down();
      await Promise.all(fates);
      await opened.up();
      for (const rows of calls) await store.archive(owner, rows);
      const found = await stored(store, "ann");
      expect(found).toHaveLength(200);
      expect(new Set(found)).toEqual(new Set(calls.flatMap(ids)));
    }, 30_000);
  });
}
