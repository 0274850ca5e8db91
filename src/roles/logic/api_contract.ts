/**
 * What the HTTP API of logic needs from the rest of the role.
 */

/** A validated system push. */
export interface SystemPush {
  readonly fromUserId: string;
  readonly contentId: string;
  /** As the caller sent it: base64 text, handed to recipients unchanged. */
  readonly content: string;
  readonly pushType: number | string;
  readonly recipients: readonly string[];
  /** Unix seconds. */
  readonly timestamp: number;
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
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
