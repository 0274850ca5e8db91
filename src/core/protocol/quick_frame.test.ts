import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { ClientFrame } from "./frames.ts";
import { quickFrame } from "./quick_frame.ts";

const send = { type: "send", client_msg_id: "c1", to_user_id: "bob", content: "hello" };
const ack = { type: "ack", msg_ids: ["m1", "m2"] };

test("a plain send or ack is what the schema makes of it, with the same defaults", () => {
  for (const frame of [
    send,
    { ...send, message_type: "CONTROL", target_type: "GROUP", expire_time: 1_700_000_000 },
    { ...send, content: "" },
    ack,
  ]) {
    expect(quickFrame(frame)).toEqual(ClientFrame.parse(frame) as never);
  }
});

test("what is not plainly right is left to the schema", () => {
  for (const value of [
    null,
    "send",
    [],
    { type: "ping" },
    { ...send, to_user_id: "a b" },
    { ...send, from_user_id: "mallory" },
    JSON.parse('{"type":"send","client_msg_id":"c","to_user_id":"b","content":"","__proto__":1}'),
    { ...send, client_msg_id: "" },
    { ...send, client_msg_id: "x".repeat(65) },
    { ...send, content: "x".repeat(65_537) },
    { ...send, expire_time: 1.5 },
    { ...send, expire_time: -1 },
    { ...send, message_type: "SYSTEM" },
    { type: "send" },
    { ...ack, msg_ids: [] },
    { ...ack, msg_ids: ["m1", 2] },
    { ...ack, msg_ids: ["x".repeat(41)] },
    { ...ack, msg_ids: Array(1_001).fill("m") },
    { type: "ack" },
    { ...ack, extra: 1 },
  ]) {
    expect(quickFrame(value)).toBeNull();
  }
});

test("whatever it takes, the schema takes, as the same frame", async () => {
  const text = fc.oneof(fc.string(), fc.constantFrom("bob", "c1", "CHAT", "GROUP", "x".repeat(64)));
  const field = fc.oneof(text, fc.integer(), fc.double(), fc.constant(null), fc.array(text));
  const names = ["client_msg_id", "to_user_id", "content", "message_type", "target_type"];
  const name = fc.oneof(fc.constantFrom(...names, "expire_time", "msg_ids", "__proto__"), text);
  const changes = fc.array(fc.tuple(name, field), { maxLength: 3 });
  await fc.assert(
    fc.property(fc.constantFrom(send, ack), changes, (frame, changed) => {
      const value = JSON.parse(JSON.stringify({ ...frame, ...Object.fromEntries(changed) }));
      const quick = quickFrame(value);
      if (quick !== null) expect(ClientFrame.safeParse(value).data).toEqual(quick);
    }),
    { numRuns: 2_000 },
  );
});
