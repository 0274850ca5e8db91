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
import { jobDeps } from "./testing/job_deps.ts";

const nowS = 1_700_000_000;
const clock = { ...systemClock, now: () => nowS * 1_000 + 900 };
const log = pino({ level: "silent" });

async function unused(): Promise<never> {
  throw new Error("nothing here pushes once");
}

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
    once: { byKey: unused, byContent: unused },
    rates: { take() {} },
    gate: { pass: (_messages, work) => work() },
    ...jobDeps(),
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
    const answer = await call(method, path, method === "GET" ? undefined : {});
    expect([answer.status, answer.body.code]).toEqual([401, "unauthorized"]);
  }
  expect(pushes).toEqual([]);
  const key = { "x-api-key": "an-api-key-0123456789" };
  expect(
    (await call("POST", "/sendSystemPush", { content: "", to_user_ids: ["a"] }, key)).status,
  ).toBe(200);
});
