/**
 * The two frames that clients send all day, recognised without the schema: checking a `send` by
 * `ClientFrame` takes longer than parsing its JSON. Whatever is not plainly right is null here and
 * goes through the schema, which alone says what is wrong. A test holds the two against each other.
 */
import { type AckFrame, MSG_IDS_PER_ACK_MAX, type SendFrame } from "./frames.ts";
import {
  CLIENT_MSG_ID_CHARS_MAX,
  CONTENT_CHARS_MAX,
  ID_CHARS_MAX,
  MSG_ID_CHARS_MAX,
} from "./message.ts";

/** The ids that nearly everybody uses. The schema's pattern for the rest costs ten times as much. */
const plainId = /^[\w.@~-]+$/;

/** The frame, with what was left out filled in; null when the schema has to look. */
export function quickFrame(value: unknown): SendFrame | AckFrame | null {
  if (typeof value !== "object" || value === null) return null;
  const { type } = value as { type?: unknown };
  if (type === "send") return quickSend(value);
  return type === "ack" ? quickAck(value) : null;
}

function quickSend(value: object): SendFrame | null {
  let clientMsgId: string | null = null;
  let to: string | null = null;
  let content: string | null = null;
  let messageType: SendFrame["message_type"] = "CHAT";
  let targetType: SendFrame["target_type"] = "USER";
  let expireTime = 0;
  for (const name in value) {
    const field: unknown = (value as Record<string, unknown>)[name];
    if (name === "type") continue;
    if (name === "client_msg_id" && isText(field, 1, CLIENT_MSG_ID_CHARS_MAX)) clientMsgId = field;
    else if (name === "to_user_id" && isPlainId(field)) to = field;
    else if (name === "content" && isText(field, 0, CONTENT_CHARS_MAX)) content = field;
    else if (name === "message_type" && isMessageType(field)) messageType = field;
    else if (name === "target_type" && isTargetType(field)) targetType = field;
    else if (name === "expire_time" && Number.isSafeInteger(field) && (field as number) >= 0) {
      expireTime = field as number;
    } else return null;
  }
  if (clientMsgId === null || to === null || content === null) return null;
  return {
    type: "send",
    client_msg_id: clientMsgId,
    message_type: messageType,
    target_type: targetType,
    to_user_id: to,
    content,
    expire_time: expireTime,
  };
}

function quickAck(value: object): AckFrame | null {
  let msgIds: string[] | null = null;
  for (const name in value) {
    if (name === "type") continue;
    const field: unknown = (value as Record<string, unknown>)[name];
    if (name !== "msg_ids" || !Array.isArray(field)) return null;
    if (field.length === 0 || field.length > MSG_IDS_PER_ACK_MAX) return null;
    for (const id of field) if (!isText(id, 1, MSG_ID_CHARS_MAX)) return null;
    msgIds = field;
  }
  return msgIds === null ? null : { type: "ack", msg_ids: msgIds };
}

function isText(field: unknown, min: number, max: number): field is string {
  return typeof field === "string" && field.length >= min && field.length <= max;
}

function isPlainId(field: unknown): field is string {
  return isText(field, 1, ID_CHARS_MAX) && plainId.test(field);
}

function isMessageType(field: unknown): field is SendFrame["message_type"] {
  return field === "CHAT" || field === "DATAREPORT" || field === "CONTROL";
}

function isTargetType(field: unknown): field is SendFrame["target_type"] {
  return field === "USER" || field === "GROUP";
}
