import { describe, expect, test } from "bun:test";
import { pino } from "pino";
import { systemClock, systemRandom } from "../../core/clock.ts";
import { apiAuth } from "../../core/http/api_auth.ts";
import { silentLedger } from "../../core/ledger/contract.ts";
import { LIMITS } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { MemoryRelations } from "../../core/relations/memory_relations.ts";
import { createMetrics } from "../../core/telemetry/metrics.ts";
import { silentTracer } from "../../core/telemetry/trace.ts";
import { createLogicApi, type LogicApiDeps } from "./api.ts";
import type { SystemPush } from "./api_contract.ts";

const nowS = 1_700_000_000;
const clock = { ...systemClock, now: () => nowS * 1_000 + 900 };
const log = pino({ level: "silent" });

interface Fixture {
  readonly pushes: SystemPush[];
  /** Conversations that were told of a change, in order. */
  readonly told: string[];
  call(method: string, path: string, body?: unknown, headers?: HeadersInit): Promise<Called>;
}

interface Called {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

function fixture(overrides: Partial<LogicApiDeps> = {}): Fixture {
  const pushes: SystemPush[] = [];
  const told: string[] = [];
  const app = createLogicApi({
    relations: new MemoryRelations({ clock, limits: LIMITS }),
    intake: {
      async submit(push) {
        pushes.push(push);
        return push.recipients.map((user) => `id-of-${user}`);
      },
    },
    notices: { changed: async (conversation) => void told.push(conversation) },
    authorize: apiAuth({ authMode: "dev", apiKeys: [] }),
    clock,
    random: systemRandom,
    telemetry: { log, metrics: createMetrics(), tracer: silentTracer, ledger: silentLedger },
    limits: LIMITS,
    ...overrides,
  });
  return {
    pushes,
    told,
    async call(method, path, body, headers = {}) {
      const text = body === undefined ? null : JSON.stringify(body);
      const response = await app.request(`/chatify/logic/v1${path}`, {
        method,
        headers,
        body: text,
      });
      const json = (await response.json()) as Record<string, unknown>;
      return { status: response.status, headers: response.headers, body: json };
    },
  };
}

const valid = {
  content_id: "c-1",
  content: "aGVsbG8=",
  timestamp: 1_699_999_999,
  push_type: 1,
  from_user_id: "ops",
  to_user_ids: ["ann", "bob"],
  expire_time: nowS + 60,
};
const minimal = { content: valid.content, to_user_ids: valid.to_user_ids };

describe("a system push", () => {
  test("goes to the intake as it was sent and answers with a task and message ids", async () => {
    const { call, pushes } = fixture();
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    const { status, body } = await call("POST", "/sendSystemPush", valid, { traceparent });
    expect(status).toBe(200);
    expect(body).toEqual({
      task_id: expect.stringMatching(/^[0-9a-z]{16}$/),
      msg_ids: ["id-of-ann", "id-of-bob"],
      accepted: 2,
    });
    expect(pushes).toEqual([
      {
        fromUserId: "ops",
        contentId: "c-1",
        content: "aGVsbG8=",
        pushType: 1,
        recipients: ["ann", "bob"],
        timestamp: 1_699_999_999,
        expireTime: nowS + 60,
        traceparent,
      },
    ]);
  });

  test("needs only content and recipients", async () => {
    const { call, pushes } = fixture();
    const nulls = { timestamp: null, push_type: null, expire_time: null, content_id: null };
    for (const body of [minimal, { ...minimal, ...nulls, from_user_id: null, other: 1 }]) {
      expect((await call("POST", "/sendSystemPush", body)).status).toBe(200);
    }
    const expected = { fromUserId: "system", contentId: "", pushType: 1, timestamp: nowS };
    expect(pushes[0]).toMatchObject({ ...expected, expireTime: 0, traceparent: "" });
    expect(pushes[1]).toEqual(pushes[0] as SystemPush);
  });

  test("takes numbers as text and categories by number, name, or any other", async () => {
    const { call, pushes } = fixture();
    const texts = { timestamp: "1700000001", expire_time: "1800000000", content_id: 77 };
    await call("POST", "/sendSystemPush", { ...valid, ...texts });
    expect(pushes[0]).toMatchObject({
      timestamp: 1_700_000_001,
      expireTime: 1_800_000_000,
      contentId: "77",
    });
    for (const [given, taken] of [
      ["NOTICE", 1],
      ["INFORM", 2],
      ["2", 2],
      [9, 9],
      ["MARKETING", "MARKETING"],
      ["constructor", "constructor"],
    ]) {
      await call("POST", "/sendSystemPush", { ...valid, push_type: given });
      expect(pushes.at(-1)?.pushType).toBe(taken as string | number);
    }
  });

  test("gives a user who is named twice one message, and its id at both places", async () => {
    const { call, pushes } = fixture();
    const body = { ...valid, to_user_ids: ["bob", "ann", "bob"] };
    const answer = await call("POST", "/sendSystemPush", body);
    expect(answer.body).toMatchObject({
      msg_ids: ["id-of-bob", "id-of-ann", "id-of-bob"],
      accepted: 2,
    });
    expect(pushes[0]?.recipients).toEqual(["bob", "ann"]);
  });

  test("takes base64 in all its spellings, unchanged, and nothing else", async () => {
    const { call, pushes } = fixture();
    for (const content of ["", "YQ==", "YQ", "YWI=", "YWI", "a+/b", "a-_b", "A".repeat(65_536)]) {
      expect((await call("POST", "/sendSystemPush", { ...valid, content })).status).toBe(200);
      expect(pushes.at(-1)?.content).toBe(content);
    }
    for (const content of ["a", "YQ=", "YWI==", "a b=", "a\nb=", "=", "é===", "A".repeat(65_537)]) {
      const { status, body } = await call("POST", "/sendSystemPush", { ...valid, content });
      expect([status, body.code]).toEqual([422, "bad_request"]);
      expect(body.message).toStartWith("content: ");
    }
  });

  test("takes 1 to 1000 recipients; more are too_large", async () => {
    const { call } = fixture();
    const push = (count: number) => {
      const to_user_ids = Array.from({ length: count }, (_, i) => `u${i}`);
      return call("POST", "/sendSystemPush", { ...valid, to_user_ids });
    };
    expect((await push(1_000)).body.accepted).toBe(1_000);
    const refused = await push(1_001);
    expect(refused.status).toBe(413);
    expect(refused.body).toMatchObject({ code: "too_large", retryable: false });
    expect((await push(0)).status).toBe(422);
  });

  test("that has expired already is refused, for nobody would ever get it", async () => {
    const { call, pushes } = fixture();
    const answer = await call("POST", "/sendSystemPush", { ...valid, expire_time: nowS });
    expect(answer.body).toMatchObject({ code: "expired", retryable: false });
    expect(pushes).toEqual([]);
  });

  test("with a wrong field is refused with the field's path and what it takes", async () => {
    const { call } = fixture();
    const wrong: [Record<string, unknown>, string][] = [
      [{ to_user_ids: "ann" }, "to_user_ids: takes an array of user ids"],
      [{ to_user_ids: ["ann", "b c"] }, "to_user_ids.1: "],
      [{ to_user_ids: ["x".repeat(129)] }, "to_user_ids.0: "],
      [{ content: 5 }, "content: takes base64 text"],
      [{ timestamp: "soon" }, "timestamp: takes a whole number"],
      [{ expire_time: -1 }, "expire_time: takes a whole number"],
      [{ expire_time: 1.5 }, "expire_time: takes a whole number"],
      [{ push_type: {} }, "push_type: takes a number or a name"],
      [{ from_user_id: "" }, "from_user_id: "],
    ];
    for (const [change, message] of wrong) {
      const answer = await call("POST", "/sendSystemPush", { ...valid, ...change });
      expect(answer.status).toBe(422);
      expect(answer.body.code).toBe("bad_request");
      expect(answer.body.message).toStartWith(message);
    }
  });

  test("that the intake refuses is refused with its code and Retry-After", async () => {
    for (const [code, status] of [
      ["overloaded", 503],
      ["unavailable", 503],
      ["outcome_unknown", 503],
      ["rate_limited", 429],
    ] as const) {
      const submit = async () => {
        throw new ChatifyError(code, "not now", 2_500);
      };
      const { call } = fixture({ intake: { submit } });
      const answer = await call("POST", "/sendSystemPush", valid);
      expect(answer.status).toBe(status);
      expect(answer.headers.get("retry-after")).toBe("3");
      expect(answer.body).toMatchObject({ code, retryable: true, retry_after_ms: 2_500 });
    }
  });
});

describe("groups", () => {
  test("are created, shown, filled, emptied and deleted", async () => {
    const { call } = fixture();
    const made = await call("POST", "/groups", { group_id: "g", owner_id: "ann", members: ["b"] });
    expect(made.status).toBe(201);
    const group = { group_id: "g", owner_id: "ann", version: 1, created_at: nowS, member_count: 2 };
    expect(made.body).toEqual(group);
    expect((await call("GET", "/groups/g")).body).toEqual(group);
    const added = await call("POST", "/groups/g/members", { user_ids: ["c", "d", "e"] });
    expect(added.body).toEqual({ ...group, version: 2, member_count: 5 });
    await call("DELETE", "/groups/g/members", { user_ids: ["b", "c"] });
    await call("DELETE", "/groups/g/members/d");
    const shown = await call("GET", "/groups/g/members");
    expect(shown.body).toEqual({ group_id: "g", members: ["ann", "e"] });
    expect((await call("DELETE", "/groups/g")).body).toEqual({ group_id: "g" });
    expect((await call("GET", "/groups/g")).body.code).toBe("not_found");
    expect((await call("GET", "/groups/g/members")).body.code).toBe("not_found");
  });

  test("get an id of their own when the caller has none", async () => {
    const { call } = fixture();
    const { body } = await call("POST", "/groups", { owner_id: "ann" });
    expect(body.group_id).toMatch(/^[0-9a-z]{16}$/);
    expect((await call("GET", `/groups/${body.group_id}`)).status).toBe(200);
  });

  test("with ids of any script are found by their encoded path", async () => {
    const { call } = fixture();
    await call("POST", "/groups", { group_id: "群/组", owner_id: "李雷" });
    const path = `/groups/${encodeURIComponent("群/组")}`;
    expect((await call("GET", path)).body.owner_id).toBe("李雷");
    await call("DELETE", `${path}/members/${encodeURIComponent("李雷")}`);
    expect((await call("GET", `${path}/members`)).body.members).toEqual([]);
  });

  test("refuse with the code that fits", async () => {
    const { call } = fixture();
    await call("POST", "/groups", { group_id: "g", owner_id: "ann" });
    const many = Array.from({ length: LIMITS.GROUP_MEMBERS_MAX }, (_, i) => `u${i}`);
    const cases: [string, string, unknown, number, string][] = [
      ["POST", "/groups", { group_id: "g", owner_id: "bob" }, 409, "conflict"],
      ["POST", "/groups", { group_id: "a:b", owner_id: "bob" }, 422, "bad_request"],
      ["POST", "/groups", { group_id: "h" }, 422, "bad_request"],
      ["POST", "/groups/g/members", { user_ids: many }, 409, "group_full"],
      ["POST", "/groups/g/members", { user_ids: [...many, "x"] }, 413, "too_large"],
      ["POST", "/groups/g/members", { user_ids: [] }, 422, "bad_request"],
      ["POST", "/groups/none/members", { user_ids: ["a"] }, 404, "not_found"],
      ["DELETE", "/groups/none/members", { user_ids: ["a"] }, 404, "not_found"],
      ["DELETE", "/groups/g/members", undefined, 422, "bad_request"],
      ["DELETE", "/groups/none", undefined, 404, "not_found"],
      ["GET", "/groups/a%20b", undefined, 422, "bad_request"],
      ["PATCH", "/groups/g", undefined, 404, "not_found"],
    ];
    for (const [method, path, body, status, code] of cases) {
      const answer = await call(method, path, body);
      expect([path, answer.status, answer.body.code]).toEqual([path, status, code]);
    }
  });
});

test("blocks are set, listed and lifted; nobody blocks themselves", async () => {
  const { call } = fixture();
  const set = await call("PUT", "/users/ann/blocks/bob");
  expect(set.body).toEqual({ user_id: "ann", blocked_user_id: "bob", blocked: true });
  await call("PUT", "/users/ann/blocks/cem");
  const list = await call("GET", "/users/ann/blocks");
  expect(list.body).toEqual({ user_id: "ann", blocked_user_ids: ["bob", "cem"] });
  const lifted = await call("DELETE", "/users/ann/blocks/bob");
  expect(lifted.body).toMatchObject({ blocked: false });
  expect((await call("GET", "/users/ann/blocks")).body.blocked_user_ids).toEqual(["cem"]);
  expect((await call("PUT", "/users/ann/blocks/ann")).status).toBe(422);
  expect((await call("PUT", "/users/ann/blocks/b%20c")).status).toBe(422);
});

describe("the owner of a conversation", () => {
  test("is told of every change after it and before the answer", async () => {
    const seen: string[] = [];
    const relations = new MemoryRelations({ clock, limits: LIMITS });
    const changed = async (conversation: string) => {
      await Promise.resolve();
      const group = await relations.group("g");
      seen.push(`${conversation} v${group?.version ?? "-"}`);
    };
    const { call } = fixture({ relations, notices: { changed } });
    await call("POST", "/groups", { group_id: "g", owner_id: "ann" });
    await call("POST", "/groups/g/members", { user_ids: ["bob"] });
    await call("DELETE", "/groups/g/members/bob");
    await call("DELETE", "/groups/g");
    await call("PUT", "/users/bob/blocks/ann");
    await call("DELETE", "/users/bob/blocks/ann");
    expect(seen).toEqual(["g:g v1", "g:g v2", "g:g v3", "g:g v-", "u:ann:bob v-", "u:ann:bob v-"]);
  });

  test("is told again when a change is repeated, for the first notice may be lost", async () => {
    const { call, told } = fixture();
    for (let i = 0; i < 2; i++) await call("POST", "/groups", { group_id: "g", owner_id: "ann" });
    for (let i = 0; i < 2; i++) await call("DELETE", "/groups/g");
    expect(told).toEqual(["g:g", "g:g", "g:g", "g:g"]);
  });

  test("that cannot be told fails the change, so that the caller tries again", async () => {
    const changed = async () => {
      throw new ChatifyError("outcome_unknown", "Redis does not answer", 1_000);
    };
    const { call } = fixture({ notices: { changed } });
    const body = { group_id: "g", owner_id: "ann" };
    for (let i = 0; i < 2; i++) {
      const answer = await call("POST", "/groups", body);
      expect(answer.body).toMatchObject({ code: "outcome_unknown", retryable: true });
    }
  });

  test("hears nothing of reading, nor of what was refused unread", async () => {
    const { call, told } = fixture();
    await call("GET", "/groups/g");
    await call("GET", "/users/ann/blocks");
    await call("POST", "/groups", { owner_id: "" });
    expect(told).toEqual([]);
  });
});

test("every route asks who calls", async () => {
  const authorize = apiAuth({ authMode: "jwt", apiKeys: ["an-api-key-0123456789"] });
  const { call, pushes } = fixture({ authorize });
  for (const [method, path] of [
    ["POST", "/sendSystemPush"],
    ["POST", "/groups"],
    ["GET", "/groups/g"],
    ["DELETE", "/groups/g"],
    ["PUT", "/users/a/blocks/b"],
    ["GET", "/users/a/blocks"],
  ] as const) {
    const answer = await call(method, path, method === "GET" ? undefined : valid);
    expect([answer.status, answer.body.code]).toEqual([401, "unauthorized"]);
  }
  expect(pushes).toEqual([]);
  const key = { "x-api-key": "an-api-key-0123456789" };
  expect((await call("POST", "/sendSystemPush", valid, key)).status).toBe(200);
});
