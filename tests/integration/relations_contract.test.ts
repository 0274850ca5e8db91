/**
 * One suite for both implementations of Relations: the simulator may only rely on what Redis does.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { pino } from "pino";
import { type Clock, systemClock, systemRandom } from "../../src/core/clock.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { ChatifyError, type ErrorCode } from "../../src/core/protocol/errors.ts";
import { conversationId } from "../../src/core/protocol/message.ts";
import { createRedis, type RedisClient } from "../../src/core/redis/client.ts";
import type { Relations } from "../../src/core/relations/contract.ts";
import { MemoryRelations } from "../../src/core/relations/memory_relations.ts";
import { RedisRelations } from "../../src/core/relations/redis_relations.ts";
import { createMetrics } from "../../src/core/telemetry/metrics.ts";
import { contractServers } from "./contract_backends.ts";

const clock: Clock = { ...systemClock, now: () => 1_700_000_000_123 };
const partitions = { chat: 8, user: 4 };
const log = pino({ level: "silent" });
const servers = contractServers();
const clients: RedisClient[] = [];

afterAll(() => {
  for (const client of clients) client.close();
});

type Make = (groupMembersMax: number) => Promise<Relations>;

const implementations: [string, Make][] = [
  ["in memory", async (max) => new MemoryRelations({ clock, limits: { GROUP_MEMBERS_MAX: max } })],
  ...servers.map(([name, server]): [string, Make] => [
    name,
    (max) => redisRelations(max, server().url),
  ]),
];

async function redisRelations(max: number, url: string): Promise<RedisRelations> {
  const prefix = `test-${systemRandom.token(10)}`;
  const redis = createRedis(url, { clock: systemClock, log, metrics: createMetrics(), prefix });
  clients.push(redis);
  await redis.ready();
  return new RedisRelations({ redis, partitions, clock, limits: { GROUP_MEMBERS_MAX: max } });
}

const users = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `u${from + i}`);

async function codeOf(work: Promise<unknown>): Promise<ErrorCode | "none"> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (error === null) return "none";
  expect(error).toBeInstanceOf(ChatifyError);
  return (error as ChatifyError).code;
}

describe.each(implementations)("relations %s", (_, make) => {
  const max = LIMITS.GROUP_MEMBERS_MAX;

  test("a new group has its owner and its members, each once", async () => {
    const relations = await make(max);
    const made = await relations.createGroup("g1", "ann", ["bob", "ann", "cem", "bob"]);
    expect(made).toEqual({
      groupId: "g1",
      ownerId: "ann",
      version: 1,
      createdAt: 1_700_000_000_123,
      memberCount: 3,
    });
    expect(await relations.group("g1")).toEqual(made);
    const [members] = await relations.members(["g1"]);
    expect([...(members ?? [])].sort()).toEqual(["ann", "bob", "cem"]);
  });

  test("a group that is not there is null, for one and among many, in order", async () => {
    const relations = await make(max);
    await relations.createGroup("here", "ann", []);
    await relations.createGroup("empty", "ann", []);
    await relations.removeMembers("empty", ["ann"]);
    expect(await relations.group("gone")).toBeNull();
    expect(await relations.members(["gone", "here", "empty", "here"])).toEqual([
      null,
      ["ann"],
      [],
      ["ann"],
    ]);
    expect(await relations.members([])).toEqual([]);
  });

  test("a group cannot be created twice", async () => {
    const relations = await make(max);
    await relations.createGroup("g", "ann", []);
    expect(await codeOf(relations.createGroup("g", "bob", ["cem"]))).toBe("conflict");
    expect((await relations.group("g"))?.ownerId).toBe("ann");
    expect(await relations.members(["g"])).toEqual([["ann"]]);
  });

  test("each change raises the version, a repetition changes nothing", async () => {
    const relations = await make(max);
    await relations.createGroup("g", "ann", []);
    expect(await relations.addMembers("g", ["bob", "cem", "bob"])).toMatchObject({
      version: 2,
      memberCount: 3,
    });
    expect(await relations.addMembers("g", ["bob"])).toMatchObject({ version: 2, memberCount: 3 });
    expect(await relations.removeMembers("g", ["cem", "eve"])).toMatchObject({
      version: 3,
      memberCount: 2,
    });
    expect(await relations.removeMembers("g", ["cem"])).toMatchObject({ version: 3 });
    expect(await relations.removeMembers("g", [])).toMatchObject({ version: 3 });
    expect(await relations.group("g")).toMatchObject({ ownerId: "ann", version: 3 });
  });

  test("changing or deleting what is not there is not_found", async () => {
    const relations = await make(max);
    expect(await codeOf(relations.addMembers("g", ["bob"]))).toBe("not_found");
    expect(await codeOf(relations.removeMembers("g", ["bob"]))).toBe("not_found");
    expect(await codeOf(relations.deleteGroup("g"))).toBe("not_found");
    expect(await relations.members(["g"])).toEqual([null]);
  });

  test("a deleted group leaves nothing behind for the next of its name", async () => {
    const relations = await make(max);
    await relations.createGroup("g", "ann", ["bob"]);
    await relations.deleteGroup("g");
    expect(await relations.group("g")).toBeNull();
    expect(await relations.members(["g"])).toEqual([null]);
    expect(await relations.createGroup("g", "cem", [])).toMatchObject({ memberCount: 1 });
    expect(await relations.members(["g"])).toEqual([["cem"]]);
  });

  test("a group is full exactly at its limit, and a refused change adds nobody", async () => {
    const relations = await make(5);
    expect(await codeOf(relations.createGroup("big", "ann", users(5)))).toBe("group_full");
    expect(await relations.group("big")).toBeNull();
    await relations.createGroup("g", "ann", users(3));
    expect(await codeOf(relations.addMembers("g", ["x", "y"]))).toBe("group_full");
    expect(await relations.group("g")).toMatchObject({ version: 1, memberCount: 4 });
    // Members that are there already need no room.
    expect(await relations.addMembers("g", [...users(3), "x"])).toMatchObject({ memberCount: 5 });
    expect(await codeOf(relations.addMembers("g", ["y"]))).toBe("group_full");
    expect(await relations.addMembers("g", ["x"])).toMatchObject({ memberCount: 5 });
  });

  test("the largest group can be created, filled and emptied in one call each", async () => {
    const relations = await make(max);
    await relations.createGroup("full", "ann", users(max - 1));
    expect((await relations.members(["full"]))[0]).toHaveLength(max);
    await relations.createGroup("g", "ann", []);
    const filled = await relations.addMembers("g", users(max - 1));
    expect(filled.memberCount).toBe(max);
    const emptied = await relations.removeMembers("g", users(max - 1));
    expect(emptied).toMatchObject({ memberCount: 1, version: 3 });
  });

  test("concurrent changes of one group all count", async () => {
    const relations = await make(max);
    await relations.createGroup("g", "ann", []);
    await Promise.all(users(50).map((user) => relations.addMembers("g", [user])));
    expect(await relations.group("g")).toMatchObject({ version: 51, memberCount: 51 });
    const codes = await Promise.all(
      users(10).map((user) => codeOf(relations.createGroup("race", user, []))),
    );
    expect(codes.filter((code) => code === "none")).toHaveLength(1);
  });

  test("a block is seen in the conversation from either side and in the blocker's list", async () => {
    const relations = await make(max);
    const conversation = conversationId("USER", "ann", "bob");
    await relations.block("bob", "ann");
    await relations.block("bob", "ann");
    await relations.block("bob", "cem");
    expect(await relations.blockers([conversation])).toEqual([["bob"]]);
    expect([...(await relations.blockedBy("bob"))].sort()).toEqual(["ann", "cem"]);
    expect(await relations.blockedBy("ann")).toEqual([]);
    await relations.block("ann", "bob");
    const [both] = await relations.blockers([conversation]);
    expect([...(both ?? [])].sort()).toEqual(["ann", "bob"]);
  });

  test("unblocking lifts one side's block only, and may be repeated", async () => {
    const relations = await make(max);
    const conversation = conversationId("USER", "ann", "bob");
    await relations.block("bob", "ann");
    await relations.block("ann", "bob");
    await relations.unblock("bob", "ann");
    await relations.unblock("bob", "ann");
    expect(await relations.blockers([conversation])).toEqual([["ann"]]);
    expect(await relations.blockedBy("bob")).toEqual([]);
    await relations.unblock("ann", "bob");
    await relations.unblock("ann", "nobody");
    expect(await relations.blockers([conversation])).toEqual([[]]);
  });

  test("blockers of many conversations come in the order asked for", async () => {
    const relations = await make(max);
    const names = users(40);
    await Promise.all(names.filter((_, i) => i % 3 === 0).map((u) => relations.block(u, "zoe")));
    const ids = names.map((user) => conversationId("USER", user, "zoe"));
    const expected = names.map((user, i) => (i % 3 === 0 ? [user] : []));
    expect(await relations.blockers([...ids, ...ids])).toEqual([...expected, ...expected]);
    expect(await relations.blockers([])).toEqual([]);
  });

  test("ids of any script are kept as they are", async () => {
    const relations = await make(max);
    const odd = ["čaj", "李雷", "🙂", "a/b", "x'y", "50%", "[1]"];
    await relations.createGroup("група", "李雷", odd);
    const [members] = await relations.members(["група"]);
    expect([...(members ?? [])].sort()).toEqual([...odd].sort());
    for (const user of odd) await relations.block(user, "me");
    const ids = odd.map((user) => conversationId("USER", user, "me"));
    expect(await relations.blockers(ids)).toEqual(odd.map((user) => [user]));
  });
});

describe("relations in a Redis that fails", () => {
  const single = () => (servers[0] as (typeof servers)[number])[1]();

  test("a Redis that forgot its scripts refuses one change, and is given them again", async () => {
    const relations = await redisRelations(10, single().url);
    await relations.createGroup("a", "ann", []);
    await (await single().serving("")).script("FLUSH");
    expect(await codeOf(relations.createGroup("b", "ann", []))).toBe("unavailable");
    expect(await relations.createGroup("b", "ann", [])).toMatchObject({ version: 1 });
  });

  test("a Redis that takes no writes is unavailable", async () => {
    const admin = await single().serving("");
    await admin.config("SET", "maxmemory", "1");
    const relations = await redisRelations(10, single().url);
    expect(await codeOf(relations.createGroup("g", "ann", []))).toBe("unavailable");
    await admin.config("SET", "maxmemory", "0");
    expect(await codeOf(relations.createGroup("g", "ann", []))).toBe("none");
  });
});
