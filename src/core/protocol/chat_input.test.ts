import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  type ChatInputTuple,
  chatInputBody,
  decodeChatInput,
  decodeChatInputBody,
  decodeChatInputText,
  encodeChatInput,
  traceOfItem,
  withTrace,
} from "./chat_input.ts";

const tuple: ChatInputTuple = [
  "u:alice:bob",
  "alice",
  "phone",
  "c1",
  "CHAT",
  "USER",
  "bob",
  'hi "bob" \u2028 你好',
  0,
  1_700_000_000_000,
  "gateway-1",
  "access-1",
  7,
  "",
];

describe("a chat_input item", () => {
  test("comes back from its text with every field in its place", () => {
    expect(decodeChatInputText(encodeChatInput(tuple))).toEqual({
      conversationId: "u:alice:bob",
      fromUserId: "alice",
      deviceId: "phone",
      clientMsgId: "c1",
      messageType: "CHAT",
      targetType: "USER",
      toUserId: "bob",
      content: 'hi "bob" \u2028 你好',
      expireTime: 0,
      receivedAtMs: 1_700_000_000_000,
      gatewayNodeId: "gateway-1",
      accessNodeId: "access-1",
      connId: 7,
      traceparent: "",
    });
  });

  test("is read also when a later version has added fields at the end", () => {
    expect(decodeChatInput([...tuple, "later"])?.clientMsgId).toBe("c1");
  });

  test("is null when a field is missing, of another kind or of an unknown type", () => {
    expect(decodeChatInput(tuple.slice(0, 13))).toBeNull();
    const fields: unknown[] = tuple;
    for (let i = 0; i < fields.length; i++)
      expect(decodeChatInput(fields.with(i, null))).toBeNull();
    expect(decodeChatInput(fields.with(4, "EVIL"))).toBeNull();
    expect(decodeChatInput(fields.with(5, "SYSTEM"))).toBeNull();
  });

  test("that is poison does not hide the others of its entry", () => {
    const body = chatInputBody([encodeChatInput(tuple), "{}", encodeChatInput(tuple)]);
    expect(decodeChatInputBody(body)?.map((item) => item?.clientMsgId)).toEqual([
      "c1",
      undefined,
      "c1",
    ]);
  });

  test("never makes decoding throw, whatever the body holds", async () => {
    await fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (body) => {
        decodeChatInputBody(body);
        decodeChatInputText(body);
      }),
    );
  });
});

test("the trace context of an item is found and replaced without decoding it", () => {
  const context = (span: string) => `00-${"a".repeat(32)}-${span.repeat(16)}-01`;
  const item = (content: string, traceparent: string) =>
    encodeChatInput([
      "u:a:b",
      "a",
      "d",
      "c1",
      "CHAT",
      "USER",
      "b",
      content,
      0,
      1,
      "g",
      "x",
      1,
      traceparent,
    ]);
  for (const content of ["hi", '-01"]', `"${context("b")}"]`]) {
    expect(traceOfItem(item(content, ""))).toBe("");
    const traced = item(content, context("b"));
    expect(traceOfItem(traced)).toBe(context("b"));
    expect(withTrace(traced, context("c"))).toBe(item(content, context("c")));
  }
});
