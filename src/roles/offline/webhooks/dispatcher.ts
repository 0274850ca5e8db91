/**
 * Tells webhooks and browsers what happened. One offline node does it at a time, the first by id;
 * another one takes over when it is gone, with everything that was not told, because all of it is
 * in Redis. What fails comes again with growing pauses and ends in dead_letter.
 *
 * While the receiver does not answer, one event at a time finds out whether it does again, so that a
 * receiver that hangs costs an attempt per pause, and the attempts of all other events are kept.
 */
import { type Clock, jitter, type Random, type Timer } from "../../../core/clock.ts";
import type { Limits } from "../../../core/limits.ts";
import type { OfflineRow } from "../../../core/offline/contract.ts";
import type { SessionDirectory } from "../../../core/sessions/contract.ts";
import type { Telemetry } from "../../../core/telemetry/telemetry.ts";
import type { WebhookConfig } from "../../../core/webhooks/config.ts";
import { eventId, type HookEvent, type Scheduled } from "./event.ts";
import { EventRefusedError, type WebhookReceiver } from "./receiver.ts";
import type { Due, Schedule } from "./schedule.ts";

/** What waits to be told; in Redis, but for tests. */
export type Queue = Pick<
  Schedule,
  "intake" | "claim" | "put" | "remove" | "bury" | "waiting" | "wasToldOnline" | "noteTold"
>;

/** Web Push as the dispatcher knows it. */
export interface Pusher {
  /** Names of the subscriptions of a user. */
  subscriptions(user: string): Promise<readonly string[]>;
  /** `gone`: that browser will not come back, and is forgotten. Rejects when it may work later. */
  push(user: string, subscription: string, row: OfflineRow): Promise<"told" | "gone">;
}

export interface DispatcherDeps {
  readonly config: WebhookConfig;
  readonly schedule: Queue;
  readonly receiver: WebhookReceiver | null;
  readonly pusher: Pusher | null;
  readonly directory: Pick<SessionDirectory, "lookup">;
  /** The stored message of a user; null once it was confirmed. */
  readonly row: (user: string, msgId: string) => Promise<OfflineRow | null>;
  readonly isLeader: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly limits: Pick<Limits, "WEBHOOK_ATTEMPTS_MAX">;
}

const TICK_MS = 200;
const AT_ONCE = 16;
const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_FACTOR = 4;
const BACKOFF_MAX_MS = 3_600_000;
const PAUSE_MAX_MS = 30_000;
const SPREAD = 0.2;

type AboutRow = Extract<HookEvent, { msgId: string }>;
type Channel = "webhook" | "web_push";
type Outcome = "delivered" | "cancelled" | "gone";

export class Dispatcher {
  private timer: Timer | null = null;
  private running: Promise<void> | null = null;
  /** Failures of the receiver in a row, and until when (unix ms) it is left alone. */
  private failures = 0;
  /** After a pause one event is tried, while the others wait. */
  private probing = false;
  /** Monotonic ms of the last one: of attempts that fail together only the first counts. */
  private failedAt = Number.NEGATIVE_INFINITY;
  private pausedUntil = 0;

  constructor(private readonly deps: DispatcherDeps) {}

  start(): void {
    this.timer = this.deps.clock.every(TICK_MS, () => this.tick());
  }

  /** Resolves when the attempts under way are done. */
  async stop(): Promise<void> {
    this.timer?.cancel();
    this.timer = null;
    await this.running;
  }

  private tick(): void {
    if (this.running !== null || !this.deps.isLeader()) return;
    this.running = this.round().finally(() => {
      this.running = null;
    });
  }

  private async round(): Promise<void> {
    const { clock, schedule, telemetry } = this.deps;
    try {
      while (this.timer !== null && (await schedule.intake())) {
        // A round of attempts between reads, so that a long queue does not keep what is due waiting.
        await this.attempt(await schedule.claim(clock.now(), AT_ONCE));
      }
      // With nobody to tell, there is no use in taking what is due and putting it back.
      const idle = this.deps.pusher === null && this.waitMs() > 0;
      for (let taken = idle ? 0 : AT_ONCE; taken === AT_ONCE && this.timer !== null; ) {
        const due = await schedule.claim(clock.now(), AT_ONCE);
        await this.attempt(due);
        taken = due.length;
      }
      telemetry.metrics.hookWaiting.set(await schedule.waiting());
    } catch (error) {
      telemetry.log.warn({ err: error }, "webhooks could not be worked on; again soon");
    }
  }

  private async attempt(taken: readonly Scheduled[]): Promise<void> {
    const users = new Set<string>();
    await Promise.all(
      taken.map((scheduled) => {
        const { event } = scheduled;
        // Of several comings and goings of a user the first to be told finds what is true now.
        if (event.kind === "presence" && users.has(event.user))
          return this.later(scheduled, TICK_MS);
        if (event.kind === "presence") users.add(event.user);
        return this.one(scheduled);
      }),
    );
  }

  private async one(scheduled: Scheduled): Promise<void> {
    const { clock, schedule, telemetry } = this.deps;
    const { event } = scheduled;
    if (event.kind === "undelivered") return this.decide(event);
    const channel: Channel = event.kind === "undelivered_push" ? "web_push" : "webhook";
    const wait = channel === "webhook" ? this.waitMs() : 0;
    if (wait > 0) return this.later(scheduled, wait);
    const probes = channel === "webhook" && this.failures > 0;
    if (probes) this.probing = true;
    const startedAt = clock.monotonic();
    let outcome: Outcome;
    try {
      outcome = await this.tell(event);
    } catch (error) {
      if (channel === "webhook") this.noteFailure(error, startedAt);
      await this.failed(scheduled, channel, error);
      return;
    } finally {
      if (probes) this.probing = false;
    }
    if (channel === "webhook" && outcome === "delivered") this.failures = 0;
    telemetry.metrics.hookEvents.inc({ channel, outcome });
    telemetry.metrics.hookSeconds.observe({ channel }, (clock.monotonic() - startedAt) / 1_000);
    await schedule.remove(event.id);
  }

  /** Nobody confirmed it in time: whoever wants to hear of that is told, each by itself. */
  private async decide(event: AboutRow): Promise<void> {
    const { clock, config, pusher, row, schedule, telemetry } = this.deps;
    const { atMs, id, msgId, user } = event;
    if ((await this.held(row, user, msgId)) === null) {
      telemetry.metrics.hookEvents.inc({ channel: "webhook", outcome: "cancelled" });
      await schedule.remove(id);
      return;
    }
    const next: HookEvent[] = [];
    const base = { atMs, user, msgId };
    if (config.url !== null && config.events.includes("message.undelivered")) {
      const hook = { kind: "undelivered_hook", id: eventId("hook", user, msgId) } as const;
      next.push({ ...base, ...hook, subscription: "" });
    }
    for (const subscription of (await pusher?.subscriptions(user)) ?? []) {
      const name = eventId("push", user, msgId, subscription);
      next.push({ ...base, kind: "undelivered_push", id: name, subscription });
    }
    const now = clock.now();
    const scheduled = next.map((each): Due => {
      return { dueMs: 0, scheduled: { event: each, attempts: 0, firstMs: now } };
    });
    await schedule.put(scheduled, false);
    await schedule.remove(id);
  }

  private async tell(event: HookEvent): Promise<Outcome> {
    switch (event.kind) {
      case "sent":
        return this.post(event, "message.sent", JSON.parse(event.message) as object);
      case "presence":
        return this.tellPresence(event);
      default:
        return this.tellUndelivered(event);
    }
  }

  private async tellPresence(event: HookEvent & { kind: "presence" }): Promise<Outcome> {
    const { config, directory, schedule } = this.deps;
    const { user } = event;
    const [found] = await directory.lookup([user]);
    const sessions = found?.sessions ?? [];
    const online = sessions.length > 0;
    if (online === (await schedule.wasToldOnline(user))) return "cancelled";
    const type = online ? "user.online" : "user.offline";
    const devices = sessions.map(({ device }) => device);
    const wanted = config.events.includes(type);
    if (wanted) await this.post(event, type, { user_id: user, devices });
    await schedule.noteTold(user, online);
    return wanted ? "delivered" : "cancelled";
  }

  private async tellUndelivered(event: AboutRow): Promise<Outcome> {
    const { pusher, row, telemetry } = this.deps;
    const { kind, msgId, subscription, user } = event;
    const held = await this.held(row, user, msgId);
    if (held === null) return "cancelled";
    if (kind === "undelivered_push") {
      const outcome = (await pusher?.push(user, subscription, held)) ?? "gone";
      telemetry.ledger.notified(msgId, user, "Web Push", outcome);
      return outcome === "told" ? "delivered" : "gone";
    }
    const message = JSON.parse(held.message) as object;
    const data = { user_id: user, stored_at: Math.floor(held.stored_at / 1_000), message };
    const outcome = await this.post(event, "message.undelivered", data);
    telemetry.ledger.notified(msgId, user, "the webhook", "told");
    return outcome;
  }

  private async post(event: HookEvent, type: string, data: object): Promise<Outcome> {
    const { receiver } = this.deps;
    if (receiver === null) return "cancelled";
    await receiver.tell({ id: event.id, type, atMs: event.atMs, data });
    return "delivered";
  }

  /** The row, unless it was confirmed or its time has passed. */
  private async held(
    row: DispatcherDeps["row"],
    user: string,
    msgId: string,
  ): Promise<OfflineRow | null> {
    const found = await row(user, msgId);
    const past = found !== null && found.expire_time > 0;
    return past && found.expire_time * 1_000 <= this.deps.clock.now() ? null : found;
  }

  private async failed(scheduled: Scheduled, channel: Channel, error: unknown): Promise<void> {
    const { limits, schedule, telemetry } = this.deps;
    const attempts = scheduled.attempts + 1;
    const { id, kind } = scheduled.event;
    const line = { err: error, event: id, kind, channel, attempts };
    if (attempts >= limits.WEBHOOK_ATTEMPTS_MAX) {
      telemetry.log.error(line, "an event could not be told; it goes to dead_letter");
      telemetry.metrics.hookEvents.inc({ channel, outcome: "given_up" });
      telemetry.metrics.deadLetters.inc({ reason: "webhook_failed" });
      await schedule.bury(scheduled);
      return;
    }
    telemetry.log.warn(line, "an event could not be told; again later");
    telemetry.metrics.hookEvents.inc({ channel, outcome: "retried" });
    const backoff = Math.min(BACKOFF_FIRST_MS * BACKOFF_FACTOR ** (attempts - 1), BACKOFF_MAX_MS);
    await this.later({ ...scheduled, attempts }, jitter(this.deps.random, backoff, SPREAD));
  }

  /** How long events have to wait for the receiver: for its pause, or for how a probe ends. */
  private waitMs(): number {
    if (this.failures === 0) return 0;
    const wait = this.pausedUntil - this.deps.clock.now();
    return this.probing ? Math.max(wait, BACKOFF_FIRST_MS) : wait;
  }

  private noteFailure(error: unknown, startedAt: number): void {
    const { clock } = this.deps;
    // It answers, if not what was hoped for.
    if (error instanceof EventRefusedError) {
      this.failures = 0;
      return;
    }
    if (startedAt >= this.failedAt) this.failures++;
    this.failedAt = clock.monotonic();
    const pause = Math.min(BACKOFF_FIRST_MS * 2 ** (this.failures - 1), PAUSE_MAX_MS);
    this.pausedUntil = clock.now() + pause;
  }

  private later(scheduled: Scheduled, waitMs: number): Promise<void> {
    const dueMs = Math.ceil(this.deps.clock.now() + waitMs);
    return this.deps.schedule.put([{ dueMs, scheduled }], true);
  }
}
