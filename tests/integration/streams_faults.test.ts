/** What happens to Streams on Redis when the connection or the server fails. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { sleep } from "../../src/core/clock.ts";
import { ChatifyError } from "../../src/core/protocol/errors.ts";
import type { TestNode } from "./backends.ts";
import { clock, eventually, Recorder, type RedisBackend, redisBackend } from "./backends.ts";
import { type RedisServer, startRedisServer } from "./redis_server.ts";

let server: RedisServer;
let backend: RedisBackend;
let node: TestNode;
let recorder: Recorder;

beforeAll(async () => {
  server = await startRedisServer();
});

afterAll(() => server.stop());

beforeEach(async () => {
  backend = redisBackend(server, 300);
  node = await backend.node("a");
  recorder = new Recorder(node, "logic");
  await recorder.reader.assign(0);
});

afterEach(async () => {
  await recorder.reader.stop();
  backend.close();
});

const chat = (body: string) => ({ topic: "chat_input" as const, partition: 0, body });

function codeOf(result: string | Error | undefined): string {
  return result instanceof ChatifyError ? result.code : String(result);
}

async function appendUntilDone(body: string): Promise<void> {
  await eventually(`${body} is appended`, async () => {
    const [result] = await node.streams.append([chat(body)]);
    return typeof result === "string";
  });
}

test("a reader whose connection is killed goes on, and reads the unsettled again", async () => {
  await node.streams.append([chat("1")]);
  await eventually("1 is read", () => recorder.bodies("chat_input").length === 1);
  await server.admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
  await appendUntilDone("2");
  await eventually("2 is read", () => recorder.bodies("chat_input").includes("2"));
  expect(recorder.firsts("chat_input")).toEqual(["1", "2"]);
});

test("an append to a Redis that stalls is outcome_unknown, the next one unavailable", async () => {
  server.stall();
  const [unknown] = await node.streams.append([chat("1")]);
  const [refused] = await node.streams.append([chat("2")]);
  server.goOn();
  expect([codeOf(unknown), codeOf(refused)]).toEqual(["outcome_unknown", "unavailable"]);
  await appendUntilDone("3");
  await eventually("3 is read", () => recorder.bodies("chat_input").includes("3"));
  expect(recorder.firsts("chat_input")).not.toContain("2");
});

test("an entry that was on its way to a blocked read in a stall is read once that is over", async () => {
  const stalled = node.streams.append([chat("1")]);
  server.stall();
  await sleep(clock, 2_000); // Longer than both connections wait for a reply.
  server.goOn();
  await stalled;
  await appendUntilDone("2");
  await eventually("2 is read", () => recorder.bodies("chat_input").includes("2"));
  const length = await backend.length("chat_input", 0);
  await eventually(
    "all that is there is read",
    () => recorder.firsts("chat_input").length >= length,
  );
});

test("a commit whose reply was lost may be repeated, and settles once", async () => {
  const [owned] = await node.registry.lease("logic", "a", 4);
  const fence = { group: "logic" as const, partition: 0, epoch: owned?.epoch ?? 0 };
  const [id] = (await node.streams.append([chat("1")])) as string[];
  const commit = { fence, settles: [{ topic: "chat_input" as const, ids: [id as string] }] };
  server.stall();
  const lost = await node.streams.commit(commit).catch((error) => error);
  server.goOn();
  expect(codeOf(lost)).toBe("outcome_unknown");
  await eventually("it is repeated", async () => {
    const error = await node.streams.commit(commit).catch((reason) => reason);
    return error === undefined;
  });
  expect(await backend.length("chat_input", 0)).toBe(0);
});

test("what was appended before a crash of Redis is read after it", async () => {
  recorder.reader.revoke(0);
  await node.streams.append([chat("1"), chat("2")]);
  await server.crash();
  await appendUntilDone("3");
  await recorder.reader.assign(0);
  await eventually("all are read", () => recorder.firsts("chat_input").length === 3);
  expect(recorder.firsts("chat_input")).toEqual(["1", "2", "3"]);
});

test("a Redis that is full refuses a commit as a whole, with unavailable", async () => {
  const [owned] = await node.registry.lease("logic", "a", 4);
  const fence = { group: "logic" as const, partition: 0, epoch: owned?.epoch ?? 0 };
  const [id] = (await node.streams.append([chat("1")])) as string[];
  await server.admin.config("SET", "maxmemory", "1");
  const error = await node.streams
    .commit({
      fence,
      deletes: [{ map: "seq", fields: ["c"] }],
      appends: [{ topic: "push_task", partition: 0, body: "t" }],
      settles: [{ topic: "chat_input", ids: [id as string] }],
    })
    .catch((reason) => reason);
  await server.admin.config("SET", "maxmemory", "0");
  expect(codeOf(error)).toBe("unavailable");
  expect(await backend.length("chat_input", 0)).toBe(1);
});

test("scripts that Redis forgot are sent again when the caller repeats", async () => {
  await node.registry.lease("logic", "a", 1);
  await server.admin.script("FLUSH");
  const first = await node.registry.lease("logic", "a", 1).catch((reason) => reason);
  expect(codeOf(first)).toBe("unavailable");
  expect(await node.registry.lease("logic", "a", 1)).toHaveLength(1);
});
