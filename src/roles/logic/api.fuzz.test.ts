/**
 * Whatever is sent to the API of logic, it answers with JSON, and what is no success has a code
 * that is the caller's fault, never a 5xx. What it passes on is always well formed.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { pino } from "pino";
import { systemClock, systemRandom } from "../../core/clock.ts";
import { apiAuth } from "../../core/http/api_auth.ts";
import { silentLedger } from "../../core/ledger/contract.ts";
import { LIMITS } from "../../core/limits.ts";
import { ERRORS, type ErrorBody } from "../../core/protocol/errors.ts";
import { Message, UserId } from "../../core/protocol/message.ts";
import { MemoryRelations } from "../../core/relations/memory_relations.ts";
import { createMetrics } from "../../core/telemetry/metrics.ts";
import { silentTracer } from "../../core/telemetry/trace.ts";
import { createLogicApi } from "./api.ts";
import type { SystemPush } from "./api_contract.ts";
import { areUserIds } from "./push_body.ts";
import { jobDeps } from "./testing/job_deps.ts";

const pushes: SystemPush[] = [];
function pushedOnce(push: SystemPush) {
  pushes.push(push);
  return { taskId: "t", msgIds: push.recipients.map((_, i) => `id-${i}`) };
}
const app = createLogicApi({
  relations: new MemoryRelations({ clock: systemClock, limits: LIMITS }),
  intake: {
    async submit(push) {
      pushes.push(push);
      return push.recipients.map((_, i) => `id-${i}`);
    },
  },
  once: {
    byKey: async (_scope, _key, _asked, make) => pushedOnce(make(1)),
    byContent: async (push) => pushedOnce(push),
  },
  rates: { take() {} },
  gate: { pass: (_messages, work) => work() },
  ...jobDeps(),
  notices: { changed: async () => {} },
  authorize: apiAuth({ authMode: "dev", apiKeys: [] }),
  clock: systemClock,
  random: systemRandom,
  telemetry: {
    log: pino({ level: "silent" }),
    metrics: createMetrics(),
    tracer: silentTracer,
    ledger: silentLedger,
  },
  limits: LIMITS,
});

async function ask(method: string, path: string, body: string | null): Promise<Response> {
  const response = await app.request(`/chatify/logic/v1${path}`, { method, body });
  expect(response.headers.get("content-type")).toStartWith("application/json");
  const json: unknown = await response.json();
  expect(response.status).toBeLessThan(500);
  if (response.status < 400) return response;
  const error = json as ErrorBody;
  expect(ERRORS[error.code].status as number).toBe(response.status);
  expect(error.message.length).toBeGreaterThan(0);
  expect(error.message.length).toBeLessThan(2_000);
  expect(error.retryable).toBe(false);
  expect(error.request_id?.length).toBeGreaterThan(0);
  return response;
}

const text = fc.oneof(fc.string({ unit: "binary" }), fc.string(), fc.constantFrom("", "a", "b"));
const anything = fc.oneof(fc.jsonValue(), text, fc.integer(), fc.double(), fc.constant(undefined));
/** Mostly what the field takes, so that the other fields are reached too. */
const mostly = <T>(right: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 5, arbitrary: right }, { weight: 1, arbitrary: anything });
const id = fc.oneof(fc.constantFrom("ann", "bob", "g1"), fc.uuid());
const idList = mostly(fc.array(mostly(id), { maxLength: 8 }));
const time = mostly(fc.oneof(fc.nat(4e9), fc.nat(4e9).map(String)));

const pushBody = fc.record(
  {
    content_id: mostly(fc.string()),
    content: mostly(fc.base64String()),
    timestamp: time,
    push_type: mostly(fc.oneof(fc.integer(), fc.constantFrom("NOTICE", "INFORM", "OTHER"))),
    from_user_id: mostly(id),
    to_user_ids: idList,
    expire_time: time,
  },
  { requiredKeys: ["content", "to_user_ids"] },
);
const otherBody = fc.record(
  { group_id: mostly(id), owner_id: mostly(id), members: idList, user_ids: idList },
  { requiredKeys: [] },
);

test("any push body is answered with JSON and a code; only well-formed pushes pass", async () => {
  let passed = 0;
  await fc.assert(
    fc.asyncProperty(mostly(pushBody), async (body) => {
      pushes.length = 0;
      const sent = JSON.stringify(body) ?? null;
      const response = await ask("POST", "/sendSystemPush", sent);
      expect(pushes).toHaveLength(response.status === 200 ? 1 : 0);
      passed += pushes.length;
      for (const push of pushes) expect(Message.safeParse(messageOf(push)).success).toBe(true);
    }),
    { numRuns: 3_000 },
  );
  // A fuzzer of which nothing gets through tests the door only.
  expect(passed).toBeGreaterThan(100);
});

function messageOf(push: SystemPush): unknown {
  expect(push.recipients.every((user) => UserId.safeParse(user).success)).toBe(true);
  expect(new Set(push.recipients).size).toBe(push.recipients.length);
  return {
    msg_id: "m",
    message_type: "CHAT",
    from_user_id: push.fromUserId,
    target_type: "SYSTEM",
    to_user_id: push.recipients[0],
    content: push.content,
    timestamp: push.timestamp,
    expire_time: push.expireTime,
    content_id: push.contentId,
    conversation_id: `s:${push.fromUserId}`,
    seq: 0,
    client_msg_id: "",
    push_type: push.pushType,
  };
}

test("any bytes as a body are answered with JSON and a code", async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(text, fc.json()), async (body) => {
      await ask("POST", "/sendSystemPush", body);
      await ask("POST", "/groups", body);
    }),
    { numRuns: 1_000 },
  );
});

test("any body and any path of groups and blocks are answered with JSON and a code", async () => {
  const segment = fc.oneof(id, text.map(encodedOrRaw));
  const method = fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH");
  const path = fc.oneof(
    fc.constant("/groups"),
    segment.map((s) => `/groups/${s}`),
    segment.map((s) => `/groups/${s}/members`),
    fc.tuple(segment, segment).map(([s, u]) => `/groups/${s}/members/${u}`),
    fc.tuple(segment, segment).map(([u, b]) => `/users/${u}/blocks/${b}`),
    segment.map((u) => `/users/${u}/blocks`),
  );
  await fc.assert(
    fc.asyncProperty(method, path, otherBody, async (verb, where, body) => {
      await ask(verb, where, verb === "GET" ? null : JSON.stringify(body));
    }),
    { numRuns: 3_000 },
  );
});

/** Text as a path holds it; broken escapes stay, a lone surrogate has no encoding at all. */
function encodedOrRaw(value: string): string {
  return value.includes("%") || !value.isWellFormed() ? "%E0%A4%zz" : encodeURIComponent(value);
}

test("the fast check of user ids takes exactly what the schema takes", () => {
  const nearly = fc.stringMatching(/^[ -~\u0080-\u00a1\u2028\ufeff]{0,4}$/);
  const long = fc.integer({ min: 126, max: 130 }).map((length) => "x".repeat(length));
  fc.assert(
    fc.property(fc.oneof(nearly, long, text, anything), (value) => {
      expect(areUserIds([value])).toBe(UserId.safeParse(value).success);
    }),
    { numRuns: 5_000 },
  );
});
