/**
 * The gate: the app's backend is asked before messages are sent, when it is configured so. One
 * request for all messages of a batch; it answers 200 with `{"rejected":[{"index":0,"reason":"…"}]}`,
 * or 204 for none. This is the one webhook that delays messages, by what the answer takes, at most
 * the configured time; then the configuration says what becomes of them.
 *
 * A batch whose commit has to be made again is not asked about again; one that a new owner reads
 * again is, because nothing was decided before.
 */
import * as z from "zod";
import type { Clock, Random } from "../../core/clock.ts";
import type { ChatInput } from "../../core/protocol/chat_input.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { WebhookConfig } from "../../core/webhooks/config.ts";
import { signedHeaders, signingKey } from "../../core/webhooks/signature.ts";

/** Messages that are refused, with what their senders are told. */
export type Refusals = ReadonlyMap<ChatInput, ChatifyError>;

export interface SendGate {
  /** Never rejects. */
  check(inputs: readonly ChatInput[]): Promise<Refusals>;
}

export interface HttpGateDeps {
  readonly gate: NonNullable<WebhookConfig["gate"]>;
  readonly secret: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
}

const Answer = z.object({
  rejected: z
    .array(z.object({ index: z.int().nonnegative(), reason: z.string().max(500).optional() }))
    .default([]),
});

/** Messages of one request; a larger batch is asked about in several at once. */
const MESSAGES_PER_REQUEST = 500;
const REASON = "the app's backend refused it";
const RETRY_MS = 1_000;
const none: Refusals = new Map();

export class HttpGate implements SendGate {
  private readonly key: Uint8Array;

  constructor(private readonly deps: HttpGateDeps) {
    this.key = signingKey(deps.secret);
  }

  async check(inputs: readonly ChatInput[]): Promise<Refusals> {
    if (inputs.length === 0) return none;
    const refusals = new Map<ChatInput, ChatifyError>();
    const parts: ChatInput[][] = [];
    for (let i = 0; i < inputs.length; i += MESSAGES_PER_REQUEST) {
      parts.push(inputs.slice(i, i + MESSAGES_PER_REQUEST));
    }
    await Promise.all(parts.map((part) => this.checkPart(part, refusals)));
    return refusals;
  }

  private async checkPart(
    inputs: readonly ChatInput[],
    refusals: Map<ChatInput, ChatifyError>,
  ): Promise<void> {
    const { clock, telemetry } = this.deps;
    const startedAt = clock.monotonic();
    try {
      const { rejected } = await this.ask(inputs);
      for (const { index, reason = REASON } of rejected) {
        const input = inputs[index];
        if (input !== undefined) refusals.set(input, new ChatifyError("content_rejected", reason));
      }
      telemetry.metrics.gateSeconds.observe((clock.monotonic() - startedAt) / 1_000);
    } catch (error) {
      this.failed(inputs, refusals, error);
    }
  }

  private failed(
    inputs: readonly ChatInput[],
    refusals: Map<ChatInput, ChatifyError>,
    error: unknown,
  ): void {
    const { gate, telemetry } = this.deps;
    telemetry.metrics.gateFailures.inc();
    const what = gate.onFailure === "allow" ? "its messages are sent" : "its messages are refused";
    telemetry.log.warn({ err: error, messages: inputs.length }, `the gate failed; ${what}`);
    if (gate.onFailure === "allow") return;
    for (const input of inputs) {
      const message = "the check before sending cannot be made now";
      refusals.set(input, new ChatifyError("unavailable", message, RETRY_MS));
    }
  }

  private async ask(inputs: readonly ChatInput[]): Promise<z.infer<typeof Answer>> {
    const { clock, gate, random } = this.deps;
    const messages = inputs.map((input) => ({
      message_type: input.messageType,
      from_user_id: input.fromUserId,
      device_id: input.deviceId,
      target_type: input.targetType,
      to_user_id: input.toUserId,
      content: input.content,
      expire_time: input.expireTime,
      conversation_id: input.conversationId,
      client_msg_id: input.clientMsgId,
    }));
    const now = clock.now();
    const timestamp = new Date(now).toISOString();
    const body = JSON.stringify({ type: "message.check", timestamp, data: { messages } });
    const abort = new AbortController();
    const timer = clock.after(gate.timeoutMs, () => abort.abort());
    try {
      const response = await fetch(gate.url, {
        method: "POST",
        headers: signedHeaders(this.key, `chk_${random.token(24)}`, Math.floor(now / 1_000), body),
        body,
        redirect: "error",
        signal: abort.signal,
      });
      if (response.status === 204) return { rejected: [] };
      if (response.status !== 200) throw new Error(`it answered ${response.status}`);
      return Answer.parse(await response.json());
    } catch (error) {
      if (abort.signal.aborted) throw new Error(`no answer within ${gate.timeoutMs} ms`);
      throw error;
    } finally {
      timer.cancel();
    }
  }
}
