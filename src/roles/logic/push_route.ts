/**
 * `POST /chatify/logic/v1/sendSystemPush`: one content for up to PUSH_RECIPIENTS_MAX users. The 200
 * comes when the push is durable, with one message id per user of the request, in its order.
 */
import type { Context, Hono } from "hono";
import * as z from "zod";
import type { Clock, Random } from "../../core/clock.ts";
import { arrayLength, checked, parseJson } from "../../core/http/json_body.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { CONTENT_CHARS_MAX, ID_CHARS_MAX, UserId } from "../../core/protocol/message.ts";
import type { PushIntake, SystemPush } from "./api_contract.ts";

/** The categories that have names; any other number or name is passed on as it is. */
export const PUSH_TYPES: Readonly<Record<string, number>> = { NOTICE: 1, INFORM: 2 };
/** The sender of a push that names none. */
export const DEFAULT_SENDER = "system";

// Some callers write every 64-bit number as text, as protobuf's JSON does.
const wholeNumberTakes = { error: "takes a whole number from 0, or its digits as text" };
const digits = z.string().regex(/^\d{1,15}$/, wholeNumberTakes);
const wholeNumber = z.union(
  [z.int().nonnegative(wholeNumberTakes), digits.transform(Number)],
  wholeNumberTakes,
);

/** Standard or URL-safe: groups of four characters; the last may be short, padded or not. */
const base64 = /^(?:[\w+/-]{4})*(?:[\w+/-]{2}(?:==)?|[\w+/-]{3}=?)?$/;

export const SystemPushBody = z.object({
  content_id: z
    .union([z.string().max(ID_CHARS_MAX), z.int().transform(String)], {
      error: `takes text of at most ${ID_CHARS_MAX} characters`,
    })
    .nullish(),
  content: z
    .string({ error: "takes base64 text" })
    .max(CONTENT_CHARS_MAX)
    .regex(base64, { error: "takes base64, standard or URL-safe, padded or not" }),
  timestamp: wholeNumber.nullish(),
  push_type: z
    .union([z.int(), z.string().max(64)], { error: "takes a number or a name such as NOTICE" })
    .nullish(),
  from_user_id: UserId.nullish(),
  to_user_ids: z.array(UserId, { error: "takes an array of user ids" }).min(1),
  expire_time: wholeNumber.nullish(),
});
export type SystemPushBody = z.output<typeof SystemPushBody>;
const FieldsButUsers = SystemPushBody.omit({ to_user_ids: true });

export const SystemPushAnswer = z.object({
  task_id: z.string(),
  msg_ids: z.array(z.string()),
  /** Users who get it; less than `msg_ids` when the request named some of them twice. */
  accepted: z.int(),
});
export type SystemPushAnswer = z.infer<typeof SystemPushAnswer>;

export interface PushRouteDeps {
  readonly intake: PushIntake;
  readonly clock: Pick<Clock, "now">;
  readonly random: Random;
  readonly limits: Pick<Limits, "PUSH_RECIPIENTS_MAX">;
}

export function addPushRoute(app: Hono, deps: PushRouteDeps): void {
  const { clock, intake, limits, random } = deps;
  app.post("/chatify/logic/v1/sendSystemPush", async (c: Context) => {
    const body = await parseJson(c.req.raw);
    refuseTooLarge(body, limits.PUSH_RECIPIENTS_MAX);
    const traceparent = c.req.raw.headers.get("traceparent") ?? "";
    const fields = checkedPush(body);
    const push = systemPush(fields, Math.floor(clock.now() / 1_000), traceparent);
    const ids = await intake.submit(push);
    const answer: SystemPushAnswer = {
      task_id: random.token(16),
      msg_ids: idPerUser(fields.to_user_ids, push.recipients, ids),
      accepted: ids.length,
    };
    return c.json(answer);
  });
}

/** Before the fields are looked at: a list that is far too long is not to be walked. */
function refuseTooLarge(body: unknown, recipientsMax: number): void {
  const recipients = arrayLength(body, "to_user_ids");
  if (recipients > recipientsMax) {
    const message = `to_user_ids: takes at most ${recipientsMax} users, got ${recipients}`;
    throw new ChatifyError("too_large", message);
  }
}

/** What UserId takes, as one expression: a test holds the two together. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
const userId = /^[^\s:{}"\\\u0000-\u001f\u007f-\u009f]{1,128}$/;

export function areUserIds(list: unknown): list is string[] {
  if (!Array.isArray(list) || list.length === 0) return false;
  for (const id of list) if (typeof id !== "string" || !userId.test(id)) return false;
  return true;
}

/**
 * As SystemPushBody checks it. A thousand users take the schema 75 µs and the expression 6 µs, so
 * the schema looks at them only to say what is wrong.
 */
function checkedPush(body: unknown): SystemPushBody {
  const users: unknown = (body as { to_user_ids?: unknown } | null)?.to_user_ids;
  if (!areUserIds(users)) return checked(SystemPushBody, body);
  return { ...checked(FieldsButUsers, body), to_user_ids: users };
}

/** Throws `expired` when nobody would ever get it. */
function systemPush(body: SystemPushBody, nowS: number, traceparent: string): SystemPush {
  const expireTime = body.expire_time ?? 0;
  if (expireTime !== 0 && expireTime <= nowS) {
    const message = `expire_time: ${expireTime} has passed; the server's clock shows ${nowS}`;
    throw new ChatifyError("expired", message);
  }
  return {
    fromUserId: body.from_user_id ?? DEFAULT_SENDER,
    contentId: body.content_id ?? "",
    content: body.content,
    pushType: pushType(body.push_type ?? "NOTICE"),
    recipients: withoutRepeats(body.to_user_ids),
    timestamp: body.timestamp ?? nowS,
    expireTime,
    traceparent,
  };
}

/** A number where it is known as one, so that the same category always looks the same. */
function pushType(given: number | string): number | string {
  if (typeof given === "number") return given;
  if (/^\d{1,15}$/.test(given)) return Number(given);
  return Object.hasOwn(PUSH_TYPES, given) ? (PUSH_TYPES[given] ?? given) : given;
}

/** A user who is named twice gets one message: two could not be told from a duplicate. */
function withoutRepeats(users: readonly string[]): readonly string[] {
  if (users.length === 1) return users;
  const once = new Set(users);
  return once.size === users.length ? users : [...once];
}

function idPerUser(
  users: readonly string[],
  recipients: readonly string[],
  ids: string[],
): string[] {
  if (users.length === recipients.length) return ids;
  const idOf = new Map(recipients.map((user, i) => [user, ids[i] ?? ""]));
  return users.map((user) => idOf.get(user) ?? "");
}
