/** What PushStore and Tags promise, held against Redis and against the doubles. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ChatifyError } from "../../src/core/protocol/errors.ts";
import { decodePushTasks, pushTaskParts } from "../../src/core/protocol/push_task.ts";
import { partitionOf } from "../../src/core/topology.ts";
import type { Backend, TestNode } from "./backends.ts";
import { eventually, MemoryBackend, partitions, Recorder, redisBackend } from "./backends.ts";
import { type RedisServer, startRedisServer } from "./redis_server.ts";

let server: RedisServer;
beforeAll(async () => {
  server = await startRedisServer();
});
afterAll(async () => {
  await server?.stop();
});

const task = (user: string, msgId: string) => ({
  ...{ msgId, conversation: "s:x", seq: 0, expireTime: 0, acceptedAt: 1, trace: "" },
  recipients: [user],
  message: JSON.stringify({ msg_id: msgId, to_user_id: user }),
});
const unit = (name: string, msgId: string, users = [name]) => ({
  ...{ name, value: msgId },
  ...pushTaskParts(users.map((user) => task(user, msgId))),
});

describe.each([
  ["in Redis", (): Backend => redisBackend(server)],
  ["in memory", (): Backend => new MemoryBackend()],
])("pushes %s", (_, make) => {
  async function withNodes(work: (a: TestNode, b: TestNode, backend: Backend) => Promise<void>) {
    const backend = make();
    try {
      await work(await backend.node("a"), await backend.node("b"), backend);
    } finally {
      backend.close();
    }
  }

  test("a key stands for what was reserved first, whoever asks", () =>
    withNodes(async (a, b) => {
      const [one, two] = [
        { taskId: "t1", ms: 5, digest: "d" },
        { taskId: "t2", ms: 6, digest: "e" },
      ];
      expect(await a.pushes.reserve("k", null)).toBeNull();
      expect(await a.pushes.reserve("k", one)).toEqual(one);
      expect(await b.pushes.reserve("k", two)).toEqual(one);
      expect(await b.pushes.reserve("k", null)).toEqual(one);
      expect(await b.pushes.reserve("other", two)).toEqual(two);
    }));

  test("what has a name is appended once, in an entry that can be read, and is answered the same", () =>
    withNodes(async (a, b, backend) => {
      const units = [unit("ann", "m1"), unit("bob", "m2"), unit("part", "m3", ["c", "d"])];
      const both = await Promise.all([
        a.pushes.appendOnce(1, units),
        b.pushes.appendOnce(1, [unit("ann", "m9"), unit("eve", "m4")]),
      ]);
      expect(both[0]?.slice(1)).toEqual(["m2", "m3"]);
      expect(both[0]?.[0]).toBe(both[1]?.[0] as string);
      expect(await b.pushes.appendOnce(1, units)).toEqual(both[0] as string[]);
      expect(await backend.length("push_task", 1)).toBe(2);
      // The same name in another partition is another one.
      await a.pushes.appendOnce(0, [unit("ann", "m5")]);
      expect(await backend.length("push_task", 0)).toBe(1);
      await a.registry.lease("push", "a", partitions.user);
      const recorder = new Recorder(a, "push");
      await recorder.reader.assign(1);
      await eventually("both entries are read", () => recorder.bodies("push_task").length === 2);
      const tasks = recorder.bodies("push_task").flatMap((body) => decodePushTasks(body));
      expect(tasks.map(({ recipients }) => recipients[0]).sort()).toEqual([
        ...["ann", "bob", "c", "d", "eve"],
      ]);
      expect(tasks.every(({ message, msgId }) => message.includes(msgId))).toBe(true);
      await recorder.reader.stop();
    }));

  test("the backlog grows with what waits", () =>
    withNodes(async (a) => {
      const before = await a.pushes.backlogBytes();
      for (let i = 0; i < 50; i++) await a.pushes.appendOnce(i % 4, [unit(`u${i}`, `m${i}`)]);
      expect(await a.pushes.backlogBytes()).toBeGreaterThan(before);
    }));

  test("tags are given to users, listed from either side, and gone with their last user", () =>
    withNodes(async ({ tags }) => {
      const users = Array.from({ length: 30 }, (_, i) => `u${i}`);
      expect(await tags.add("beta", users)).toBe(30);
      expect(await tags.add("beta", ["u1", "u1", "new"])).toBe(1);
      expect(await tags.add("vip", ["u1"])).toBe(1);
      expect(await tags.list()).toEqual([
        { tag: "beta", users: 31 },
        { tag: "vip", users: 1 },
      ]);
      expect(await tags.of("u1")).toEqual(["beta", "vip"]);
      expect(await tags.of("nobody")).toEqual([]);
      const found = new Set<string>();
      let cursor: string | null = null;
      do {
        const page = await tags.users("beta", cursor, 5);
        for (const user of page.users) found.add(user);
        cursor = page.cursor;
      } while (cursor !== null);
      expect(found).toEqual(new Set([...users, "new"]));
      const inPartition: string[] = [];
      for await (const page of tags.usersIn("beta", 2)) inPartition.push(...page);
      const own = [...users, "new"].filter((user) => partitionOf(user, partitions.user) === 2);
      expect(inPartition.sort()).toEqual(own.sort());
      expect(await tags.remove("vip", ["u1", "u2"])).toBe(1);
      expect((await tags.list()).map(({ tag }) => tag)).toEqual(["beta"]);
    }));

  test("a user has so many tags at most, and keeps those", () =>
    withNodes(async ({ tags }) => {
      for (const tag of ["a", "b", "c", "c"]) await tags.add(tag, ["ann"]);
      const refused = await tags.add("d", ["ann"]).catch((error: unknown) => error);
      expect(refused instanceof ChatifyError ? refused.code : refused).toBe("conflict");
      expect(await tags.of("ann")).toEqual(["a", "b", "c"]);
    }));
});
