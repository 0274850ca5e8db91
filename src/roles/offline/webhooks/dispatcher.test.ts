import { expect, test } from "bun:test";
import { systemRandom } from "../../../core/clock.ts";
import { LIMITS } from "../../../core/limits.ts";
import type { OfflineRow } from "../../../core/offline/contract.ts";
import type { Session } from "../../../core/sessions/contract.ts";
import { ManualClock } from "../../../core/testing/manual_clock.ts";
import { silentTelemetry } from "../../../core/testing/silent_telemetry.ts";
import { EVENT_TYPES } from "../../../core/webhooks/contract.ts";
import { Dispatcher, type Pusher, type Queue } from "./dispatcher.ts";
import { eventId, type HookEvent, type Scheduled } from "./event.ts";
import { EventRefusedError, type Told, type WebhookReceiver } from "./receiver.ts";
import { type Due, LEASE_MS } from "./schedule.ts";

/** What the one in Redis does, without Redis. */
class MemoryQueue implements Queue {
  readonly due = new Map<string, Due>();
  readonly buried: Scheduled[] = [];
  readonly online = new Set<string>();

  intake = async () => false;
  waiting = async () => this.due.size;
  remove = async (id: string) => void this.due.delete(id);
  wasToldOnline = async (user: string) => this.online.has(user);

  async put(due: readonly Due[], replace: boolean): Promise<void> {
    for (const one of due) {
      const { id } = one.scheduled.event;
      if (replace || !this.due.has(id)) this.due.set(id, one);
    }
  }

  async claim(nowMs: number, count: number): Promise<Scheduled[]> {
    const ready = [...this.due.values()].filter(({ dueMs }) => dueMs <= nowMs);
    const taken = ready.sort((a, b) => a.dueMs - b.dueMs).slice(0, count);
    for (const one of taken) {
      this.due.set(one.scheduled.event.id, { ...one, dueMs: nowMs + LEASE_MS });
    }
    return taken.map(({ scheduled }) => scheduled);
  }

  async bury(scheduled: Scheduled): Promise<void> {
    this.buried.push(scheduled);
    this.due.delete(scheduled.event.id);
  }

  async noteTold(user: string, online: boolean): Promise<void> {
    if (online) this.online.add(user);
    else this.online.delete(user);
  }
}

function started(options: { pusher?: Pusher; url?: string | null } = {}) {
  const clock = new ManualClock();
  const queue = new MemoryQueue();
  const told: Told[] = [];
  const rows = new Map<string, OfflineRow>();
  const sessions = new Map<string, Session[]>();
  const receiver = { answer: () => {}, attempts: 0 } as { answer: () => void; attempts: number };
  const tell = async (event: Told) => {
    receiver.attempts++;
    receiver.answer();
    told.push(event);
  };
  const { pusher = null, url = "http://app" } = options;
  const dispatcher = new Dispatcher({
    config: {
      url,
      secret: "s",
      events: EVENT_TYPES,
      gate: null,
      undeliveredAfterMs: 1_000,
      webPush: null,
    },
    schedule: queue,
    receiver: { tell } as unknown as WebhookReceiver,
    pusher,
    directory: {
      lookup: async (users) =>
        users.map((user) => ({ sessions: sessions.get(user) ?? [], stored: false })),
    },
    row: async (user, msgId) => rows.get(`${user} ${msgId}`) ?? null,
    isLeader: () => true,
    clock,
    random: { ...systemRandom, fraction: () => 0.5 },
    telemetry: silentTelemetry(),
    limits: LIMITS,
  });
  dispatcher.start();
  const schedule = (event: HookEvent, dueMs = 0) =>
    queue.put([{ dueMs, scheduled: { event, attempts: 0, firstMs: clock.now() } }], false);
  return { clock, queue, told, rows, sessions, receiver, schedule };
}

function sent(n: number): HookEvent {
  const message = JSON.stringify({ msg_id: `m${n}` });
  return { kind: "sent", id: eventId("sent", n), atMs: 0, message };
}

function undelivered(user: string, msgId: string): HookEvent {
  const id = eventId("undelivered", user, msgId);
  return { kind: "undelivered", id, atMs: 0, user, msgId, subscription: "" };
}

function row(user: string, msgId: string, expire_time = 0): OfflineRow {
  const message = JSON.stringify({ msg_id: msgId });
  const rest = { conversation_id: "c", seq: 1, stored_at: 5_000, message };
  return { user_id: user, msg_id: msgId, expire_time, ...rest };
}

test("an event that the receiver never takes is tried ten times over hours, then buried", async () => {
  const { clock, queue, receiver, schedule } = started();
  receiver.answer = () => {
    throw new EventRefusedError("the receiver answered 400");
  };
  await schedule(sent(1));
  const startedAt = clock.now();
  while (queue.buried.length === 0) await clock.advance(60_000);
  expect(receiver.attempts).toBe(LIMITS.WEBHOOK_ATTEMPTS_MAX);
  expect(clock.now() - startedAt).toBeGreaterThan(3 * 3_600_000);
  expect(queue.due.size).toBe(0);
  expect(queue.buried[0]?.event.id).toBe(sent(1).id);
});

test("a receiver that is down costs one attempt per pause, however many events wait", async () => {
  const { clock, queue, receiver, schedule, told } = started();
  receiver.answer = () => {
    throw new Error("connection refused");
  };
  for (let n = 0; n < 500; n++) await schedule(sent(n));
  await clock.advance(120_000);
  expect(receiver.attempts).toBeLessThan(40);
  expect(queue.due.size).toBe(500);
  receiver.answer = () => {};
  // The longest pause, and a second for those that waited for the probe.
  await clock.advance(33_000);
  expect(told.length).toBeGreaterThan(490);
  // Those that were tried meanwhile wait for their own time.
  await clock.advance(600_000);
  expect(new Set(told.map(({ id }) => id)).size).toBe(500);
  expect(told).toHaveLength(500);
  expect(queue.due.size).toBe(0);
});

test("an event that is refused for itself does not hold the others up", async () => {
  const { clock, receiver, schedule, told } = started();
  let first = true;
  receiver.answer = () => {
    if (!first) return;
    first = false;
    throw new EventRefusedError("the receiver answered 400");
  };
  for (let n = 0; n < 50; n++) await schedule(sent(n));
  await clock.advance(400);
  expect(told).toHaveLength(49);
});

test("a user is told of as online once, whatever devices come and go, and offline with the last", async () => {
  const { clock, schedule, sessions, told } = started();
  const session = (device: string, epoch: number): Session => {
    return { user: "bob", device, access: "a", gateway: "g", conn: epoch, epoch, since: 0 };
  };
  let epoch = 0;
  const change = async (...devices: string[]) => {
    sessions.set(
      "bob",
      devices.map((device) => session(device, ++epoch)),
    );
    await schedule({ kind: "presence", id: eventId("p", ++epoch), atMs: 0, user: "bob" });
    await clock.advance(500);
  };
  await change("d1");
  await change("d1", "d2");
  await change("d2");
  await change();
  await change("d3");
  expect(told.map(({ data, type }) => [type, data])).toEqual([
    ["user.online", { user_id: "bob", devices: ["d1"] }],
    ["user.offline", { user_id: "bob", devices: [] }],
    ["user.online", { user_id: "bob", devices: ["d3"] }],
  ]);
});

test("undelivered is told when it is due; a confirmation before that, or the expiry, cancels it", async () => {
  const { clock, queue, rows, schedule, told } = started();
  const due = clock.now() + 10_000;
  for (const id of ["kept", "confirmed", "expired"]) {
    rows.set(`bob ${id}`, row("bob", id, id === "expired" ? Math.floor(due / 1_000) : 0));
    await schedule(undelivered("bob", id), due);
  }
  await clock.advance(9_000);
  expect(told).toEqual([]);
  rows.delete("bob confirmed");
  await clock.advance(2_000);
  expect(told.map(({ data, type }) => [type, data])).toEqual([
    ["message.undelivered", { user_id: "bob", stored_at: 5, message: { msg_id: "kept" } }],
  ]);
  expect(queue.due.size).toBe(0);
});

test("each of a user's browsers is pushed to by itself, and one that fails is tried again", async () => {
  const pushed: string[] = [];
  let fails = 2;
  const pusher: Pusher = {
    subscriptions: async () => ["b1", "b2"],
    async push(_user, subscription) {
      if (subscription === "b2" && fails-- > 0) throw new Error("the push service answered 503");
      pushed.push(subscription);
      return "told";
    },
  };
  const { clock, queue, rows, schedule, told } = started({ pusher, url: null });
  rows.set("bob m", row("bob", "m"));
  await schedule(undelivered("bob", "m"));
  await clock.advance(500);
  expect(pushed).toEqual(["b1"]);
  await clock.advance(6_000);
  expect(pushed).toEqual(["b1", "b2"]);
  expect([told.length, queue.due.size]).toEqual([0, 0]);
});
