/**
 * `POST /chatify/logic/v1/sendSystemPush`: one content for up to PUSH_RECIPIENTS_MAX users. The 200
 * comes when the push is durable, with one message id per user of the request, in its order.
 */
import type { Context, Hono } from "hono";
import * as z from "zod";
import type { Clock, Random } from "../../core/clock.ts";
import { callerOf } from "../../core/http/api_auth.ts";
import { checked } from "../../core/http/json_body.ts";
import { parseLooseJson } from "../../core/http/loose_json.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import type { PushIntake, SystemPush } from "./api_contract.ts";
import { checkedPush, type PlainPush, plainPush } from "./push_body.ts";
import type { PushGate } from "./push_gate.ts";
import type { PushedOnce, PushOnce } from "./push_once.ts";
import type { PushRates } from "./push_rates.ts";
import { fromNow } from "./push_time.ts";

export const SystemPushAnswer = z.object({
  task_id: z.string(),
  msg_ids: z.array(z.string()),
  /** Users who can get it: each user counts once, and none when its time had passed. */
  accepted: z.int(),
});
export type SystemPushAnswer = z.infer<typeof SystemPushAnswer>;

/** Letters, digits and punctuation, as a header carries them. */
export const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, { error: "takes 1 to 255 printable ASCII characters" });
export const PushHeaders = z.object({
  "Idempotency-Key": IdempotencyKey.optional().meta({
    description: "A repetition within 24 hours is answered with the same ids, and pushes nothing",
  }),
});
export const PushQuery = z.object({
  dedup_by_content_id: z.enum(["true", "false", "1", "0"]).optional().meta({
    description: "As the field of the body",
  }),
});

export interface PushRouteDeps {
  readonly intake: PushIntake;
  readonly once: Pick<PushOnce, "byKey" | "byContent">;
  readonly rates: Pick<PushRates, "take">;
  readonly gate: Pick<PushGate, "pass">;
  readonly clock: Pick<Clock, "now">;
  readonly random: Random;
  readonly limits: Pick<Limits, "PUSH_RECIPIENTS_MAX">;
}

const TASK_ID_CHARS = 16;

export function addPushRoute(app: Hono, deps: PushRouteDeps): void {
  const { clock, gate, limits, rates } = deps;
  app.post("/chatify/logic/v1/sendSystemPush", async (c: Context) => {
    const fields = checkedPush(parseLooseJson(await textOf(c.req.raw)), limits.PUSH_RECIPIENTS_MAX);
    const plain = plainPush(fields);
    const sameAs = sameness(c, fields.dedup_by_content_id, plain);
    const recipients = withoutRepeats(fields.to_user_ids);
    rates.take(callerOf(c), recipients.length);
    const traceparent = c.req.raw.headers.get("traceparent") ?? "";
    const make = (ms: number) => systemPush(plain, recipients, Math.floor(ms / 1_000), traceparent);
    const { expireTime, pushed } = await gate.pass(recipients.length, () =>
      submit(deps, sameAs, callerOf(c), plain, make),
    );
    const hasExpired = expireTime !== 0 && expireTime * 1_000 <= clock.now();
    const answer: SystemPushAnswer = {
      task_id: pushed.taskId,
      msg_ids: idPerUser(fields.to_user_ids, recipients, pushed.msgIds),
      accepted: hasExpired ? 0 : recipients.length,
    };
    return c.json(answer);
  });
}

/** A key in text; a user at a time by content; or nothing, null. */
type SameAs = string | { readonly byContent: true } | null;

/** What makes this push the same as an earlier one. */
function sameness(c: Context, flag: unknown, { contentId }: PlainPush): SameAs {
  const header = c.req.header("idempotency-key");
  const query = c.req.query("dedup_by_content_id");
  const byContent = [true, "true", "1"].includes((flag ?? query ?? false) as string | boolean);
  if (byContent && contentId === "") {
    throw new ChatifyError("bad_request", "content_id: dedup_by_content_id needs one");
  }
  if (header === undefined) return byContent ? { byContent } : null;
  if (byContent) {
    const message = "takes Idempotency-Key or dedup_by_content_id, not both";
    throw new ChatifyError("bad_request", message);
  }
  return checked(PushHeaders, { "Idempotency-Key": header })["Idempotency-Key"] ?? null;
}

async function submit(
  { clock, intake, once, random }: PushRouteDeps,
  sameAs: SameAs,
  caller: string,
  plain: PlainPush,
  make: (ms: number) => SystemPush,
): Promise<{ pushed: PushedOnce; expireTime: number }> {
  const push = make(clock.now());
  if (sameAs === null) {
    const msgIds = await intake.submit(push);
    return { pushed: { taskId: random.token(TASK_ID_CHARS), msgIds }, expireTime: push.expireTime };
  }
  if (typeof sameAs !== "string") {
    return { pushed: await once.byContent(push), expireTime: push.expireTime };
  }
  let expireTime = 0;
  const asked = [plain, push.recipients];
  const pushed = await once.byKey(caller, sameAs, asked, (ms) => {
    const first = make(ms);
    expireTime = first.expireTime;
    return first;
  });
  return { pushed, expireTime };
}

async function textOf(request: Request): Promise<string> {
  try {
    return await request.text();
  } catch {
    throw new ChatifyError("bad_request", "the body ended early");
  }
}

function systemPush(
  { expireTime, timestamp, ...plain }: PlainPush,
  recipients: readonly string[],
  nowS: number,
  traceparent: string,
): SystemPush {
  return {
    ...plain,
    recipients,
    timestamp: timestamp ?? nowS,
    expireTime: expireTime === null ? 0 : fromNow(expireTime, nowS),
    traceparent,
  };
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
  ids: readonly string[],
): string[] {
  if (users.length === recipients.length) return [...ids];
  const idOf = new Map(recipients.map((user, i) => [user, ids[i] ?? ""]));
  return users.map((user) => idOf.get(user) ?? "");
}
