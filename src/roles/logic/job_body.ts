/**
 * What a push job is made of: a description, in JSON, and, where it is a list, its users, in the same
 * JSON or on a line each behind it (NDJSON), however many there are.
 */
import * as z from "zod";
import { checked } from "../../core/http/json_body.ts";
import { parseLooseJson } from "../../core/http/loose_json.ts";
import type { JobSpec, JobTarget } from "../../core/jobs/contract.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { GroupId } from "../../core/protocol/message.ts";
import { areUserIds, LooseUserId, looseNumber, PushFields, plainPush } from "./push_body.ts";
import { fromNow, inSeconds } from "./push_time.ts";

export const PushJobBody = PushFields.extend({
  to_user_ids: z.array(LooseUserId, { error: "takes an array of user ids" }).nullish().meta({
    description: "Users; a long list comes on a line each behind this object instead",
  }),
  to_group_id: GroupId.nullish().meta({ description: "The members of a group, as of its start" }),
  to_tag: GroupId.nullish().meta({ description: "Users who have a tag, as of its start" }),
  to_online: z.boolean().nullish().meta({ description: "Everybody who is online at its start" }),
  rate: looseNumber.nullish().meta({ description: "Messages per second; none: as fast as may be" }),
  start_time: looseNumber.nullish().meta({
    description: "Unix time; a number below 1e9 is seconds from now; none: at once",
  }),
});
export type PushJobBody = z.output<typeof PushJobBody>;

export interface JobRequest {
  readonly spec: JobSpec;
  /** Users that the description itself names. */
  readonly users: readonly string[];
}

/** Throws `bad_request`. `hasLines`: users follow. */
export function jobRequest(
  given: unknown,
  hasLines: boolean,
  nowS: number,
  delayMaxS: number,
): JobRequest {
  const body = checked(PushJobBody, given);
  const { expireTime, timestamp, ...plain } = plainPush(body);
  const start = body.start_time == null ? 0 : fromNow(inSeconds(body.start_time), nowS);
  if (start > nowS + delayMaxS) {
    throw new ChatifyError("bad_request", `start_time: at most ${delayMaxS} s from now`);
  }
  const startTime = start <= nowS ? 0 : start;
  const rate = Math.ceil(body.rate ?? 0);
  if (rate < 0) throw new ChatifyError("bad_request", "rate: takes a number from 0");
  const target = targetOf(body, hasLines);
  return {
    users: body.to_user_ids ?? [],
    spec: {
      ...plain,
      target,
      rate,
      startTime,
      timestamp: timestamp ?? (startTime || nowS),
      // A duration begins when the job does.
      expireTime: expireTime === null ? 0 : fromNow(expireTime, startTime || nowS),
    },
  };
}

function targetOf(body: PushJobBody, hasLines: boolean): JobTarget {
  const { to_group_id: group, to_online: online, to_tag: tag, to_user_ids: users } = body;
  const found: JobTarget[] = [];
  if (hasLines || users != null) found.push({ kind: "list" });
  if (group != null) found.push({ kind: "group", name: group });
  if (tag != null) found.push({ kind: "tag", name: tag });
  if (online === true) found.push({ kind: "online" });
  const [target] = found;
  if (target !== undefined && found.length === 1) return target;
  const ways = "to_user_ids (or a user per line behind it), to_group_id, to_tag or to_online";
  const message = `takes exactly one of ${ways}; got ${found.length === 0 ? "none" : "several"}`;
  throw new ChatifyError("bad_request", message);
}

/** The user that a line names: JSON text, a number, an object with the user's id, or just the id. */
export function userOfLine(line: string): string | null {
  // Ids of digits and letters are what most lists hold, and they need no parser.
  if (/^[\w.@-]+$/.test(line)) return areUserIds([line]) ? line : null;
  let value: unknown;
  try {
    value = parseLooseJson(line);
  } catch {
    value = line;
  }
  if (typeof value === "object" && value !== null) {
    const fields = value as Record<string, unknown>;
    value = fields.to_user_id ?? fields.user_id ?? fields.toUserId ?? fields.userId ?? fields.id;
  }
  const id = typeof value === "number" ? `${value}` : value;
  return areUserIds([id]) ? (id as string) : null;
}
