/**
 * One item of the `chat_input` stream: a send frame as the gateway took it, with what the gateway
 * knows and the client cannot forge. The gateway encodes it once; access puts the text into an entry
 * without looking inside; logic decodes it.
 *
 * An item is a JSON array, not an object, because there is one per message. The body of a stream
 * entry is a JSON array of items, so access joins texts with commas and logic parses once. Fields are
 * only ever added at the end: a reader takes more of them than it knows.
 */
import type { MessageType } from "./message.ts";

export interface ChatInput {
  readonly conversationId: string;
  /** What the token says; never what the client says. */
  readonly fromUserId: string;
  readonly deviceId: string;
  readonly clientMsgId: string;
  readonly messageType: MessageType;
  readonly targetType: "USER" | "GROUP";
  readonly toUserId: string;
  readonly content: string;
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
  /** Unix ms at which the gateway read the frame. */
  readonly receivedAtMs: number;
  /** Where the sender is connected: `sent` and `rejected` go back through access to there. */
  readonly gatewayNodeId: string;
  readonly accessNodeId: string;
  readonly connId: number;
  /** W3C traceparent, or "" when not sampled. */
  readonly traceparent: string;
}

export type ChatInputTuple = [
  conversationId: string,
  fromUserId: string,
  deviceId: string,
  clientMsgId: string,
  messageType: MessageType,
  targetType: "USER" | "GROUP",
  toUserId: string,
  content: string,
  expireTime: number,
  receivedAtMs: number,
  gatewayNodeId: string,
  accessNodeId: string,
  connId: number,
  traceparent: string,
];

/** The text of one item. Takes the tuple, so that the hot path builds nothing in between. */
export function encodeChatInput(input: ChatInputTuple): string {
  return JSON.stringify(input);
}

/** `00-`, 32 and 16 hexadecimal digits with a dash behind each, `01`: what a sampled context is. */
const TRACE_CHARS = 55;
const SAMPLED_TAIL = '-01"]';

/**
 * The trace context of an item's text without decoding it; "" when it is not sampled. It is the last
 * field, and no other field can end an item with these characters.
 */
export function traceOfItem(item: string): string {
  if (!item.endsWith(SAMPLED_TAIL)) return "";
  return item.slice(-TRACE_CHARS - 2, -2);
}

/** The same item in another context; only for items that `traceOfItem` found one in. */
export function withTrace(item: string, trace: string): string {
  return `${item.slice(0, -TRACE_CHARS - 2)}${trace}"]`;
}

/** The body of a stream entry that holds these item texts. */
export function chatInputBody(items: readonly string[]): string {
  return `[${items.join(",")}]`;
}

/**
 * Decodes the body of an entry: one result per item, null where an item has not the shape of one.
 * Returns null when the body itself is no JSON array; such an entry is poison.
 */
export function decodeChatInputBody(body: string): (ChatInput | null)[] | null {
  const items = parseJson(body);
  return Array.isArray(items) ? items.map(decodeChatInput) : null;
}

const kinds = "ssssssssnnssns";

/** Decodes one item that has been parsed as JSON; null when it has not the shape of one. */
export function decodeChatInput(item: unknown): ChatInput | null {
  if (!isTuple(item)) return null;
  return {
    conversationId: item[0],
    fromUserId: item[1],
    deviceId: item[2],
    clientMsgId: item[3],
    messageType: item[4],
    targetType: item[5],
    toUserId: item[6],
    content: item[7],
    expireTime: item[8],
    receivedAtMs: item[9],
    gatewayNodeId: item[10],
    accessNodeId: item[11],
    connId: item[12],
    traceparent: item[13],
  };
}

/** Decodes the text of one item; null when it is no JSON or has not the shape of one. */
export function decodeChatInputText(text: string): ChatInput | null {
  return decodeChatInput(parseJson(text));
}

function isTuple(item: unknown): item is ChatInputTuple {
  if (!Array.isArray(item) || item.length < kinds.length) return false;
  for (let i = 0; i < kinds.length; i++) {
    const expected = kinds[i] === "s" ? "string" : "number";
    if (typeof item[i] !== expected) return false;
  }
  const [type, target]: [unknown, unknown] = [item[4], item[5]];
  if (target !== "USER" && target !== "GROUP") return false;
  return type === "CHAT" || type === "DATAREPORT" || type === "CONTROL";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
