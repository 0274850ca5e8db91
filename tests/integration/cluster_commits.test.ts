/** On a Redis Cluster a commit is made of steps on several servers, any of which may be away. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { spreadTag } from "../../src/core/redis/spread.ts";
import type { Commit } from "../../src/core/streams/contract.ts";
import {
  eventually,
  Recorder,
  type RedisBackend,
  redisBackend,
  type TestNode,
} from "./backends.ts";
import { ClusterRedis } from "./redis_cluster.ts";

const START_MS = 60_000;
const TIMEOUT_MS = 600;

let server: ClusterRedis;
let backend: RedisBackend;

beforeAll(async () => {
  server = await ClusterRedis.start();
  backend = redisBackend(server, TIMEOUT_MS);
}, START_MS);
afterAll(async () => {
  backend?.close();
  await server?.stop();
}, START_MS);

const task = (partition: number, body: string) =>
  ({ topic: "push_task", partition, body }) as const;

/** A user partition whose master is not the one of chat partition 0. */
async function elsewhere(): Promise<{ partition: number; stall(): void; goOn(): void }> {
  const home = await server.masterOf(`{${spreadTag(0)}}`);
  for (let partition = 0; partition < 4; partition++) {
    const { node } = await server.masterOf(`{${spreadTag(partition)}}`);
    if (node !== home.node) {
      return { partition, stall: () => node.stall(), goOn: () => node.goOn() };
    }
  }
  throw new Error("all partitions are on one master");
}

async function own(node: TestNode, name: string) {
  let epoch = 0;
  await eventually(`${name} owns logic:0`, async () => {
    const owned = await node.registry.lease("logic", name, 4);
    epoch = owned.find(({ partition }) => partition === 0)?.epoch ?? 0;
    return epoch > 0;
  });
  return { group: "logic" as const, partition: 0, epoch };
}

test("a commit that its owner could not finish is finished by the next owner, once", async () => {
  const [a, b] = await Promise.all([backend.node("a"), backend.node("b")]);
  const other = await elsewhere();
  await a.streams.append([{ topic: "chat_input", partition: 0, body: "hello" }]);
  const input = new Recorder(a, "logic");
  const fence = await own(a, "a");
  await input.reader.assign(0);
  await eventually("the entry is read", () => input.entries("chat_input").length === 1);
  const ids = input.entries("chat_input").map(({ id }) => id);
  const commit: Commit = {
    fence,
    turn: 1,
    puts: [{ map: "seq", entries: [["c", "1"]] }],
    appends: [task(0, "here"), task(other.partition, "there 1"), task(other.partition, "there 2")],
    settles: [{ topic: "chat_input", ids }],
  };
  other.stall();
  const failed = await a.streams.commit(commit).catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: "outcome_unknown" });
  // Decided, and not yet done: the entry is unsettled.
  expect(await a.streams.mapGet("seq", "logic", 0, ["c"])).toEqual(["1"]);
  expect(await backend.length("chat_input", 0)).toBe(1);
  other.goOn();

  // The first owner is gone; the second finds nothing to decide, and everything where it belongs.
  await input.reader.stop();
  const next = await own(b, "b");
  expect(next.epoch).toBeGreaterThan(fence.epoch);
  const inherited = new Recorder(b, "logic");
  await inherited.reader.assign(0);
  await eventually("it is settled", async () => (await backend.length("chat_input", 0)) === 0);
  expect(inherited.entries("chat_input")).toEqual([]);
  const output = new Recorder(b, "push");
  await Promise.all([output.reader.assign(0), output.reader.assign(other.partition)]);
  await eventually("all arrive", () => output.entries("push_task").length >= 3);
  // A repetition by the first owner, which does not know that it was finished, changes nothing.
  await expect(a.streams.commit(commit)).rejects.toThrow("owner later than");
  await b.streams.commit({ fence: next, turn: 1, appends: [task(other.partition, "there 3")] });
  await eventually("the last arrives", () => output.bodies("push_task").includes("there 3"));
  expect(output.bodies("push_task").toSorted()).toEqual(["here", "there 1", "there 2", "there 3"]);
  const there = output.batches.filter(({ partition }) => partition === other.partition);
  expect(there.flatMap(({ entries }) => entries).map(({ ordinal }) => ordinal)).toEqual([1, 2, 3]);
  await Promise.all([inherited.reader.stop(), output.reader.stop()]);
}, 30_000);

test("a commit that is repeated after an unknown outcome appends once", async () => {
  const a = await backend.node("c");
  await server.flush();
  const other = await elsewhere();
  const fence = await own(a, "c");
  const bodies: string[] = [];
  for (let turn = 1; turn <= 5; turn++) {
    const appends = [task(other.partition, `first ${turn}`), task(0, `home ${turn}`)];
    const commit = { fence, turn, appends };
    if (turn % 2 === 0) other.stall();
    const outcome = a.streams.commit(commit).catch((error: unknown) => error);
    if (turn % 2 === 0) {
      expect(await outcome).toMatchObject({ code: "outcome_unknown" });
      other.goOn();
      await eventually("the repetition is taken", () =>
        a.streams.commit(commit).then(
          () => true,
          () => false,
        ),
      );
    }
    await outcome;
    bodies.push(`first ${turn}`);
  }
  const output = new Recorder(a, "push");
  await output.reader.assign(other.partition);
  await eventually("all arrive", () => output.entries("push_task").length >= 5);
  expect(output.bodies("push_task")).toEqual(bodies);
  expect(await backend.length("push_task", 0)).toBe(5);
  await output.reader.stop();
}, 30_000);
