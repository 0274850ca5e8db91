/** Browsers to reach by Web Push: the app's backend passes on what the browser gave the app. */
import type { Context, Hono } from "hono";
import * as z from "zod";
import type { Clock } from "../../../core/clock.ts";
import { checked, parseJson } from "../../../core/http/json_body.ts";
import { ChatifyError } from "../../../core/protocol/errors.ts";
import { DeviceId, UserId } from "../../../core/protocol/message.ts";
import type { WebPushConfig } from "../../../core/webhooks/config.ts";
import { checkEndpoint } from "./address_check.ts";
import { nameOf, PushSubscription, type Subscriptions } from "./subscriptions.ts";

export const SubscribeBody = z.object({
  user_id: UserId,
  device_id: DeviceId,
  /** What `PushSubscription.toJSON()` gives in the browser. */
  subscription: PushSubscription,
});
export const SubscribeAnswer = z.object({ subscription_id: z.string() });
export const UnsubscribeBody = z.object({
  user_id: UserId,
  endpoint: PushSubscription.shape.endpoint,
});
export const UnsubscribeAnswer = z.object({ removed: z.boolean() });
export const VapidAnswer = z.object({ public_key: z.string() });

export interface WebPushRoutesDeps {
  readonly config: WebPushConfig | null;
  readonly subscriptions: Subscriptions;
  readonly clock: Clock;
}

/** Null: this process has no way to Redis, as in a test of other routes. */
export function addWebPushRoutes(app: Hono, base: string, deps: WebPushRoutesDeps | null): void {
  const configured = () => {
    if (deps?.config) return { ...deps, config: deps.config };
    throw new ChatifyError("not_found", "Web Push is not configured: set VAPID_PUBLIC_KEY");
  };

  app.get(`${base}/webPush/key`, (c: Context) => {
    return c.json({ public_key: configured().config.publicKey });
  });

  app.post(`${base}/webPush/subscriptions`, async (c: Context) => {
    const { clock, config, subscriptions } = configured();
    const body = checked(SubscribeBody, await parseJson(c.req.raw));
    const { device_id, subscription, user_id } = body;
    checkEndpoint(subscription.endpoint, config);
    await subscriptions.add(user_id, { ...subscription, device_id, since: clock.now() });
    return c.json({ subscription_id: nameOf(subscription.endpoint) });
  });

  app.delete(`${base}/webPush/subscriptions`, async (c: Context) => {
    const { subscriptions } = configured();
    const { endpoint, user_id } = checked(UnsubscribeBody, await parseJson(c.req.raw));
    return c.json({ removed: await subscriptions.remove(user_id, nameOf(endpoint)) });
  });
}
