/** What the routes of push take and answer. Times are unix seconds, except `since`: milliseconds. */
import * as z from "zod";
import { DeviceId, UserId } from "../../core/protocol/message.ts";

const USERS_PER_QUERY_MAX = 1_000;

export const BatchQueryOnlineBody = z.object({
  user_ids: z.array(UserId).min(1).max(USERS_PER_QUERY_MAX),
});

export const SessionAnswer = z.object({
  device_id: z.string(),
  gateway: z.string(),
  /** The access node that registered it. */
  node: z.string(),
  /** Unix ms of the handshake. */
  since: z.int(),
});

export const UserSessionsAnswer = z.object({
  user_id: z.string(),
  online: z.boolean(),
  sessions: z.array(SessionAnswer),
});

export const BatchQueryOnlineAnswer = z.object({ users: z.array(UserSessionsAnswer) });

export const UserParam = z.object({ user: UserId });

/** Without a device all of the user's sessions end. */
export const KickBody = z.object({ device_id: DeviceId.nullish() });

/** Without a moment: all tokens issued until now. */
export const RevokeTokensBody = z.object({
  before: z.int({ error: "takes unix seconds" }).nonnegative().max(4_102_444_800).nullish(),
});

export const EndedAnswer = z.object({ user_id: z.string(), ended: z.array(SessionAnswer) });
export const RevokedAnswer = EndedAnswer.extend({ tokens_before: z.int() });
