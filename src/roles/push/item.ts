/**
 * Making items: of a message that push was handed, and of a row that the store gave back.
 */
import type { OfflineRow } from "../../core/offline/contract.ts";
import type { PushTask } from "../../core/protocol/push_task.ts";
import type { Feed, Item } from "./feed.ts";
import type { OpenEntry } from "./settlement.ts";

/** The frame that carries an encoded message; built once however many sessions get it. */
export function messageFrame(message: string): string {
  return `{"type":"message","message":${message}}`;
}

export function itemOfTask(
  feed: Feed,
  task: PushTask,
  frame: string,
  entry: OpenEntry,
  deadline: number,
): Item {
  return {
    feed,
    msgId: task.msgId,
    conversation: task.conversation,
    seq: task.seq,
    expireTime: task.expireTime,
    message: task.message,
    frame,
    trace: task.trace,
    acceptedAt: task.acceptedAt,
    deadline,
    entry,
    sentAt: 0,
    archiving: false,
    done: false,
    ackedBy: null,
  };
}

export function itemOfRow(feed: Feed, row: OfflineRow): Item {
  return {
    feed,
    msgId: row.msg_id,
    conversation: row.conversation_id,
    seq: row.seq,
    expireTime: row.expire_time,
    message: row.message,
    frame: messageFrame(row.message),
    trace: "",
    acceptedAt: row.stored_at,
    deadline: 0,
    entry: null,
    sentAt: 0,
    archiving: false,
    done: false,
    ackedBy: null,
  };
}
