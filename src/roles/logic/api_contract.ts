/**
 * What the HTTP API of logic needs from the rest of the role.
 */
import type { PushContent } from "./push_text.ts";

/** A validated system push. */
export interface SystemPush extends PushContent {
  readonly recipients: readonly string[];
  /** W3C traceparent of the caller; "" when absent. */
  readonly traceparent: string;
}

export interface PushIntake {
  /**
   * Resolves with one message id per recipient, in order, once all are durable. Rejects with
   * `overloaded`, `unavailable` or `outcome_unknown`.
   */
  submit(push: SystemPush): Promise<string[]>;
}

export interface ConversationNotices {
  /** Tells the owner of a conversation, in stream order, to forget what it cached of it. */
  changed(conversationId: string): Promise<void>;
}
