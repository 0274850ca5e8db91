/**
 * What waits to be told, in Redis: each event once, by its id, with the time at which it is due. An
 * event is taken for LEASE_MS; if it was neither told nor put back by then, its taker has died.
 */

import type { RedisClient } from "../../../core/redis/client.ts";
import { type Script, script } from "../../../core/redis/script.ts";
import { decodeNotices, type HookNotice } from "../../../core/webhooks/contract.ts";
import claimLua from "./claim.lua" with { type: "text" };
import { eventId, type HookEvent, Scheduled } from "./event.ts";
import scheduleLua from "./schedule.lua" with { type: "text" };

export interface Due {
  readonly dueMs: number;
  readonly scheduled: Scheduled;
}

/** Longer than an attempt takes, with all that is taken at once. */
export const LEASE_MS = 20_000;
const ENTRIES_PER_READ = 16;

const claim: Script = script(claimLua);
const schedule: Script = script(scheduleLua);

export class Schedule {
  private readonly keys: readonly [due: string, events: string];

  constructor(private readonly redis: RedisClient) {
    this.keys = [redis.keys.hooksDue(), redis.keys.hookEvents()];
  }

  /**
   * Takes entries off the stream; false when there are none. An entry leaves the stream when its
   * events are scheduled: dying in between schedules them once more under the same ids.
   */
  async intake(): Promise<boolean> {
    const { keys, lane } = this.redis;
    const stream = keys.stream("webhooks", 0);
    const args = [stream, "-", "+", "COUNT", String(ENTRIES_PER_READ)];
    const reply = (await lane.read("webhooks", "XRANGE", args)) as [string, string[]][];
    if (reply.length === 0) return false;
    const due = reply.flatMap(([entry, fields]) => {
      const notices = decodeNotices(fields[fields.indexOf("b") + 1] ?? "") ?? [];
      return notices.map((notice) => dueOf(notice, Number(entry.split("-")[0])));
    });
    await this.put(due, false);
    await lane.write("webhooks", "XDEL", [stream, ...reply.map(([entry]) => entry)]);
    return true;
  }

  async put(due: readonly Due[], replace: boolean): Promise<void> {
    if (due.length === 0) return;
    const args = [replace ? "1" : "0"];
    for (const { dueMs, scheduled } of due) {
      args.push(scheduled.event.id, String(dueMs), JSON.stringify(scheduled));
    }
    await this.redis.durable.script("webhooks", schedule, [...this.keys], args);
  }

  /** What is due, taken until `nowMs + LEASE_MS`. */
  async claim(nowMs: number, count: number): Promise<Scheduled[]> {
    const args = [String(nowMs), String(nowMs + LEASE_MS), String(count)];
    const { lane } = this.redis;
    const reply = (await lane.script("webhooks", claim, [...this.keys], args)) as string[];
    const taken: Scheduled[] = [];
    for (let i = 0; i < reply.length; i += 2) {
      const result = Scheduled.safeParse(JSON.parse(reply[i + 1] ?? "null"));
      if (result.success) taken.push(result.data);
      else await this.remove(reply[i] ?? "");
    }
    return taken;
  }

  async remove(id: string): Promise<void> {
    const { lane } = this.redis;
    const [due, events] = this.keys;
    await Promise.all([
      lane.write("webhooks", "ZREM", [due, id]),
      lane.write("webhooks", "HDEL", [events, id]),
    ]);
  }

  /** Gives an event up: it goes to dead_letter, from where an operator can put it back. */
  async bury(scheduled: Scheduled): Promise<void> {
    const { event } = scheduled;
    const body = JSON.stringify([noticeOf(event)]);
    const letter = {
      topic: "webhooks",
      partition: 0,
      id: event.id,
      reason: "webhook_failed",
      body,
    };
    const stream = this.redis.keys.stream("dead_letter", 0);
    const args = [stream, "*", "b", JSON.stringify(letter)];
    await this.redis.durable.write("webhooks", "XADD", args);
    await this.remove(event.id);
  }

  async waiting(): Promise<number> {
    return Number(await this.redis.lane.read("webhooks", "ZCARD", [this.redis.keys.hooksDue()]));
  }

  async wasToldOnline(user: string): Promise<boolean> {
    const args = [this.redis.keys.hooksOnline(), user];
    return (await this.redis.lane.read("webhooks", "SISMEMBER", args)) === 1;
  }

  async noteTold(user: string, online: boolean): Promise<void> {
    const command = online ? "SADD" : "SREM";
    await this.redis.lane.write("webhooks", command, [this.redis.keys.hooksOnline(), user]);
  }
}

/** As it came: put back into the stream, it is an event again. */
function noticeOf(event: HookEvent): HookNotice {
  if (event.kind === "sent") {
    const { msg_id: msgId } = JSON.parse(event.message) as { msg_id: string };
    return ["sent", msgId, event.message];
  }
  if (event.kind === "presence") return ["presence", event.user, 0, event.atMs];
  return ["undelivered", event.user, event.msgId, 0];
}

function dueOf(notice: HookNotice, entryMs: number): Due {
  const event = eventOf(notice, entryMs);
  const dueMs = notice[0] === "undelivered" ? notice[3] : 0;
  return { dueMs, scheduled: { event, attempts: 0, firstMs: entryMs } };
}

function eventOf(notice: HookNotice, entryMs: number): HookEvent {
  switch (notice[0]) {
    case "sent":
      return { kind: "sent", id: eventId("sent", notice[1]), atMs: entryMs, message: notice[2] };
    case "presence": {
      const [, user, epoch, atMs] = notice;
      return { kind: "presence", id: eventId("presence", user, epoch, atMs), atMs, user };
    }
    case "undelivered": {
      const [kind, user, msgId] = notice;
      const id = eventId(kind, user, msgId);
      return { kind, id, atMs: entryMs, user, msgId, subscription: "" };
    }
  }
}
