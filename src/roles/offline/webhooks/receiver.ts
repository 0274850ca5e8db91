/** One attempt to tell the configured URL of an event. Redirects are not followed. */
import type { Clock } from "../../../core/clock.ts";
import { signedHeaders, signingKey } from "../../../core/webhooks/signature.ts";

export interface Told {
  readonly id: string;
  readonly type: string;
  /** Unix ms at which it happened. */
  readonly atMs: number;
  readonly data: object;
}

/** The receiver works, and does not want this event: the others need not wait for it. */
export class EventRefusedError extends Error {
  override readonly name = "EventRefusedError";
}

/** How long a receiver may take; it should answer first and work later. */
const TIMEOUT_MS = 5_000;

export class WebhookReceiver {
  private readonly key: Uint8Array;

  constructor(
    private readonly url: string,
    secret: string,
    private readonly clock: Clock,
  ) {
    this.key = signingKey(secret);
  }

  /** Rejects with why the attempt failed; any status from 200 to 299 is an answer. */
  async tell({ atMs, data, id, type }: Told): Promise<void> {
    const { clock } = this;
    const body = JSON.stringify({ type, timestamp: new Date(atMs).toISOString(), data });
    const abort = new AbortController();
    const timer = clock.after(TIMEOUT_MS, () => abort.abort());
    try {
      const response = await fetch(this.url, {
        method: "POST",
        headers: signedHeaders(this.key, id, Math.floor(clock.now() / 1_000), body),
        body,
        redirect: "manual",
        signal: abort.signal,
      });
      await response.body?.cancel();
      const { ok, status } = response;
      if (ok) return;
      const message = `the receiver answered ${status}`;
      if (status >= 400 && status < 500 && status !== 429) throw new EventRefusedError(message);
      throw new Error(message);
    } catch (error) {
      if (abort.signal.aborted) throw new Error(`no answer within ${TIMEOUT_MS} ms`);
      throw error;
    } finally {
      timer.cancel();
    }
  }
}
