import { expect, test } from "bun:test";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { bodyLines } from "./body_lines.ts";
import { jobRequest, userOfLine } from "./job_body.ts";

const nowS = 1_700_000_000;
const content = "aGk=";
const made = (body: object, hasLines = false) => jobRequest(body, hasLines, nowS, 86_400);

test("a job has one target, or a list behind it", () => {
  expect(made({ content }, true).spec.target).toEqual({ kind: "list" });
  expect(made({ content, to_user_ids: [1, "b"] })).toMatchObject({
    spec: { target: { kind: "list" } },
    users: ["1", "b"],
  });
  expect(made({ content, to_group_id: "g" }).spec.target).toEqual({ kind: "group", name: "g" });
  expect(made({ content, to_tag: "t" }).spec.target).toEqual({ kind: "tag", name: "t" });
  expect(made({ content, to_online: true }).spec.target).toEqual({ kind: "online" });
  for (const none of [{}, { to_online: false }, { to_tag: "t", to_group_id: "g" }]) {
    expect(() => made({ content, ...none })).toThrow(ChatifyError);
  }
  expect(() => made({ content, to_tag: "t" }, true)).toThrow(ChatifyError);
});

test("times and rate are taken as they come, and what they mean is fixed at once", () => {
  const { spec } = made({ content, rate: "2.5", start_time: 60, expire_time: 30 }, true);
  expect(spec).toMatchObject({ rate: 3, startTime: nowS + 60, expireTime: nowS + 90 });
  expect(spec.timestamp).toBe(nowS + 60);
  expect(made({ content, start_time: nowS - 5 }, true).spec.startTime).toBe(0);
  expect(made({ content, start_time: `${nowS + 9}000` }, true).spec.startTime).toBe(nowS + 9);
  expect(() => made({ content, start_time: 86_401 }, true)).toThrow(ChatifyError);
  expect(() => made({ content, rate: -1 }, true)).toThrow(ChatifyError);
});

test("a line names a user as text, a number, an object, or just so", () => {
  for (const [line, user] of [
    ["ann", "ann"],
    ['"ann"', "ann"],
    ["42", "42"],
    ["7234567890123456789", "7234567890123456789"],
    ['{"user_id":"ann"}', "ann"],
    ['{"toUserId":7234567890123456789,"x":1}', "7234567890123456789"],
    ["名前", "名前"],
    ["a b", null],
    ["{}", null],
    ["[]", null],
    ["", null],
    ["x".repeat(129), null],
  ] as const) {
    expect([line, userOfLine(line)]).toEqual([line, user]);
  }
});

test("lines are cut where they end, however the body comes, and long ones are refused", async () => {
  const text = "{}\r\n\n  ünï\n4";
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 100]) {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let i = 0; i < bytes.length; i += size) controller.enqueue(bytes.slice(i, i + size));
        controller.close();
      },
    });
    const lines: string[] = [];
    for await (const some of bodyLines(body, 10)) lines.push(...some);
    expect(lines).toEqual(["{}", "ünï", "4"]);
  }
  const long = new Response("x".repeat(11)).body as ReadableStream<Uint8Array>;
  const read = async () => {
    for await (const _ of bodyLines(long, 10));
  };
  expect(read()).rejects.toThrow("more than 10 characters");
});
