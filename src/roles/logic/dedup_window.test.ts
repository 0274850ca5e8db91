import { expect, test } from "bun:test";
import { chatMsgIds } from "../../core/protocol/msg_id.ts";
import { DedupWindow, dedupKey, encodeRecord, sliceExpiry, sliceOf } from "./dedup_window.ts";

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
  const window = new DedupWindow(1, 1_000);
  const record = { ms: 1e12, sequence: 7, index: 3, seq: 5 };
  window.load([
    [key("alice", "c1").field, encodeRecord(record)],
    ["broken", "1.2.3.4"],
    [key("alice", "c2").field, "nonsense"],
  ]);
  expect(window.size).toBe(1);
  expect(window.find(key("alice", "c1"))?.seq).toBe(5);
});

test("a record is forgotten when the hour it fell into is a whole window ago", () => {
  const window = new DedupWindow(0, 1_000);
  const record = { ms: 10 * HOUR, sequence: 0, index: 0, seq: 1 };
  window.add(key("alice", "c1"), record);
  const end = sliceExpiry(sliceOf(record.ms), 86_400) * 1_000;
  expect(end).toBeGreaterThan(record.ms + 24 * HOUR);
  window.expire(end - 1, 86_400);
  expect(window.find(key("alice", "c1"))).not.toBeNull();
  window.expire(end, 86_400);
  expect(window.find(key("alice", "c1"))).toBeNull();
  expect(window.size).toBe(0);
});

test("past its bound a window lets its oldest hour go and says how many that were", () => {
  const window = new DedupWindow(0, 10);
  for (let i = 0; i < 10; i++) {
    window.add(key("u", `old${i}`), { ms: i, sequence: 0, index: 0, seq: i + 1 });
  }
  const dropped = window.add(key("u", "new"), { ms: 2 * HOUR, sequence: 0, index: 0, seq: 11 });
  expect(dropped).toBe(10);
  expect(window.find(key("u", "new"))?.seq).toBe(11);
  expect(window.find(key("u", "old0"))).toBeNull();
});
