import { describe, expect, test } from "bun:test";
import { systemClock, systemRandom } from "../../core/clock.ts";
import { apiAuth } from "../../core/http/api_auth.ts";
import { LIMITS } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { MemoryPushes } from "../../core/pushes/memory_pushes.ts";
import { MemoryRelations } from "../../core/relations/memory_relations.ts";
import { directAccess, MemoryEngine } from "../../core/streams/memory_engine.ts";
import { silentTelemetry } from "../../core/testing/silent_telemetry.ts";
import { createLogicApi, type LogicApiDeps } from "./api.ts";
import type { SystemPush } from "./api_contract.ts";
import { PushOnce } from "./push_once.ts";
import { PushRates } from "./push_rates.ts";
import { jobDeps } from "./testing/job_deps.ts";

const nowS = 1_700_000_000;
const clock = { ...systemClock, now: () => nowS * 1_000 + 900 };
const partitions = { chat: 2, user: 2 };

function fixture(overrides: Partial<LogicApiDeps> = {}) {
  const pushes: SystemPush[] = [];
  const engine = new MemoryEngine(clock);
  const telemetry = silentTelemetry();
  const base = { clock, random: systemRandom, telemetry, limits: LIMITS, partitions };
  const store = new MemoryPushes({ ...base, engine, access: directAccess(clock) });
  const app = createLogicApi({
    ...base,
    relations: new MemoryRelations(base),
    intake: {
      async submit(push) {
        pushes.push(push);
        return push.recipients.map((user) => `id-of-${user}`);
      },
    },
    once: new PushOnce({ ...base, pushes: store }),
    rates: { take() {} },
    gate: { pass: (_messages, work) => work() },
    ...jobDeps(),
    notices: { changed: async () => {} },
    authorize: apiAuth({ authMode: "dev", apiKeys: [] }),
    ...overrides,
  });
  const written = () =>
    [0, 1].flatMap((q) => engine.streamAt(engine.keys.stream("push_task", q)).read("x", 99));
  const raw = async (body: string, headers: HeadersInit = {}, path = "/sendSystemPush") => {
    const url = `/chatify/logic/v1${path}`;
    const response = await app.request(url, { method: "POST", body, headers });
    const json = (await response.json()) as Record<string, unknown>;
    return { status: response.status, headers: response.headers, body: json };
  };
  const call = (body: unknown, headers: HeadersInit = {}, query = "") =>
    raw(JSON.stringify(body), headers, `/sendSystemPush${query}`);
  return { pushes, written, call, raw };
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
    const { status, body } = await call(valid, { traceparent });
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

  test("needs only content and recipients; nulls and unknown fields are no matter", async () => {
    const { call, pushes } = fixture();
    const nulls = { timestamp: null, push_type: null, expire_time: null, content_id: null };
    const empty = { from_user_id: "", dedup_by_content_id: false };
    const bodies = [minimal, { ...minimal, ...nulls, from_user_id: null, other: 1 }];
    for (const body of [...bodies, { ...minimal, ...empty }]) {
      expect((await call(body)).status).toBe(200);
    }
    const expected = { fromUserId: "system", contentId: "", pushType: 1, timestamp: nowS };
    expect(pushes[0]).toMatchObject({ ...expected, expireTime: 0, traceparent: "" });
    expect(pushes[1]).toEqual(pushes[0] as SystemPush);
    expect(pushes[2]).toEqual(pushes[0] as SystemPush);
  });

  test("takes numbers as text and ids as numbers, and categories by any number or name", async () => {
    const { call, pushes } = fixture();
    const texts = { timestamp: "1700000001", expire_time: "1800000000", content_id: 77 };
    await call({ ...valid, ...texts, from_user_id: 42, to_user_ids: [1, "2", 3] });
    expect(pushes[0]).toMatchObject({
      ...{ timestamp: 1_700_000_001, expireTime: 1_800_000_000, contentId: "77" },
      ...{ fromUserId: "42", recipients: ["1", "2", "3"] },
    });
    await call({ ...minimal, to_user_ids: 7 });
    await call({ ...minimal, to_user_ids: "ann" });
    expect(pushes.slice(1).map(({ recipients }) => recipients)).toEqual([["7"], ["ann"]]);
    for (const [given, taken] of [
      ["NOTICE", 1],
      ["INFORM", 2],
      ["2", 2],
      [9, 9],
      ["MARKETING", "MARKETING"],
      ["constructor", "constructor"],
    ]) {
      await call({ ...valid, push_type: given });
      expect(pushes.at(-1)?.pushType).toBe(taken as string | number);
    }
  });

  test("takes whole numbers of 64 bits as they are written", async () => {
    const { pushes, raw } = fixture();
    const text = `{"content":"aGk=","content_id":-9223372036854775807,
      "to_user_ids":[7234567890123456789, 12, "a,12345678901234567890"],"timestamp":1700000002000000000}`;
    const { body, status } = await raw(text);
    expect([status, body.code]).toEqual([200, undefined]);
    expect(pushes[0]).toMatchObject({
      contentId: "-9223372036854775807",
      recipients: ["7234567890123456789", "12", "a,12345678901234567890"],
      timestamp: 1_700_000_002,
    });
  });

  test("takes the names that protobuf gives to fields in JSON", async () => {
    const { call, pushes } = fixture();
    const { content, content_id, expire_time, from_user_id, push_type, timestamp, to_user_ids } =
      valid;
    await call(valid);
    await call({
      ...{ content, timestamp, contentId: content_id, expireTime: expire_time },
      ...{ fromUserId: from_user_id, pushType: push_type, toUserIds: to_user_ids },
    });
    expect(pushes[1]).toEqual(pushes[0] as SystemPush);
  });

  test("takes times in seconds and smaller units, and an expiry also as seconds from now", async () => {
    const { call, pushes } = fixture();
    for (const [given, taken] of [
      [1_800_000_000, 1_800_000_000],
      [1_800_000_000.5, 1_800_000_000],
      [1_800_000_000_999, 1_800_000_000],
      ["1800000000999", 1_800_000_000],
      ["1800000000999000", 1_800_000_000],
      ["1800000000999000000", 1_800_000_000],
      [3_600, nowS + 3_600],
      ["60", nowS + 60],
      [0, 0],
      ["0", 0],
      [-1, 0],
    ]) {
      await call({ ...minimal, expire_time: given });
      expect([given, pushes.at(-1)?.expireTime]).toEqual([given, taken]);
    }
    await call({ ...minimal, timestamp: "1700000001234" });
    expect(pushes.at(-1)?.timestamp).toBe(1_700_000_001);
  });

  test("gives a user who is named twice one message, and its id at both places", async () => {
    const { call, pushes } = fixture();
    const answer = await call({ ...valid, to_user_ids: ["bob", "ann", "bob"] });
    expect(answer.body).toMatchObject({
      msg_ids: ["id-of-bob", "id-of-ann", "id-of-bob"],
      accepted: 2,
    });
    expect(pushes[0]?.recipients).toEqual(["bob", "ann"]);
  });

  test("takes base64 in all its spellings, unchanged, and encodes what is none", async () => {
    const { call, pushes } = fixture();
    const taken = async (content: string) => {
      expect((await call({ ...valid, content })).status).toBe(200);
      return pushes.at(-1)?.content;
    };
    for (const content of ["", "YQ==", "YQ", "YWI=", "YWI", "a+/b", "a-_b", "A".repeat(65_536)]) {
      expect(await taken(content)).toBe(content);
    }
    expect(await taken("aGVsbG8=\n")).toBe("aGVsbG8=");
    expect(await taken(`${"A".repeat(76)}\r\n${"B".repeat(8)}`)).toBe(`${"A".repeat(76)}BBBBBBBB`);
    for (const text of ["hello world", "a", "{}", "=", "é===", "你好", "a\nb c"]) {
      expect(Buffer.from((await taken(text)) ?? "", "base64").toString()).toBe(text);
    }
  });

  test("takes 1 to 1000 recipients and 64 KB; more is too_large", async () => {
    const { call } = fixture();
    const push = (count: number) => {
      const to_user_ids = Array.from({ length: count }, (_, i) => `u${i}`);
      return call({ ...valid, to_user_ids });
    };
    expect((await push(1_000)).body.accepted).toBe(1_000);
    const refused = await push(1_001);
    expect(refused.status).toBe(413);
    expect(refused.body).toMatchObject({ code: "too_large", retryable: false });
    expect((await push(0)).status).toBe(422);
    const large = await call({ ...valid, content: "A".repeat(65_540) });
    expect([large.status, large.body.code]).toEqual([413, "too_large"]);
  });

  test("that has expired already is taken, and says that nobody gets it", async () => {
    const { call, pushes } = fixture();
    const answer = await call({ ...valid, expire_time: nowS });
    expect([answer.status, answer.body.accepted]).toEqual([200, 0]);
    expect(pushes[0]?.expireTime).toBe(nowS);
  });

  test("with a wrong field is refused with the field's path and what it takes", async () => {
    const { call, raw } = fixture();
    const wrong: [Record<string, unknown>, string][] = [
      [{ to_user_ids: {} }, "to_user_ids: takes an array of user ids"],
      [{ to_user_ids: ["ann", "b c"] }, "to_user_ids"],
      [{ to_user_ids: ["x".repeat(129)] }, "to_user_ids"],
      [{ content: 5 }, "content: takes base64 text"],
      [{ content: null }, "content: takes base64 text"],
      [{ timestamp: "soon" }, "timestamp: takes a number"],
      [{ expire_time: [] }, "expire_time: takes a number"],
      [{ push_type: {} }, "push_type: takes a number or a name"],
      [{ from_user_id: "a\u0000" }, "from_user_id: takes no control characters"],
      [{ content_id: "x".repeat(129) }, "content_id: takes text of at most 128"],
      [{ dedup_by_content_id: "maybe" }, "dedup_by_content_id: takes true or false"],
      [{ dedup_by_content_id: true, content_id: "" }, "content_id: "],
    ];
    for (const [change, message] of wrong) {
      const answer = await call({ ...valid, ...change });
      expect([change, answer.status, answer.body.code]).toEqual([change, 422, "bad_request"]);
      expect(answer.body.message).toStartWith(message);
    }
    for (const text of ["", "nonsense", "[]", "null", "{", "5"]) {
      expect((await raw(text)).body).toMatchObject({ code: "bad_request" });
    }
  });

  test("that the intake or the gate refuses is refused with its code and Retry-After", async () => {
    for (const [code, status] of [
      ["overloaded", 503],
      ["unavailable", 503],
      ["outcome_unknown", 503],
      ["rate_limited", 429],
    ] as const) {
      const refuse = async () => {
        throw new ChatifyError(code, "not now", 2_500);
      };
      for (const part of [{ intake: { submit: refuse } }, { gate: { pass: refuse } }]) {
        const answer = await fixture(part).call(valid);
        expect(answer.status).toBe(status);
        expect(answer.headers.get("retry-after")).toBe("3");
        expect(answer.body).toMatchObject({ code, retryable: true, retry_after_ms: 2_500 });
      }
    }
  });

  test("above the rate of its caller, or of all, is refused until there is room again", async () => {
    let now = 0;
    const limits = { ...LIMITS, PUSH_RECIPIENTS_MAX: 4 };
    const monotonic = { monotonic: () => now };
    const rates = new PushRates({ clock: monotonic, limits, rate: 3, ratePerCaller: 2 });
    const taken = (caller: string) => {
      try {
        rates.take(caller, 2);
        return 0;
      } catch (error) {
        return error instanceof ChatifyError ? error.retryAfterMs : -1;
      }
    };
    expect([taken("a"), taken("a"), taken("a"), taken("b"), taken("b")]).toEqual([
      0, 0, 1_000, 0, 667,
    ]);
    now = 1_000;
    expect([taken("a"), taken("b")]).toEqual([0, 334]);
    const { call } = fixture({
      rates: new PushRates({ clock, limits, rate: 1, ratePerCaller: 0 }),
    });
    const answers = [await call(valid), await call(valid), await call(valid)];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
    expect(answers[2]?.headers.get("retry-after")).toBe("2");
  });
});

describe("a push with an idempotency key", () => {
  test("is answered the same and written once, however often it is sent", async () => {
    const { call, written } = fixture();
    const key = { "Idempotency-Key": "order-7" };
    const first = await call(valid, key);
    expect(first.status).toBe(200);
    const count = written().length;
    expect(count).toBeGreaterThan(0);
    for (let i = 0; i < 3; i++) expect((await call(valid, key)).body).toEqual(first.body);
    expect(written()).toEqual([]);
    const other = await call(valid, { "Idempotency-Key": "order-8" });
    expect(other.body.msg_ids).not.toEqual(first.body.msg_ids);
  });

  test("that had another body is key_reused, and one that cannot be a key is bad_request", async () => {
    const { call, written } = fixture();
    const key = { "Idempotency-Key": "order-7" };
    await call(valid, key);
    written();
    const answer = await call({ ...valid, content: "b3RoZXI=" }, key);
    expect([answer.status, answer.body.code]).toEqual([422, "key_reused"]);
    expect((await call(valid, { "Idempotency-Key": "a b" })).body.code).toBe("bad_request");
    const both = await call({ ...valid, dedup_by_content_id: true }, key);
    expect(both.body.code).toBe("bad_request");
    expect(written()).toEqual([]);
  });
});

describe("a push that asks for dedup by content id", () => {
  test("reaches no user twice under one sender and content id", async () => {
    const { call, written } = fixture();
    const push = (users: string[], change = {}) =>
      call({ ...valid, ...change, to_user_ids: users }, {}, "?dedup_by_content_id=true");
    const first = (await push(["ann", "bob"])).body;
    const second = (await push(["bob", "carol"])).body;
    const [ann, bob] = first.msg_ids as string[];
    expect((second.msg_ids as string[])[0]).toBe(bob as string);
    expect(second.task_id).toBe(first.task_id);
    const texts = written()
      .map(({ body }) => body)
      .join();
    expect(texts.split('"msg_id"').length - 1).toBe(3);
    const third = (await push(["ann"], { from_user_id: "other" })).body.msg_ids as string[];
    expect(third[0]).not.toBe(ann as string);
    const changed = await push(["dave"], { content: "b3RoZXI=" });
    expect([changed.status, changed.body.code]).toEqual([422, "key_reused"]);
  });

  test("does so only when it asks: content ids repeat in many a caller", async () => {
    const { call, pushes } = fixture();
    await call(valid);
    await call(valid);
    expect(pushes.length).toBe(2);
  });
});
