/** A system push to one user, as `push_task` carries it. */
import type { PushTask } from "../../core/protocol/push_task.ts";
import type { TraceContext } from "../../core/telemetry/telemetry.ts";

export interface PushContent {
  readonly fromUserId: string;
  readonly contentId: string;
  /** Base64 text, handed to recipients unchanged. */
  readonly content: string;
  readonly pushType: number | string;
  /** Unix seconds. */
  readonly timestamp: number;
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
}

/**
 * Makes the tasks of a push, all accepted at `acceptedAt` (unix ms). What recipients share is encoded
 * once.
 */
export function pushTasks(
  push: PushContent,
  acceptedAt: number,
  trace: TraceContext,
): (user: string, msgId: string) => PushTask {
  const conversation = `s:${push.fromUserId}`;
  const tail = JSON.stringify({
    message_type: "CHAT",
    from_user_id: push.fromUserId,
    target_type: "SYSTEM",
    content: push.content,
    timestamp: push.timestamp,
    expire_time: push.expireTime,
    content_id: push.contentId,
    conversation_id: conversation,
    seq: 0,
    client_msg_id: "",
    push_type: push.pushType,
  }).slice(1);
  return (user, msgId) => ({
    ...{ msgId, conversation, seq: 0, expireTime: push.expireTime, acceptedAt, trace },
    recipients: [user],
    message: `{"msg_id":"${msgId}","to_user_id":${JSON.stringify(user)},${tail}`,
  });
}
