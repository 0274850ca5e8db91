/**
 * Webhooks: what the app's own backend is told, and Web Push, which tells a user's browser. Roles
 * append what happened to the stream `webhooks`, in the same commit as the thing itself, so an event
 * is as safe as what it is about. The offline role takes it from there: see `dispatcher.ts`.
 *
 * Delivery: at least once, in no promised order; each event has an id, the same at each attempt.
 * Bound: past WEBHOOK_QUEUE_MAX events are not taken any more, and counted; messages never wait.
 */
import type { Append } from "../streams/contract.ts";

export const EVENT_TYPES = [
  "message.sent",
  "message.undelivered",
  "user.online",
  "user.offline",
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/**
 * What stands in the stream: a JSON array of these per entry.
 * `sent`: the encoded message. `presence`: a device came or went, with the epoch of its session;
 * what is told is whether its user is there. `undelivered`: stored offline; told at `dueMs` if it
 * is still there then, because the first confirmation takes it away.
 */
export type HookNotice =
  | readonly [kind: "sent", msgId: string, message: string]
  | readonly [kind: "presence", user: string, epoch: number, atMs: number]
  | readonly [kind: "undelivered", user: string, msgId: string, dueMs: number];

export type HookKind = HookNotice[0];

/** What roles ask before they append. */
export interface HookOutlet {
  /** False where nobody wants it, and when the queue is full: then `count` events are counted. */
  takes(kind: HookKind, count: number): boolean;
  readonly undeliveredAfterMs: number;
}

export const closedOutlet: HookOutlet = { takes: () => false, undeliveredAfterMs: 0 };

/** Notices of one entry: their texts are small, but for messages. */
const NOTICES_PER_ENTRY_MAX = 256;
const ENTRY_CHARS_MAX = 524_288;

export function hookAppends(notices: readonly HookNotice[]): Append[] {
  const appends: Append[] = [];
  let texts: string[] = [];
  let chars = 0;
  const close = () => {
    if (texts.length === 0) return;
    appends.push({ topic: "webhooks", partition: 0, body: `[${texts.join(",")}]` });
    texts = [];
    chars = 0;
  };
  for (const notice of notices) {
    const text = JSON.stringify(notice);
    if (texts.length >= NOTICES_PER_ENTRY_MAX || chars + text.length > ENTRY_CHARS_MAX) close();
    texts.push(text);
    chars += text.length;
  }
  close();
  return appends;
}

/** Null when the body is none. */
export function decodeNotices(body: string): HookNotice[] | null {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return null;
  }
  if (!Array.isArray(value)) return null;
  return value.every(isNotice) ? value : null;
}

const SHAPES: Record<HookKind, string> = {
  sent: "string,string,string",
  presence: "string,string,number,number",
  undelivered: "string,string,string,number",
};

function isNotice(value: unknown): value is HookNotice {
  if (!Array.isArray(value)) return false;
  const shape = SHAPES[value[0] as HookKind] as string | undefined;
  return shape === value.map((field) => typeof field).join();
}
