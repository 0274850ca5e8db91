/** Webhooks and Web Push, put together from the configuration; each part is null where it is off. */
import type { Clock, Random } from "./core/clock.ts";
import type { Config } from "./core/config.ts";
import type { Membership } from "./core/lifecycle/membership.ts";
import type { Limits } from "./core/limits.ts";
import type { RedisClient } from "./core/redis/client.ts";
import type { SessionDirectory } from "./core/sessions/contract.ts";
import type { Telemetry } from "./core/telemetry/telemetry.ts";
import type { NodeId } from "./core/trunk/node_id.ts";
import { HttpGate, type SendGate } from "./roles/logic/send_gate.ts";
import type { HookOptions } from "./roles/offline/role.ts";
import { PushSender } from "./roles/offline/web_push/sender.ts";
import { Subscriptions } from "./roles/offline/web_push/subscriptions.ts";
import { Dispatcher, type DispatcherDeps } from "./roles/offline/webhooks/dispatcher.ts";
import { WebhookReceiver } from "./roles/offline/webhooks/receiver.ts";
import { Schedule } from "./roles/offline/webhooks/schedule.ts";

interface Surroundings {
  readonly self: NodeId;
  readonly redis: RedisClient;
  readonly directory: SessionDirectory;
  readonly membership: Membership;
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

export function sendGate(config: Config, around: Surroundings): SendGate | null {
  const { gate, secret } = config.webhooks;
  return gate === null ? null : new HttpGate({ ...around, gate, secret });
}

export function hookOptions(config: Config, around: Surroundings): HookOptions {
  const { clock, limits, membership, redis, self } = around;
  const { secret, url, webPush } = config.webhooks;
  const subscriptions = new Subscriptions(redis, limits.WEB_PUSH_SUBSCRIPTIONS_MAX);
  const pusher = webPush && new PushSender({ config: webPush, subscriptions, clock });
  const receiver = url === null ? null : new WebhookReceiver(url, secret, clock);
  const isLeader = () => membership.serving("offline")[0]?.id === self;
  const dispatcher = (row: DispatcherDeps["row"]) => {
    if (receiver === null && pusher === null) return null;
    const schedule = new Schedule(redis);
    const base = { ...around, config: config.webhooks, schedule };
    return new Dispatcher({ ...base, receiver, pusher, row, isLeader });
  };
  return { webPush: { config: webPush, subscriptions, clock }, dispatcher };
}
