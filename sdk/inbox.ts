/**
 * From the wire to the application's handler: each message once, each conversation in order, acked
 * after the handler has resolved.
 *
 * The server hands out a conversation in `seq` order and repeats what was not acked, so a numbered
 * message at or before the last one taken is a repetition. The exception is one whose handler
 * failed: it stays unacked, those after it go on, and when the server repeats it, it is handed over
 * again, late. Holding up its conversation instead could hold it up for ever, because a message
 * that another device of the user has acked is settled and never repeated.
 *
 * Bounds: INBOX_MAX messages wait for their handlers, more are left unacked like failed ones;
 * `conversationsMax` conversations and RECENT_IDS_MAX ids are remembered, the oldest is forgotten.
 */
import type { Message } from "../src/core/protocol/message.ts";
import type { ClientStats } from "./options.ts";
import { RecentIds } from "./recent_ids.ts";

/** Four times what a server has unacked on one connection. */
const INBOX_MAX = 2_048;
const RECENT_IDS_MAX = 4_096;

interface Conversation {
  /** The last seq that was taken; 0 before the first. */
  last: number;
  readonly queue: Message[];
  running: boolean;
}

export interface InboxOptions {
  readonly stats: ClientStats;
  readonly conversationsMax: number;
  /** undefined: nobody listens yet, and messages wait. */
  handler(): ((message: Message) => Promise<void>) | undefined;
  ack(msgId: string): void;
  onFailure(message: Message, thrown: unknown): void;
}

export class Inbox {
  readonly #options: InboxOptions;
  readonly #conversations = new Map<string, Conversation>();
  /** Taken and not handled yet. */
  readonly #taken = new Set<string>();
  /** Unnumbered messages that were handled. */
  readonly #handled = new RecentIds(RECENT_IDS_MAX);
  /** Left unacked, so expected again: never a repetition. */
  readonly #refused = new RecentIds(RECENT_IDS_MAX);
  #running = 0;
  #closed = false;
  #onIdle: (() => void) | undefined;

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  receive(message: Message): void {
    const { stats, ack } = this.#options;
    const { msg_id, seq } = message;
    if (this.#closed) return;
    stats.received++;
    if (this.#taken.has(msg_id)) {
      stats.duplicates++;
      return;
    }
    const conversation = this.#conversation(message.conversation_id);
    const known = seq === 0 ? this.#handled.has(msg_id) : seq <= conversation.last;
    if (known && !this.#refused.has(msg_id)) {
      stats.duplicates++;
      ack(msg_id);
      return;
    }
    // Of a full inbox `last` stays as it is, because the message is yet to come.
    if (this.#taken.size >= INBOX_MAX) {
      this.#refuse(msg_id);
      return;
    }
    conversation.last = Math.max(conversation.last, seq);
    this.#refused.delete(msg_id);
    this.#taken.add(msg_id);
    conversation.queue.push(message);
    this.#start(conversation);
  }

  /** Somebody listens now. */
  resume(): void {
    for (const conversation of this.#conversations.values()) this.#start(conversation);
  }

  /** Takes nothing more; resolves when the handlers that run now have ended. */
  close(): Promise<void> | undefined {
    this.#closed = true;
    if (this.#running === 0) return undefined;
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #start(conversation: Conversation): void {
    if (conversation.running || conversation.queue.length === 0) return;
    if (this.#options.handler() === undefined) return;
    conversation.running = true;
    this.#running++;
    void this.#drain(conversation);
  }

  async #drain(conversation: Conversation): Promise<void> {
    for (;;) {
      const handler = this.#options.handler();
      const message =
        handler === undefined || this.#closed ? undefined : conversation.queue.shift();
      if (handler === undefined || message === undefined) break;
      try {
        await handler(message);
        this.#taken.delete(message.msg_id);
        if (message.seq === 0) this.#handled.add(message.msg_id);
        this.#options.ack(message.msg_id);
      } catch (thrown) {
        this.#refuse(message.msg_id);
        this.#options.onFailure(message, thrown);
      }
    }
    conversation.running = false;
    this.#running--;
    if (this.#running === 0) this.#onIdle?.();
  }

  #refuse(msgId: string): void {
    this.#options.stats.refused++;
    this.#taken.delete(msgId);
    this.#refused.add(msgId);
  }

  #conversation(id: string): Conversation {
    let conversation = this.#conversations.get(id);
    if (conversation === undefined) {
      conversation = { last: 0, queue: [], running: false };
    } else {
      this.#conversations.delete(id);
    }
    this.#conversations.set(id, conversation);
    if (this.#conversations.size > this.#options.conversationsMax) this.#forget();
    return conversation;
  }

  /** Drops the conversation that was silent longest, among those with nothing to do. */
  #forget(): void {
    const newest = this.#conversations.size - 1;
    let index = 0;
    for (const [id, conversation] of this.#conversations) {
      if (index++ === newest) return;
      if (conversation.running || conversation.queue.length > 0) continue;
      this.#conversations.delete(id);
      return;
    }
  }
}
