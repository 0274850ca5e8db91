/** Whether an event is wanted and there is room for it, as this process last saw the queue. */
import type { Clock, Timer } from "../clock.ts";
import type { Limits } from "../limits.ts";
import type { RedisClient } from "../redis/client.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { WebhookConfig } from "./config.ts";
import type { HookKind, HookOutlet } from "./contract.ts";

export interface OutletDeps {
  readonly config: WebhookConfig;
  readonly redis: RedisClient;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly limits: Pick<Limits, "WEBHOOK_QUEUE_MAX">;
}

const LOOK_EVERY_MS = 1_000;

export class Outlet implements HookOutlet {
  readonly undeliveredAfterMs: number;
  private readonly kinds: ReadonlySet<HookKind>;
  private timer: Timer | null = null;
  private full = false;

  constructor(private readonly deps: OutletDeps) {
    const { config } = deps;
    this.undeliveredAfterMs = config.undeliveredAfterMs;
    this.kinds = wantedKinds(config);
  }

  start(): void {
    if (this.kinds.size === 0) return;
    this.timer = this.deps.clock.every(LOOK_EVERY_MS, () => void this.look());
  }

  stop(): void {
    this.timer?.cancel();
  }

  takes(kind: HookKind, count: number): boolean {
    if (!this.kinds.has(kind)) return false;
    if (this.full) this.deps.telemetry.metrics.drops.inc({ reason: "webhooks_full" }, count);
    return !this.full;
  }

  /** Entries in the stream, which hold an event or more each, and events that wait for their time. */
  private async look(): Promise<void> {
    const { limits, redis, telemetry } = this.deps;
    try {
      const [entries, waiting] = await Promise.all([
        redis.lane.read("webhooks", "XLEN", [redis.keys.stream("webhooks", 0)]),
        redis.lane.read("webhooks", "ZCARD", [redis.keys.hooksDue()]),
      ]);
      const length = Number(entries) + Number(waiting);
      const full = length >= limits.WEBHOOK_QUEUE_MAX;
      if (full && !this.full) {
        telemetry.log.error({ length }, "the webhook queue is full: events are dropped");
      }
      this.full = full;
    } catch (error) {
      telemetry.log.debug({ err: error }, "the webhook queue could not be looked at");
    }
  }
}

function wantedKinds({ events, url, webPush }: WebhookConfig): ReadonlySet<HookKind> {
  const kinds = new Set<HookKind>();
  if (url !== null && events.includes("message.sent")) kinds.add("sent");
  const presence = events.includes("user.online") || events.includes("user.offline");
  if (url !== null && presence) kinds.add("presence");
  const undelivered = url !== null && events.includes("message.undelivered");
  if (undelivered || webPush !== null) kinds.add("undelivered");
  return kinds;
}
