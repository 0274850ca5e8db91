import { expect, test } from "bun:test";
import { chatMsgIds } from "../../core/protocol/msg_id.ts";
import { type DedupKey, type DedupRecord, dedupKey, packRecords } from "./dedup_records.ts";
import { DedupWindow } from "./dedup_window.ts";

const SEED = 42n;
const HOUR = 3_600_000;
const key = (user: string, id: string) => dedupKey(SEED, user, id);

test("a message that was recorded is found with its msg_id, seq and time", () => {
  const window = new DedupWindow(3, 1_000);
  window.add(key("alice", "c1"), { ms: 1_700_000_000_123, sequence: 4, index: 2, seq: 9 });
  expect(window.find(key("alice", "c1"))).toEqual({
    msgId: chatMsgIds(3, "1700000000123-4")(2),
    seq: 9,
    timestamp: 1_700_000_000,
  });
  expect(window.find(key("alice", "c2"))).toBeNull();
  expect(window.find(key("bob", "c1"))).toBeNull();
});

test("twenty thousand messages are all found, and none that was not recorded", () => {
  const window = new DedupWindow(0, 100_000);
  for (let i = 0; i < 20_000; i++) {
    window.add(key(`u${i % 100}`, `c${i}`), { ms: 1e12 + i, sequence: 0, index: 0, seq: i + 1 });
  }
  expect(window.size).toBe(20_000);
  for (let i = 0; i < 20_000; i++) {
    expect(window.find(key(`u${i % 100}`, `c${i}`))?.seq).toBe(i + 1);
    if (window.find(key(`u${(i + 1) % 100}`, `c${i}`)) !== null)
      throw new Error("found a stranger");
  }
});

test("what a former owner wrote to Redis loads into the same window", () => {
  const records: [DedupKey, DedupRecord][] = [
    [key("alice", "c1"), { ms: 1_700_000_000_123, sequence: 7, index: 0, seq: 5 }],
    [key("bob", "c1"), { ms: 1_700_000_000_123, sequence: 7, index: 255, seq: 2 ** 40 }],
    [key("alice", "c2"), { ms: 1_700_000_000_123, sequence: 8, index: 0, seq: 6 }],
    [key("alice", "c3"), { ms: 1_700_000_000_124, sequence: 8, index: 3, seq: 0 }],
  ];
  const written = new DedupWindow(1, 1_000);
  for (const [at, record] of records) written.add(at, record);
  const loaded = new DedupWindow(1, 1_000);
  // Texts of several batches are joined when they are moved.
  loaded.load(packRecords(records.slice(0, 3)) + packRecords(records.slice(3)));
  expect(loaded.size).toBe(4);
  for (const [at] of records) expect(loaded.find(at)).toEqual(written.find(at));
  expect(loaded.find(key("bob", "c1"))?.seq).toBe(2 ** 40);
});

test("a record that is cut off is left out, and those before it are not", () => {
  const record = { ms: 1e12, sequence: 0, index: 0, seq: 1 };
  const packed = packRecords([
    [key("alice", "c1"), record],
    [key("alice", "c2"), { ...record, index: 1 }],
  ]);
  const window = new DedupWindow(1, 1_000);
  window.load(packed.slice(0, -3));
  window.load("nonsense");
  window.load("no base64 either: %%%");
  expect(window.size).toBe(1);
  expect(window.find(key("alice", "c1"))?.seq).toBe(1);
});

test("a record is forgotten when the hours it fell into are a whole window ago", () => {
  const window = new DedupWindow(0, 1_000);
  window.add(key("alice", "c1"), { ms: 10 * HOUR, sequence: 0, index: 0, seq: 1 });
  window.expire(34 * HOUR, 86_400);
  expect(window.find(key("alice", "c1"))).not.toBeNull();
  window.expire(36 * HOUR, 86_400);
  expect(window.find(key("alice", "c1"))).toBeNull();
  expect(window.size).toBe(0);
});

test("past its bound a window lets its oldest hours go and says how many that were", () => {
  const window = new DedupWindow(0, 10);
  for (let i = 0; i < 10; i++) {
    window.add(key("u", `old${i}`), { ms: i, sequence: 0, index: 0, seq: i + 1 });
  }
  const dropped = window.add(key("u", "new"), { ms: 5 * HOUR, sequence: 0, index: 0, seq: 11 });
  expect(dropped).toBe(10);
  expect(window.find(key("u", "new"))?.seq).toBe(11);
  expect(window.find(key("u", "old0"))).toBeNull();
});
