/**
 * Web Push (RFC 8030, 8291, 8292): tells a user's browser, through its push service, that a message
 * waits. The payload is encrypted for the browser; the push service sees only that there is one.
 */
import http from "node:http";
import https from "node:https";
import webpush from "web-push";
import type { Clock } from "../../../core/clock.ts";
import type { OfflineRow } from "../../../core/offline/contract.ts";
import { Message } from "../../../core/protocol/message.ts";
import type { WebPushConfig } from "../../../core/webhooks/config.ts";
import type { Pusher } from "../webhooks/dispatcher.ts";
import { checkEndpoint, checkedLookup, hostOf } from "./address_check.ts";
import type { Subscriptions } from "./subscriptions.ts";

export interface PushSenderDeps {
  readonly config: WebPushConfig;
  readonly subscriptions: Subscriptions;
  readonly clock: Clock;
}

const TIMEOUT_MS = 10_000;
/** For a device that is off: how long its push service keeps it. */
const TTL_S = 86_400;
/** A push service takes 4 KB; the app fetches the rest. */
const CONTENT_CHARS_MAX = 500;

export class PushSender implements Pusher {
  constructor(private readonly deps: PushSenderDeps) {}

  async subscriptions(user: string): Promise<readonly string[]> {
    return [...(await this.deps.subscriptions.of(user)).keys()];
  }

  async push(user: string, name: string, row: OfflineRow): Promise<"told" | "gone"> {
    const { clock, config, subscriptions } = this.deps;
    const kept = (await subscriptions.of(user)).get(name);
    if (kept === undefined) return "gone";
    checkEndpoint(kept.endpoint, config);
    const left = row.expire_time === 0 ? TTL_S : row.expire_time - Math.floor(clock.now() / 1_000);
    const { body, headers } = webpush.generateRequestDetails(kept, payloadOf(row), {
      vapidDetails: config,
      TTL: Math.max(0, Math.min(TTL_S, left)),
      contentEncoding: "aes128gcm",
    });
    const status = await this.post(new URL(kept.endpoint), headers, body);
    if (status >= 200 && status < 300) return "told";
    // RFC 8030, 7.3, and what push services answer for a key that is not theirs any more.
    if (status === 404 || status === 410) {
      await subscriptions.remove(user, name);
      return "gone";
    }
    throw new Error(`the push service answered ${status}`);
  }

  /** The status; by a connection to an address that was checked. */
  private post(url: URL, headers: object, body: Buffer | string | null): Promise<number> {
    const { clock, config } = this.deps;
    const lookup = checkedLookup(config.allowPrivate);
    const send = url.protocol === "https:" ? https.request : http.request;
    return new Promise((resolve, reject) => {
      const options = {
        host: hostOf(url),
        port: url.port === "" ? undefined : Number(url.port),
        path: `${url.pathname}${url.search}`,
        method: "POST",
        headers: { ...headers },
        lookup: lookup as never,
      };
      const request = send(options, (response) => {
        timer.cancel();
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      const timer = clock.after(TIMEOUT_MS, () => {
        request.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`));
      });
      request.on("error", (error) => {
        timer.cancel();
        reject(error);
      });
      request.end(body);
    });
  }
}

/** What the app's service worker gets. */
function payloadOf(row: OfflineRow): string {
  const { content, conversation_id, from_user_id, msg_id, target_type, to_user_id } = Message.parse(
    JSON.parse(row.message),
  );
  const cut = content.length > CONTENT_CHARS_MAX;
  return JSON.stringify({
    type: "message.undelivered",
    msg_id,
    from_user_id,
    target_type,
    to_user_id,
    conversation_id,
    content: cut ? content.slice(0, CONTENT_CHARS_MAX).toWellFormed() : content,
    cut,
  });
}
