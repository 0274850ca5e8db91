import { expect, test } from "bun:test";
import { LIMITS } from "../../core/limits.ts";
import { encodePushTasks } from "../../core/protocol/push_task.ts";
import { task, World } from "./partition_world.fixture.ts";

test("a message to somebody online goes out at once and settles its entry when it is acked", async () => {
  const w = new World();
  w.online("bob", 1);
  await w.clock.advance(1);
  const id = w.message("bob", 1);
  await w.clock.advance(1);
  expect(w.sent).toEqual(["1:1"]);
  expect(w.settled()).toEqual([]);
  w.ack("bob", 1, 1);
  await w.clock.advance(1);
  expect(w.settled()).toEqual([id]);
  expect(w.rows).toEqual([]);
});

test("a message to nobody online is marked, archived, and only then settled", async () => {
  const w = new World();
  w.storeAway = true;
  const id = w.message("carol", 1, 2);
  await w.clock.advance(50);
  expect(w.marked.has("carol")).toBe(true);
  expect(w.settled()).toEqual([]);
  w.storeAway = false;
  await w.clock.advance(3_000);
  expect(w.rows.map((row) => row.seq)).toEqual([1, 2]);
  expect(w.settled()).toEqual([id]);
});

test("a replay comes before what is new, deletes what is acked, and then the feed is live", async () => {
  const w = new World();
  w.message("carol", 1, 2);
  await w.clock.advance(10);
  w.online("carol", 7);
  await w.clock.advance(10);
  w.message("carol", 3);
  await w.clock.advance(10);
  expect(w.sent).toEqual(["7:1", "7:2"]);
  w.ack("carol", 7, 1);
  await w.clock.advance(10);
  expect(w.rows.map((row) => row.seq)).toEqual([2]);
  expect(w.sent).toHaveLength(2);
  w.ack("carol", 7, 2);
  await w.clock.advance(10);
  expect(w.sent).toEqual(["7:1", "7:2", "7:3"]);
  expect(w.marked.has("carol")).toBe(false);
});

test("an empty page that is older than what was archived since does not end the replay", async () => {
  const w = new World();
  w.marked.add("carol");
  const { promise, resolve } = Promise.withResolvers<void>();
  w.pages = promise;
  w.online("carol", 1);
  await w.clock.advance(10);
  w.message("carol", 1);
  w.offline("carol");
  await w.clock.advance(10);
  expect(w.rows.map((row) => row.seq)).toEqual([1]);
  w.online("carol", 2);
  await w.clock.advance(10);
  w.message("carol", 2);
  await w.clock.advance(10);
  resolve();
  await w.clock.advance(10);
  expect(w.sent).toEqual(["2:1"]);
  expect(w.marked.has("carol")).toBe(true);
  w.ack("carol", 2, 1);
  await w.clock.advance(10);
  expect(w.sent).toEqual(["2:1", "2:2"]);
});

test("what is archived late is not sent again ahead of what was archived before it", async () => {
  const w = new World();
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  w.archives.push(first.promise, second.promise);
  w.online("bob", 1);
  await w.clock.advance(10);
  w.message("bob", 1);
  await w.clock.advance(3_000);
  w.message("bob", 2);
  await w.clock.advance(LIMITS.ACK_TIMEOUT_MS + 500);
  expect(w.sent).toEqual(["1:1", "1:2"]);
  w.offline("bob");
  await w.clock.advance(10);
  first.resolve();
  await w.clock.advance(10);
  w.online("bob", 2);
  await w.clock.advance(10);
  second.resolve();
  await w.clock.advance(10);
  expect(w.sent.slice(2)).toEqual(["2:1", "2:2"]);
});

test("what no device acks in time is archived with everything before it, and sent again later", async () => {
  const w = new World();
  w.online("bob", 1);
  const id = w.message("bob", 1, 2);
  await w.clock.advance(LIMITS.ACK_TIMEOUT_MS + 500);
  expect(w.rows.map((row) => row.seq)).toEqual([1, 2]);
  expect(w.settled()).toEqual([id]);
  w.message("bob", 3);
  await w.clock.advance(10);
  expect(w.sent).toEqual(["1:1", "1:2"]);
  await w.clock.advance(LIMITS.REDELIVER_FIRST_MS + 500);
  expect(w.sent.slice(0, 4)).toEqual(["1:1", "1:2", "1:1", "1:2"]);
  w.ack("bob", 1, 1, 2);
  await w.clock.advance(50);
  expect(w.sent.at(-1)).toBe("1:3");
  w.ack("bob", 1, 3);
  await w.clock.advance(50);
  expect(w.rows).toEqual([]);
});

test("an ack that comes while the message is on its way into the store takes it out again", async () => {
  const w = new World();
  w.online("bob", 1);
  w.message("bob", 1);
  w.storeAway = true;
  await w.clock.advance(LIMITS.ACK_TIMEOUT_MS + 500);
  w.ack("bob", 1, 1);
  w.storeAway = false;
  await w.clock.advance(5_000);
  expect(w.rows).toEqual([]);
  expect(w.settled()).toHaveLength(1);
});

test("with two devices a message is settled when both acked, or in time when one did", async () => {
  const w = new World();
  w.online("bob", 1, 2);
  const [first, second] = [w.message("bob", 1), w.message("bob", 2)];
  await w.clock.advance(1);
  expect(w.sent.toSorted()).toEqual(["1:1", "1:2", "2:1", "2:2"]);
  w.ack("bob", 1, 1, 2);
  await w.clock.advance(1);
  expect(w.settled()).toEqual([]);
  w.ack("bob", 2, 1);
  await w.clock.advance(1);
  expect(w.settled()).toEqual([first]);
  await w.clock.advance(LIMITS.ACK_TIMEOUT_MS + 500);
  expect(w.settled()).toEqual([first, second]);
  expect(w.rows).toEqual([]);
});

test("a new session of the same user gets what the old one never acked, from the front", async () => {
  const w = new World();
  w.online("bob", 1);
  w.message("bob", 1, 2, 3);
  await w.clock.advance(1);
  w.ack("bob", 1, 1);
  w.online("bob", 2);
  await w.clock.advance(1);
  expect(w.sent).toEqual(["1:1", "1:2", "1:3", "2:2", "2:3"]);
});

test("an entry that is handed over again is not delivered again, whether open or settled", async () => {
  const w = new World();
  w.online("bob", 1);
  await w.clock.advance(1);
  const body = encodePushTasks([task(["bob"], 1)]);
  const entry = { id: "99-0", body, ordinal: 1 };
  w.partition.take("push_task", [entry]);
  w.partition.take("push_task", [entry]);
  await w.clock.advance(1);
  w.ack("bob", 1, 1);
  await w.clock.advance(1);
  w.partition.take("push_task", [entry]);
  await w.clock.advance(1);
  expect(w.sent).toEqual(["1:1"]);
});

test("a session never has more than its window unacked", async () => {
  const w = new World();
  w.online("bob", 1);
  await w.clock.advance(1);
  const total = LIMITS.UNACKED_PER_SESSION_MAX + 100;
  w.message("bob", ...Array.from({ length: total }, (_, i) => i + 1));
  await w.clock.advance(1);
  expect(w.sent).toHaveLength(LIMITS.UNACKED_PER_SESSION_MAX);
  w.ack("bob", 1, 1, 2, 3);
  await w.clock.advance(1);
  expect(w.sent).toHaveLength(LIMITS.UNACKED_PER_SESSION_MAX + 3);
});

test("a message past its time is settled and reaches neither a device nor the store", async () => {
  const w = new World();
  const expired = Math.floor(w.clock.now() / 1_000) - 1;
  const body = encodePushTasks([task(["bob"], 1, expired)]);
  w.partition.take("push_task", [{ id: "5-0", body, ordinal: 1 }]);
  await w.clock.advance(10);
  expect([w.sent, w.rows, w.settled()]).toEqual([[], [], ["5-0"]]);
});

test("an entry that makes no sense goes to dead_letter with its reason and is settled", async () => {
  const w = new World();
  w.partition.take("push_task", [{ id: "5-0", body: "nonsense", ordinal: 1 }]);
  await w.clock.advance(1);
  const letters = w.commits.flatMap((commit) => commit.appends ?? []);
  expect(letters.map(({ topic }) => topic)).toEqual(["dead_letter"]);
  expect(JSON.parse(letters[0]?.body ?? "{}")).toMatchObject({ reason: "entry_not_decodable" });
  expect(w.settled()).toEqual(["5-0"]);
});

test("an owner whose epoch is over stops at once, at Redis as at the store", async () => {
  const redis = new World();
  redis.fenced = true;
  redis.message("carol", 1);
  await redis.clock.advance(10);
  expect(redis.lost).toBe(1);
  const store = new World();
  store.storeStale = true;
  store.message("carol", 1);
  await store.clock.advance(10);
  expect(store.lost).toBe(1);
  expect(store.settled()).toEqual([]);
});
