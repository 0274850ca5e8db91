/**
 * The decision about each message of a batch: refused, known already, or numbered and resolved into
 * recipients. Pure and synchronous, so that the outcome is a function of the stream and of what was
 * loaded before; the effects (commit, replies) come after, elsewhere.
 */
import { type ChatInput, decodeChatInputBody } from "../../core/protocol/chat_input.ts";
import { ChatifyError, type ErrorCode } from "../../core/protocol/errors.ts";
import { chatMsgIds } from "../../core/protocol/msg_id.ts";
import type { PushTask } from "../../core/protocol/push_task.ts";
import type { StreamEntry } from "../../core/streams/contract.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import type { ContentCheck } from "./content_check.ts";
import type { Conversation } from "./conversations.ts";
import { type DedupKey, type DedupRecord, dedupKey } from "./dedup_records.ts";
import type { DedupWindow } from "./dedup_window.ts";
import type { Refusals } from "./send_gate.ts";

/** An entry of `chat_input` with its items decoded; `items` is null when it cannot be. */
export interface DecodedEntry {
  readonly id: string;
  readonly ms: number;
  readonly sequence: number;
  readonly items: (ChatInput | null)[] | null;
  readonly body: string;
}

export function decodeEntry(entry: StreamEntry): DecodedEntry {
  const dash = entry.id.indexOf("-");
  return {
    id: entry.id,
    ms: Number(entry.id.slice(0, dash)),
    sequence: Number(entry.id.slice(dash + 1)),
    items: decodeChatInputBody(entry.body),
    body: entry.body,
  };
}

/** An item without a sender is the server's own: something about the conversation changed. */
export function isNotice(input: ChatInput): boolean {
  return input.fromUserId === "";
}

/** What the sender of a message is told once the batch is committed. */
export interface Reply {
  readonly input: ChatInput;
  readonly frame: string;
  /** Of the message that it was, or is known as; empty when it was refused. */
  readonly msgId: string;
  readonly seq: number;
  readonly outcome: "numbered" | "repeated" | ErrorCode;
  /** Users that it was handed over for. */
  readonly recipients: number;
}

export interface Numbering {
  readonly replies: Reply[];
  /** user partition → messages for its users */
  readonly tasks: Map<number, PushTask[]>;
  readonly reports: string[];
  /** conversation → its last seq after the batch */
  readonly seqs: Map<string, number>;
  readonly records: [DedupKey, DedupRecord][];
  /** Entries or items that make no sense, for dead_letter. */
  readonly poison: { readonly id: string; readonly reason: string; readonly body: string }[];
  readonly rejected: Map<string, number>;
  duplicates: number;
  numbered: number;
}

export interface NumberingContext {
  readonly partition: number;
  readonly partitions: Partitions;
  readonly dedup: DedupWindow;
  readonly dedupSeed: bigint;
  readonly contentCheck: ContentCheck;
  readonly conversations: ReadonlyMap<string, Conversation>;
  readonly nowMs: number;
  /** What the gate refused; empty without one. */
  readonly refusals: Refusals;
}

export function newNumbering(): Numbering {
  return {
    replies: [],
    tasks: new Map(),
    reports: [],
    seqs: new Map(),
    records: [],
    poison: [],
    rejected: new Map(),
    duplicates: 0,
    numbered: 0,
  };
}

/** Decides about every item of `entry` and adds the outcome to `out`. */
export function numberEntry(out: Numbering, context: NumberingContext, entry: DecodedEntry): void {
  if (entry.items === null) {
    out.poison.push({ id: entry.id, reason: "entry_not_decodable", body: entry.body });
    return;
  }
  const msgIdAt = chatMsgIds(context.partition, entry.id);
  for (let index = 0; index < entry.items.length; index++) {
    const input = entry.items[index];
    if (input === null || input === undefined) {
      // The whole entry, so that it can be replayed: what of it is known already is recognised.
      out.poison.push({
        id: `${entry.id}#${index}`,
        reason: "item_not_decodable",
        body: entry.body,
      });
    } else if (!isNotice(input)) {
      numberItem(out, context, entry, input, index, msgIdAt(index));
    }
  }
}

function numberItem(
  out: Numbering,
  context: NumberingContext,
  entry: DecodedEntry,
  input: ChatInput,
  index: number,
  msgId: string,
): void {
  const key = dedupKey(context.dedupSeed, input.fromUserId, input.clientMsgId);
  const known = context.dedup.find(key);
  if (known !== null) {
    // The very same item again means that a former owner recorded it and died before it was handed
    // on (possible where a commit is not atomic): hand it on again under its number.
    const again = known.msgId === msgId && known.seq > 0;
    const recipients = again ? route(out, context, entry, input, msgId, known.seq) : 0;
    if (!again) out.duplicates++;
    const frame = sentFrame(input, known.msgId, known.seq, known.timestamp);
    const outcome = again ? "numbered" : "repeated";
    out.replies.push({ input, frame, msgId: known.msgId, seq: known.seq, outcome, recipients });
    return;
  }
  const conversation = context.conversations.get(input.conversationId);
  const refused = refuse(context, input, conversation);
  if (refused !== null) {
    out.rejected.set(refused.code, (out.rejected.get(refused.code) ?? 0) + 1);
    const frame = rejectedFrame(input, refused);
    out.replies.push({ input, frame, msgId: "", seq: 0, outcome: refused.code, recipients: 0 });
    return;
  }
  const timestamp = Math.floor(entry.ms / 1_000);
  // A report has no conversation and therefore no number.
  const isReport = input.messageType === "DATAREPORT";
  const seq = isReport || conversation === undefined ? 0 : ++conversation.seq;
  const record = { ms: entry.ms, sequence: entry.sequence, index, seq };
  context.dedup.add(key, record);
  out.records.push([key, record]);
  let recipients = 0;
  if (isReport) {
    out.reports.push(encodeMessage(input, msgId, 0, timestamp));
  } else {
    out.seqs.set(input.conversationId, seq);
    recipients = route(out, context, entry, input, msgId, seq);
  }
  out.numbered++;
  const frame = sentFrame(input, msgId, seq, timestamp);
  out.replies.push({ input, frame, msgId, seq, outcome: "numbered", recipients });
}

function refuse(
  context: NumberingContext,
  input: ChatInput,
  conversation: Conversation | undefined,
): ChatifyError | null {
  const content = context.contentCheck(input, context.nowMs);
  const early = content ?? context.refusals.get(input) ?? null;
  if (early !== null || input.messageType === "DATAREPORT") return early;
  if (conversation === undefined) throw new Error("a conversation of the batch was not loaded");
  if (input.targetType === "GROUP") {
    if (conversation.group === null) return new ChatifyError("not_found", "there is no such group");
    if (conversation.group.all.has(input.fromUserId)) return null;
    return new ChatifyError("not_a_member", "only members may send to this group");
  }
  if (conversation.blockers.includes(input.toUserId)) {
    return new ChatifyError("blocked", "the recipient does not take messages from this user");
  }
  return null;
}

/** Adds it to the tasks of its recipients' partitions; returns how many recipients it has. */
function route(
  out: Numbering,
  context: NumberingContext,
  entry: DecodedEntry,
  input: ChatInput,
  msgId: string,
  seq: number,
): number {
  const task = {
    msgId,
    conversation: input.conversationId,
    seq,
    expireTime: input.expireTime,
    acceptedAt: entry.ms,
    trace: input.traceparent,
    message: encodeMessage(input, msgId, seq, Math.floor(entry.ms / 1_000)),
  };
  if (input.targetType === "USER") {
    const partition = partitionOf(input.toUserId, context.partitions.user);
    addTask(out, partition, { ...task, recipients: [input.toUserId] });
    return 1;
  }
  const group = context.conversations.get(input.conversationId)?.group;
  let count = 0;
  for (const [partition, members] of group?.byPartition ?? []) {
    const recipients = members.includes(input.fromUserId)
      ? members.filter((user) => user !== input.fromUserId)
      : members;
    if (recipients.length === 0) continue;
    addTask(out, partition, { ...task, recipients });
    count += recipients.length;
  }
  return count;
}

function addTask(out: Numbering, partition: number, task: PushTask): void {
  const tasks = out.tasks.get(partition);
  if (tasks === undefined) out.tasks.set(partition, [task]);
  else tasks.push(task);
}

/**
 * The one encoding of a message, however many recipients it has: what JSON.stringify would write of a
 * Message (a test compares the two), in a third of its time. Ids are known to hold nothing that JSON
 * escapes; what clients write freely is quoted.
 */
export function encodeMessage(
  input: ChatInput,
  msgId: string,
  seq: number,
  timestamp: number,
): string {
  const { conversationId, expireTime, fromUserId, messageType, targetType, toUserId } = input;
  return (
    `{"msg_id":"${msgId}","message_type":"${messageType}","from_user_id":"${fromUserId}",` +
    `"target_type":"${targetType}","to_user_id":"${toUserId}",` +
    `"content":${JSON.stringify(input.content)},"timestamp":${timestamp},` +
    `"expire_time":${expireTime},"content_id":"","conversation_id":"${conversationId}",` +
    `"seq":${seq},"client_msg_id":${JSON.stringify(input.clientMsgId)}}`
  );
}

function sentFrame(input: ChatInput, msgId: string, seq: number, timestamp: number): string {
  return (
    `{"type":"sent","client_msg_id":${JSON.stringify(input.clientMsgId)},"msg_id":"${msgId}",` +
    `"conversation_id":"${input.conversationId}","seq":${seq},"timestamp":${timestamp}}`
  );
}

function rejectedFrame(input: ChatInput, error: ChatifyError): string {
  return JSON.stringify({
    type: "rejected",
    client_msg_id: input.clientMsgId,
    ...error.toBody(),
  });
}
