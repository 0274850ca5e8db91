/** Malformed WebSocket messages and HTTP bodies, drawn by fast-check. None of them is valid. */
import fc from "fast-check";
import { ClientFrame } from "../../src/core/protocol/frames.ts";

const TYPES = ["send", "ack", "typing", "read", "watch", "ping", "welcome", "message", "bye", ""];

const good = {
  send: { type: "send", client_msg_id: "f", to_user_id: "fuzz-nobody", content: "x" },
  ack: { type: "ack", msg_ids: ["m"] },
  typing: { type: "typing", to_user_id: "fuzz-nobody" },
  read: { type: "read", to_user_id: "fuzz-nobody", seq: 1 },
  watch: { type: "watch", user_ids: ["fuzz-nobody"] },
  ping: { type: "ping" },
};

/** Values that no field of any frame takes for what it is, and some that only look wrong. */
const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(null, true, -1, 0, 1.5, 2 ** 53, -0, "", " ", ":", "a:b", "{", "\u0000", "\\"),
  fc.constantFrom("x".repeat(129), "__proto__", "constructor", "\ud800", "💥".repeat(40)),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.array(fc.constant("y"), { minLength: 1_001, maxLength: 1_003 }),
);
const fieldName = fc.oneof(
  fc.constantFrom("type", "client_msg_id", "to_user_id", "content", "msg_ids", "user_ids", "seq"),
  fc.constantFrom(
    "from_user_id",
    "user_id",
    "__proto__",
    "expire_time",
    "target_type",
    "device_id",
  ),
  fc.string({ maxLength: 12 }),
);

/** A frame that was good until some of its fields were replaced, added or taken away. */
const bent = fc
  .tuple(
    fc.constantFrom(...Object.values(good)),
    fc.array(fc.tuple(fieldName, fc.option(odd)), { minLength: 1, maxLength: 4 }),
  )
  .map(([frame, changes]) => {
    const made = new Map<string, unknown>(Object.entries(frame));
    for (const [name, value] of changes) {
      if (value === null) made.delete(name);
      else made.set(name, value);
    }
    // Object.fromEntries makes an own property of `__proto__`, which JSON then carries.
    return JSON.stringify(Object.fromEntries(made));
  });
const typed = fc
  .tuple(fc.constantFrom(...TYPES), fc.dictionary(fieldName, odd, { maxKeys: 5 }))
  .map(([type, rest]) => JSON.stringify({ ...rest, type }));
const anyJson = fc.json({ maxDepth: 4 });
const noJson = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.constantFrom('{"type":"send"', "[[[[", "[".repeat(20_000), "NaN", "undefined", "{}}", '"'),
  bent.map((text) => text.slice(0, -1)),
);
const several = fc
  .array(fc.oneof(bent, typed, anyJson), { minLength: 1, maxLength: 4 })
  .map((frames) => `[${frames.join(",")}]`);
const tooMany = fc.constantFrom(`[${'{"type":"nope"},'.repeat(300)}{}]`, "[]", "[[]]", "[null]");

/** One WebSocket message each, text or binary. */
export type Case = string | Uint8Array<ArrayBuffer>;

export const malformed: fc.Arbitrary<Case> = fc
  .oneof(
    { weight: 6, arbitrary: bent },
    { weight: 3, arbitrary: typed },
    { weight: 2, arbitrary: anyJson },
    { weight: 2, arbitrary: noJson },
    { weight: 2, arbitrary: several },
    { weight: 1, arbitrary: tooMany },
    {
      weight: 1,
      arbitrary: fc.uint8Array({ maxLength: 80 }).map((bytes) => new Uint8Array(bytes)),
    },
  )
  // What the server reads is UTF-8, so a lone surrogate outside of an escape becomes another text.
  .map((one) => (typeof one === "string" ? one.toWellFormed() : one))
  .filter(isMalformed);

/** True when every frame of it is to be refused, so that an answer is owed to each. */
function isMalformed(one: Case): boolean {
  if (typeof one !== "string") return true;
  let value: unknown;
  try {
    value = JSON.parse(one);
  } catch {
    return true;
  }
  if (!Array.isArray(value)) return isBadFrame(value);
  return value.length === 0 || value.length > 256 || value.every(isBadFrame);
}

function isBadFrame(value: unknown): boolean {
  const result = ClientFrame.safeParse(value);
  // Half of a surrogate pair passes the schema and is refused; JSON.stringify only escapes such.
  return !result.success || /\\ud[89a-f]/.test(JSON.stringify(result.data));
}

/** Answers that are owed for it: one per frame, one for what is no array of frames. */
export function answersOwed(one: Case): number {
  if (typeof one !== "string") return 1;
  try {
    const value: unknown = JSON.parse(one);
    if (!Array.isArray(value) || value.length === 0 || value.length > 256) return 1;
    return value.length;
  } catch {
    return 1;
  }
}

export const httpBody = fc.oneof(
  fc.json({ maxDepth: 4 }),
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.dictionary(fieldName, odd, { maxKeys: 6 }).map((body) => JSON.stringify(body)),
  fc
    .record({
      content_id: odd,
      content: odd,
      push_type: odd,
      from_user_id: odd,
      to_user_ids: odd,
      user_id: odd,
      user_ids: odd,
      msg_ids: odd,
      group_id: odd,
      owner_id: odd,
      members: odd,
      messages: odd,
    })
    .map((body) => JSON.stringify(body)),
);
