/**
 * One suite for both implementations of JobStore: the simulator may only rely on what Redis does.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  ACKED,
  DELIVERED,
  EXPIRED,
  type JobCounts,
  type JobRecord,
  type JobStore,
  NO_COUNTS,
  STORED,
} from "../../src/core/jobs/contract.ts";
import { type Backend, eventually, MemoryBackend, redisBackend } from "./backends.ts";
import { type RedisServer, startRedisServer } from "./redis_server.ts";

let server: RedisServer;
beforeAll(async () => {
  server = await startRedisServer();
});
afterAll(async () => {
  await server?.stop();
});

const job = (id = "j1", change: Partial<JobRecord> = {}): JobRecord => ({
  id,
  spec: {
    target: { kind: "list" },
    fromUserId: "system",
    contentId: "",
    content: "aGk=",
    pushType: 1,
    timestamp: 1,
    expireTime: 0,
    startTime: 0,
    rate: 0,
  },
  state: "loading",
  resolved: false,
  createdAt: 5,
  startedAt: 0,
  finishedAt: 0,
  speed: 0,
  invalid: 0,
  problems: [],
  ...change,
});

const counts = (change: Partial<JobCounts>): JobCounts => ({ ...NO_COUNTS, ...change });

describe.each([
  ["in Redis", (): Backend => redisBackend(server)],
  ["in memory", (): Backend => new MemoryBackend()],
])("jobs %s", (_, make) => {
  async function withJobs(work: (jobs: JobStore, backend: Backend) => Promise<void>) {
    const backend = make();
    try {
      await work((await backend.node("n1")).jobs, backend);
    } finally {
      backend.close();
    }
  }

  test("a job is made once, found, listed latest first, and changed from the states named", () =>
    withJobs(async (jobs) => {
      expect(await jobs.create(job())).toBe(true);
      expect(await jobs.create(job("j1", { createdAt: 9 }))).toBe(false);
      expect(await jobs.create(job("j2", { createdAt: 7, problems: ["line 3"], invalid: 1 }))).toBe(
        true,
      );
      expect(await jobs.get("j1")).toEqual(job());
      expect((await jobs.list(10)).map(({ id }) => id)).toContain("j1");
      expect((await jobs.list(1)).length).toBe(1);
      expect(new Set(await jobs.open())).toEqual(new Set(["j1", "j2"]));
      const running = { state: "running", startedAt: 8, speed: 2.5, resolved: true } as const;
      expect(await jobs.change("j2", ["paused"], running)).toMatchObject({ changed: false });
      const changed = await jobs.change("j2", ["loading", "paused"], running);
      const now = job("j2", { createdAt: 7, problems: ["line 3"], invalid: 1, ...running });
      expect(changed).toEqual({ changed: true, record: now });
      expect(await jobs.get("j2")).toEqual(now);
      expect(await jobs.change("j3", ["loading"], {})).toBeNull();
      expect(await jobs.get("j3")).toBeNull();
    }));

  test("one node runs a job, until it is silent for longer than its lease", () =>
    withJobs(async (jobs) => {
      await jobs.create(job());
      expect(await jobs.lease("j1", "a", 200)).toBe(true);
      expect(await jobs.lease("j1", "b", 200)).toBe(false);
      expect(await jobs.lease("j1", "a", 200)).toBe(true);
      await eventually("b gets the job", () => jobs.lease("j1", "b", 5_000));
      expect(await jobs.lease("j1", "a", 200)).toBe(false);
      expect(await jobs.lease("j9", "a", 200)).toBe(false);
      await jobs.create(job("j2"), { node: "c", ttlMs: 200 });
      expect(await jobs.lease("j2", "a", 200)).toBe(false);
      await eventually("a gets the other", () => jobs.lease("j2", "a", 5_000));
    }));

  test("a list takes each user once, in chunks, and says what is next", () =>
    withJobs(async (jobs) => {
      await jobs.create(job());
      await jobs.add("j1", 2, ["a", "b", "c", "a"], 2);
      await jobs.add("j1", 2, ["c", "d"], 2);
      expect(await jobs.chunks("j1", 2, 9)).toEqual({
        sent: 0,
        chunks: [["a", "b"], ["c"], ["d"]],
      });
      expect((await jobs.chunks("j1", 2, 1)).chunks).toEqual([["a", "b"]]);
      expect(await jobs.chunks("j1", 0, 1)).toEqual({ sent: 0, chunks: [] });
      expect((await jobs.counts("j1"))[2]).toEqual(
        counts({ accepted: 4, waiting: 4, duplicates: 2 }),
      );
    }));

  test("a chunk is sent once, whoever believes that it is next", () =>
    withJobs(async (jobs, backend) => {
      await jobs.create(job());
      await jobs.add("j1", 1, ["a", "b", "c"], 2);
      await jobs.seal("j1");
      // Somebody who fills the list as well, and is late.
      await jobs.add("j1", 1, ["a", "d"], 2);
      await jobs.add("j1", 3, ["e"], 2);
      const other = (await backend.node("n2")).jobs;
      const sent = await Promise.all([
        jobs.send("j1", 1, 0, 2, "x"),
        other.send("j1", 1, 0, 2, "x"),
        jobs.send("j1", 1, 1, 2, "x"),
      ]);
      expect(sent.filter(Boolean).length).toBe(1);
      expect(await backend.length("push_task", 1)).toBe(1);
      expect(await jobs.chunks("j1", 1, 9)).toEqual({ sent: 2, chunks: [["c"]] });
      expect(await jobs.send("j1", 1, 2, 1, "y")).toBe(true);
      expect(await jobs.send("j1", 1, 3, 1, "z")).toBe(false);
      expect(await jobs.send("j9", 1, 0, 1, "z")).toBe(false);
      expect(await backend.length("push_task", 1)).toBe(2);
      expect((await jobs.counts("j1"))[1]).toEqual(counts({ accepted: 3, inFlight: 3 }));
    }));

  test("a job that is held sends nothing until it goes on; one that is stopped, never again", () =>
    withJobs(async (jobs, backend) => {
      await jobs.create(job());
      await jobs.add("j1", 1, ["a", "b", "c"], 2);
      await jobs.hold("j1", true);
      expect(await jobs.send("j1", 1, 0, 2, "x")).toBe(false);
      await jobs.hold("j1", false);
      expect(await jobs.send("j1", 1, 0, 2, "x")).toBe(true);
      await jobs.stop("j1", "cancelled");
      await jobs.stop("j1", "expired");
      expect(await jobs.send("j1", 1, 2, 1, "x")).toBe(false);
      await jobs.add("j1", 1, ["d"], 2);
      await jobs.add("j1", 3, ["e"], 2);
      expect(await backend.length("push_task", 1)).toBe(1);
      const [, one, , three] = await jobs.counts("j1");
      expect(one).toEqual(counts({ accepted: 3, inFlight: 2, cancelled: 1 }));
      expect(three).toEqual(NO_COUNTS);
    }));

  test("what became of messages counts once, however often and in whatever order it is told", () =>
    withJobs(async (jobs) => {
      await jobs.create(job());
      await jobs.add("j1", 0, ["a", "b", "c", "d", "e"], 9);
      await jobs.send("j1", 0, 0, 5, "x");
      const told: [string, number, number][] = [
        ["j1", 0, DELIVERED | ACKED],
        ["j1", 1, STORED],
        ["j1", 2, STORED],
        ["j1", 2, EXPIRED],
        ["j1", 3, DELIVERED],
        ["j1", 0, STORED],
      ];
      await jobs.record(0, told);
      const first = counts({
        ...{ accepted: 5, delivered: 2, acked: 1, stored: 1 },
        ...{ expired: 1, inFlight: 2 },
      });
      expect((await jobs.counts("j1"))[0]).toEqual(first);
      for (const mark of told.reverse()) await jobs.record(0, [mark]);
      expect((await jobs.counts("j1"))[0]).toEqual(first);
      // A stored row is acked later; what is acked does not expire.
      await jobs.record(0, [
        ["j1", 1, DELIVERED | ACKED],
        ["j1", 1, EXPIRED],
        ["j2", 0, ACKED],
      ]);
      expect((await jobs.counts("j1"))[0]).toEqual(
        counts({ accepted: 5, delivered: 3, acked: 2, expired: 1, inFlight: 2 }),
      );
      expect(await jobs.counts("j2")).toEqual([NO_COUNTS, NO_COUNTS, NO_COUNTS, NO_COUNTS]);
    }));

  test("five thousand outcomes fit one call", () =>
    withJobs(async (jobs) => {
      const users = Array.from({ length: 5_000 }, (_, i) => `u${i}`);
      await jobs.create(job());
      await jobs.add("j1", 0, users, 256);
      for (let sent = 0; sent < 5_000; ) {
        const { chunks } = await jobs.chunks("j1", 0, 1);
        const count = chunks[0]?.length ?? 0;
        expect(await jobs.send("j1", 0, sent, count, "x")).toBe(true);
        sent += count;
      }
      await jobs.record(
        0,
        users.map((_, i) => ["j1", i, i % 2 === 0 ? ACKED : STORED]),
      );
      const [zero] = await jobs.counts("j1");
      expect(zero).toEqual(counts({ accepted: 5_000, acked: 2_500, stored: 2_500 }));
    }));

  test("a job that has ended is not open any more, and is gone after its retention", () =>
    withJobs(async (jobs) => {
      await jobs.create(job());
      await jobs.add("j1", 0, ["a"], 9);
      await jobs.create(job("j2"));
      await jobs.change("j1", ["loading"], { state: "cancelled" });
      await jobs.retire("j1");
      expect(await jobs.open()).toEqual(["j2"]);
      await eventually("it is gone", async () => (await jobs.get("j1")) === null);
      expect((await jobs.list(10)).map(({ id }) => id)).toEqual(["j2"]);
      expect((await jobs.counts("j1"))[0]).toEqual(NO_COUNTS);
      await jobs.remove("j2");
      expect(await jobs.open()).toEqual([]);
      expect(await jobs.list(10)).toEqual([]);
    }));
});

test("nothing of a job is left in Redis after its retention", async () => {
  const backend = redisBackend(server);
  const { jobs } = await backend.node("n1");
  await backend.flush();
  await jobs.create(job());
  await jobs.add("j1", 0, ["a"], 9);
  await jobs.add("j1", 1, ["b"], 9);
  await jobs.send("j1", 0, 0, 1, "x");
  await jobs.record(0, [["j1", 0, ACKED]]);
  await jobs.change("j1", ["loading"], { state: "finished" });
  await jobs.retire("j1");
  const left = async () => (await server.admin.keys("*")).filter((key) => /job/.test(key));
  expect((await left()).length).toBeGreaterThan(4);
  await eventually("they have expired", async () => (await left()).length === 1, 10_000);
  await jobs.list(5);
  expect(await left()).toEqual([]);
  backend.close();
});
