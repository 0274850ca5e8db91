/**
 * The body of a system push, in every spelling that callers have: a number may come as text, as
 * protobuf's JSON writes 64-bit numbers, a name in camel case, as it writes names, a time in seconds,
 * milliseconds, microseconds or nanoseconds, and content as base64 in any of its dialects, or as text.
 * What comes out has one spelling, which is the one that docs/PUSH.md tells people to use.
 */
import * as z from "zod";
import { arrayLength, checked } from "../../core/http/json_body.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { CONTENT_CHARS_MAX, ID_CHARS_MAX, UserId } from "../../core/protocol/message.ts";
import { inSeconds } from "./push_time.ts";

/** The categories that have names; any other number or name is passed on as it is. */
export const PUSH_TYPES: Readonly<Record<string, number>> = { NOTICE: 1, INFORM: 2 };
/** The sender of a push that names none. */
export const DEFAULT_SENDER = "system";

const numberTakes = { error: "takes a number, or its digits as text" };
const digits = z.string().regex(/^-?\d{1,19}(\.\d{1,9})?$/, numberTakes);
export const looseNumber = z.union([z.number(), digits.transform(Number)], numberTakes);
const numberAsText = z.number().transform(String);
const idTakes = { error: `takes text of 1 to ${ID_CHARS_MAX} characters, or a number` };
export const LooseUserId = z.union([UserId, z.int().nonnegative().transform(String)], idTakes);

const textTakes = (max: number) => ({
  error: `takes text of at most ${max} characters, or a number`,
});
const textOrNumber = (max: number) =>
  z.union([z.string().max(max, textTakes(max)), numberAsText], textTakes(max));

/** What every push has, whoever it is for. */
export const PushFields = z.object({
  content: z.string({ error: "takes base64 text" }).meta({
    description: "Base64 of any bytes. What is no base64 is taken as text, and encoded.",
  }),
  content_id: textOrNumber(ID_CHARS_MAX).nullish().meta({ description: "The caller's own id" }),
  timestamp: looseNumber.nullish(),
  push_type: z
    .union([z.int(), z.string().max(64)], { error: "takes a number or a name such as NOTICE" })
    .nullish(),
  from_user_id: textOrNumber(ID_CHARS_MAX)
    .refine((id) => !/\p{Cc}/u.test(id), { error: "takes no control characters" })
    .nullish(),
  expire_time: looseNumber.nullish().meta({
    description: "Unix time; a number below 1e9 is seconds from now; 0 or less is never",
  }),
});

const flag = z.union([z.boolean(), z.enum(["true", "false", "1", "0"])], {
  error: "takes true or false",
});

export const SystemPushBody = PushFields.extend({
  to_user_ids: z
    .union([z.array(LooseUserId).min(1), LooseUserId.transform((id) => [id])], {
      error: "takes an array of user ids",
    })
    .meta({ description: "At most 1000; a single id need be no array" }),
  dedup_by_content_id: flag.nullish().meta({
    description: "Push to no user again what was pushed under this sender and content_id",
  }),
});
export type SystemPushBody = z.output<typeof SystemPushBody>;
const FieldsButUsers = SystemPushBody.omit({ to_user_ids: true });

/** The same in one spelling. */
export interface PlainPush {
  readonly fromUserId: string;
  readonly contentId: string;
  /** Base64, as it was sent where it was. */
  readonly content: string;
  readonly pushType: number | string;
  /** Unix seconds; null where the caller names none. */
  readonly timestamp: number | null;
  /** As the caller sent it; null where it names none, and where it is never. */
  readonly expireTime: number | null;
}

/** Throws `bad_request` or `too_large`. */
export function plainPush(body: z.output<typeof PushFields>): PlainPush {
  const { content_id, expire_time, from_user_id, timestamp } = body;
  return {
    fromUserId: from_user_id == null || from_user_id === "" ? DEFAULT_SENDER : from_user_id,
    contentId: content_id ?? "",
    content: base64Of(body.content),
    pushType: pushType(body.push_type ?? "NOTICE"),
    timestamp: timestamp == null || timestamp < 0 ? null : inSeconds(timestamp),
    expireTime: expire_time == null || expire_time <= 0 ? null : inSeconds(expire_time),
  };
}

/** Throws `bad_request` with the field's path and what it takes, or `too_large`. */
export function checkedPush(given: unknown, recipientsMax: number): SystemPushBody {
  const body = withKnownNames(given);
  // Before the fields are looked at: a list that is far too long is not to be walked.
  const count = arrayLength(body, "to_user_ids");
  if (count > recipientsMax) {
    const message = `to_user_ids: takes at most ${recipientsMax} users, got ${count}`;
    throw new ChatifyError("too_large", message);
  }
  // A thousand users take the schema 75 µs and the expression 6 µs, so the schema looks at them only
  // to say what is wrong.
  const users = textIds((body as { to_user_ids?: unknown } | null)?.to_user_ids);
  if (!areUserIds(users)) return checked(SystemPushBody, body);
  return { ...checked(FieldsButUsers, body), to_user_ids: users };
}

/** What UserId takes, as one expression: a test holds the two together. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
const userId = /^[^\s:{}"\\\u0000-\u001f\u007f-\u009f]{1,128}$/;

export function areUserIds(list: unknown): list is string[] {
  if (!Array.isArray(list) || list.length === 0) return false;
  for (const id of list) if (typeof id !== "string" || !userId.test(id)) return false;
  return true;
}

function textIds(list: unknown): unknown {
  if (!Array.isArray(list)) return list;
  if (!list.some((id) => typeof id === "number")) return list;
  return list.map((id) => (Number.isSafeInteger(id) && id >= 0 ? String(id) : id));
}

/** `fromUserId` as `from_user_id`, where that is not there itself. */
export function withKnownNames(body: unknown): unknown {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return body;
  let renamed: Record<string, unknown> | null = null;
  for (const name of Object.keys(body)) {
    if (!/^[a-z]+[A-Z]/.test(name)) continue;
    const known = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (Object.hasOwn(body, known)) continue;
    renamed ??= { ...body };
    renamed[known] = (body as Record<string, unknown>)[name];
  }
  return renamed ?? body;
}

/** A number where it is known as one, so that the same category always looks the same. */
function pushType(given: number | string): number | string {
  if (typeof given === "number") return given;
  if (/^\d{1,15}$/.test(given)) return Number(given);
  return Object.hasOwn(PUSH_TYPES, given) ? (PUSH_TYPES[given] ?? given) : given;
}

/** Standard or URL-safe: groups of four characters; the last may be short, padded or not. */
const base64 = /^(?:[\w+/-]{4})*(?:[\w+/-]{2}(?:==)?|[\w+/-]{3}=?)?$/;
/** As mail and the base64 command wrap it. */
const wrapped = /^(?:[\w+/-]{64}\r?\n|[\w+/-]{76}\r?\n)*[\w+/=-]*\s*$/;

function base64Of(content: string): string {
  let encoded = content;
  if (!base64.test(content)) {
    const joined = wrapped.test(content) ? content.replaceAll(/\s/g, "") : "";
    const isBase64 = joined !== "" && base64.test(joined);
    encoded = isBase64 ? joined : Buffer.from(content, "utf8").toString("base64");
  }
  if (encoded.length <= CONTENT_CHARS_MAX) return encoded;
  const message = `content: takes at most ${CONTENT_CHARS_MAX} characters of base64`;
  throw new ChatifyError("too_large", message);
}
