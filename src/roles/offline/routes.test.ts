import { afterAll, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Hono } from "hono";
import { pino } from "pino";
import { type Clock, systemClock, systemRandom } from "../../core/clock.ts";
import { silentLedger } from "../../core/ledger/contract.ts";
import { CLUSTER_SECRET_HEADER } from "../../core/offline/wire.ts";
import { createMetrics } from "../../core/telemetry/metrics.ts";
import { silentTracer } from "../../core/telemetry/trace.ts";
import type { OfflineEngine } from "./engine.ts";
import { allowAll, createOfflineApp, type OfflineAppDeps, refuseAll } from "./routes.ts";
import { openSqliteStore } from "./sqlite_store.ts";

const directory = mkdtempSync(join(tmpdir(), "chatify-routes-"));
const nowS = 1_800_000_000;
const clock: Clock = { ...systemClock, now: () => nowS * 1_000 };
const log = pino({ level: "silent" });
const telemetry = { log, metrics: createMetrics(), tracer: silentTracer, ledger: silentLedger };
const clusterSecret = "the-secret-of-the-cluster";
const publicPath = "/chatify/offline/v1";

let store: OfflineEngine;
let app: Hono;
let files = 0;

const createApp = (options: Partial<OfflineAppDeps> = {}) => {
  const random = systemRandom;
  const announceRows = () => Promise.resolve();
  const base = { store, clusterSecret, authorize: allowAll, clock, random, telemetry };
  const deps = { ...base, announceRows };
  return createOfflineApp({ ...deps, ...options });
};

beforeEach(async () => {
  await store?.close();
  store = openSqliteStore({ path: join(directory, `${files++}.db`), clock });
  app = createApp();
});

afterAll(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

interface Answer {
  readonly status: number;
  readonly [field: string]: unknown;
}

async function send(path: string, init?: RequestInit, to = app): Promise<Answer> {
  const response = await to.request(path, init);
  return { ...((await response.json()) as object), status: response.status };
}

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  send(path, { method: "POST", body: JSON.stringify(body), headers });

const message = (n: number, fields: object = {}) => ({
  msg_id: `m-${n}`,
  message_type: "CHAT",
  from_user_id: "bob",
  target_type: "USER",
  to_user_id: "ann",
  content: `number ${n}`,
  timestamp: nowS,
  expire_time: 0,
  content_id: "",
  conversation_id: "u:ann:bob",
  seq: n,
  client_msg_id: `c-${n}`,
  ...fields,
});
const messages = (count: number) => Array.from({ length: count }, (_, i) => message(i + 1));

const archive = (user_id: string, list: unknown[]) =>
  post(`${publicPath}/ArchiveMessages`, { user_id, messages: list });
const acknowledge = (body: object) => post(`${publicPath}/AcknowledgeMessages`, body);
const retrieve = (query: Record<string, string>) =>
  send(`${publicPath}/RetrieveOfflineMessages?${new URLSearchParams(query)}`);

test("archived messages are retrieved as they were, page after page", async () => {
  const list = messages(5);
  expect(await archive("ann", list)).toEqual({ status: 200, archived: 5 });
  const first = await retrieve({ user_id: "ann", page_size: "3" });
  expect(first).toEqual({
    status: 200,
    messages: list.slice(0, 3),
    next_message_id: "m-3",
    has_more: true,
  });
  const last = { user_id: "ann", page_size: "3", last_message_id: "m-3" };
  expect(await retrieve(last)).toEqual({
    status: 200,
    messages: list.slice(3),
    next_message_id: null,
    has_more: false,
  });
});

test("a user without messages gets an empty page", async () => {
  const page = { status: 200, messages: [], next_message_id: null, has_more: false };
  expect(await retrieve({ user_id: "nobody" })).toEqual(page);
});

test("acknowledged messages are gone, and paging goes on behind them", async () => {
  await archive("ann", messages(4));
  const ids = ["m-1", "m-2", "m-unknown"];
  expect(await acknowledge({ user_id: "ann", msg_ids: ids })).toMatchObject({ acknowledged: 2 });
  expect(await acknowledge({ user_id: "ann", message_ids: ids })).toMatchObject({
    acknowledged: 0,
  });
  const rest = await retrieve({ user_id: "ann", last_message_id: "m-2" });
  expect(rest.messages).toEqual(messages(4).slice(2));
});

test("archiving again changes nothing and is answered alike", async () => {
  await archive("ann", messages(2));
  expect(await archive("ann", messages(3))).toEqual({ status: 200, archived: 3 });
  expect((await retrieve({ user_id: "ann" })).messages).toEqual(messages(3));
});

test("numbers may arrive as strings, and what older callers do not know is filled in", async () => {
  const old = {
    msg_id: "m-1",
    message_type: "CHAT",
    from_user_id: "bob",
    target_type: "USER",
    to_user_id: "ann",
    content: "hello",
    timestamp: "1799999999",
    expire_time: "1900000000",
  };
  expect(await archive("ann", [old])).toMatchObject({ archived: 1 });
  const [found] = (await retrieve({ user_id: "ann" })).messages as object[];
  expect(found).toEqual({
    ...old,
    timestamp: 1_799_999_999,
    expire_time: 1_900_000_000,
    content_id: "",
    conversation_id: "u:ann:bob",
    seq: 0,
    client_msg_id: "",
  });
});

test("expired messages are not retrieved", async () => {
  await archive("ann", [message(1, { expire_time: nowS - 1 }), message(2)]);
  expect((await retrieve({ user_id: "ann" })).messages).toEqual([message(2)]);
});

test("what is wrong is refused as bad_request and says where", async () => {
  const cases: [Promise<Answer>, string][] = [
    [retrieve({}), "user_id"],
    [retrieve({ user_id: "a b" }), "user_id"],
    [retrieve({ user_id: "ann", page_size: "0" }), "page_size"],
    [retrieve({ user_id: "ann", page_size: "1001" }), "page_size"],
    [retrieve({ user_id: "ann", page_size: "many" }), "page_size"],
    [acknowledge({ user_id: "ann" }), "msg_ids"],
    [acknowledge({ user_id: "ann", msg_ids: [1] }), "msg_ids.0"],
    [archive("ann", [message(1, { timestamp: "soon" })]), "messages.0.timestamp"],
    [archive("ann", [message(1, { seq: -1 })]), "messages.0.seq"],
    [archive("ann", [message(1, { content: "x".repeat(65_537) })]), "messages.0.content"],
    [archive("ann", [message(1, { msg_id: "" })]), "messages.0.msg_id"],
  ];
  for (const [answer, where] of cases) {
    const { code, message: text, request_id, retryable, status } = await answer;
    expect({ code, retryable, status }).toEqual({
      code: "bad_request",
      retryable: false,
      status: 422,
    });
    expect(text).toContain(where);
    expect(request_id).toBeString();
  }
  expect(await store.count()).toBe(0);
});

test("more than a thousand items are too_large", async () => {
  const ids = Array.from({ length: 1_001 }, (_, i) => `m-${i}`);
  const refusal = { status: 413, code: "too_large" };
  expect(await acknowledge({ user_id: "ann", msg_ids: ids })).toMatchObject(refusal);
  expect(await acknowledge({ user_id: "ann", message_ids: ids })).toMatchObject(refusal);
  expect(await archive("ann", messages(1_001))).toMatchObject(refusal);
  expect(await archive("ann", messages(1_000))).toMatchObject({ archived: 1_000 });
});

test("a store that is away is unavailable and worth another try", async () => {
  await store.close();
  for (const answer of [retrieve({ user_id: "ann" }), archive("ann", messages(1))]) {
    expect(await answer).toMatchObject({ status: 503, code: "unavailable", retryable: true });
  }
});

test("public routes ask who calls before anything else, internal ones do not", async () => {
  app = createApp({ authorize: refuseAll });
  const refusal = { status: 401, code: "unauthorized" };
  expect(await retrieve({ user_id: "ann" })).toMatchObject(refusal);
  expect(await acknowledge({})).toMatchObject(refusal);
  expect(await archive("ann", messages(2_000))).toMatchObject(refusal);
  expect(await post("/internal/offline/v1/count", {}, secret(clusterSecret))).toEqual({
    status: 200,
    rows: 0,
  });
});

const secret = (value: string) => ({ [CLUSTER_SECRET_HEADER]: value });

test("internal routes open to the cluster's secret only, and never to an empty one", async () => {
  const body = { owner: { partition: 1, epoch: 1 }, rows: [] };
  const call = (headers: Record<string, string>) =>
    post("/internal/offline/v1/archive", body, headers);
  for (const value of ["", "x", clusterSecret.slice(1), `${clusterSecret}x`]) {
    expect(await call(secret(value))).toMatchObject({ status: 401, code: "unauthorized" });
  }
  expect(await call({})).toMatchObject({ status: 401 });
  expect(await call(secret(clusterSecret))).toEqual({ status: 200 });
  app = createApp({ clusterSecret: "" });
  expect(await call(secret(""))).toMatchObject({ status: 401 });
  expect(await call({})).toMatchObject({ status: 401 });
});

test("a stale owner is answered with a conflict", async () => {
  const call = (epoch: number) =>
    post(
      "/internal/offline/v1/confirm",
      { owner: { partition: 1, epoch }, confirmed: [] },
      secret(clusterSecret),
    );
  expect(await call(2)).toEqual({ status: 200, confirmed: 0 });
  expect(await call(1)).toMatchObject({ status: 409, code: "conflict", retryable: false });
});
