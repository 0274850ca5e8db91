import { expect, test } from "bun:test";
import type { JobMark } from "../../core/jobs/contract.ts";
import { LIMITS } from "../../core/limits.ts";
import {
  type OfflineRow,
  type OfflineStore,
  StaleEpochError,
} from "../../core/offline/contract.ts";
import { encodePushTasks, type PushTask } from "../../core/protocol/push_task.ts";
import type { Presence, Session, SessionDirectory } from "../../core/sessions/contract.ts";
import { type Commit, FencedError, type Streams } from "../../core/streams/contract.ts";
import { ManualClock } from "../../core/testing/manual_clock.ts";
import { silentTelemetry } from "../../core/testing/silent_telemetry.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import { Outbox } from "./outbox.ts";
import { PushPartition } from "./partition.ts";
import { Watches } from "./watches.ts";

/** Everything around one partition, in memory, with what went in and out of it. */
class World {
  readonly clock = new ManualClock();
  readonly commits: Commit[] = [];
  /** What push jobs were told. */
  readonly marks: JobMark[] = [];
  readonly rows: OfflineRow[] = [];
  /** What sessions got, as `conn:seq`. */
  readonly sent: string[] = [];
  readonly presence = new Map<string, Presence>();
  readonly marked = new Set<string>();
  storeAway = false;
  storeStale = false;
  /** Answers with a page wait for it; what is in them is what there was when it was asked for. */
  pages: Promise<void> = Promise.resolve();
  fenced = false;
  lost = 0;
  readonly partition: PushPartition;
  private ids = 0;

  constructor() {
    const telemetry = silentTelemetry();
    const trunk = {
      isUp: () => true,
      send: (_peer: string, message: Parameters<Trunk["send"]>[1]) => {
        if (message.t !== "deliver") return true;
        for (const [addresses, frame] of message.items) {
          const { seq } = JSON.parse(frame).message;
          for (const [, conn] of addresses) this.sent.push(`${conn}:${seq}`);
        }
        return true;
      },
    } as unknown as Trunk;
    const outbox = new Outbox(trunk, this.clock);
    this.partition = new PushPartition({
      partition: 0,
      epoch: 1,
      verified: true,
      partitions: { chat: 1, user: 1 },
      streams: this.streams() as unknown as Streams,
      jobs: { record: async (_partition, marks) => void this.marks.push(...marks) },
      directory: this.directory() as unknown as SessionDirectory,
      store: this.store(),
      outbox,
      watches: new Watches(outbox, this.clock, 10),
      clock: this.clock,
      telemetry,
      limits: LIMITS,
      feedsMax: 1_000,
      onFenced: () => this.lost++,
      onPressure: () => {},
    });
    this.clock.every(250, () => this.partition.tick());
  }

  online(user: string, ...conns: number[]): void {
    this.presence.set(user, {
      sessions: conns.map((conn) => session(user, conn)),
      stored: this.marked.has(user),
    });
    this.partition.take("user_state", [
      { id: this.nextId(), body: JSON.stringify([["online", user]]), ordinal: 0 },
    ]);
  }

  offline(user: string): void {
    this.presence.set(user, { sessions: [], stored: this.marked.has(user) });
    this.partition.take("user_state", [
      { id: this.nextId(), body: JSON.stringify([["offline", user]]), ordinal: 0 },
    ]);
  }

  /** One entry with one message per seq; returns its id. */
  message(user: string, ...seqs: number[]): string {
    const id = this.nextId();
    const tasks = seqs.map((seq) => task([user], seq));
    this.partition.take("push_task", [{ id, body: encodePushTasks(tasks), ordinal: 1 }]);
    return id;
  }

  ack(user: string, conn: number, ...seqs: number[]): void {
    this.partition.acks(
      user,
      ["g", conn, 1],
      seqs.map((seq) => `m${seq}`),
    );
  }

  settled(): string[] {
    return this.commits
      .flatMap((commit) => commit.settles ?? [])
      .filter(({ topic }) => topic === "push_task")
      .flatMap(({ ids }) => ids);
  }

  private nextId(): string {
    return `${++this.ids}-0`;
  }

  private streams() {
    return {
      commit: async (commit: Commit) => {
        if (this.fenced) throw new FencedError(commit.fence);
        this.commits.push(commit);
        for (const { entries } of commit.puts ?? []) {
          for (const [user] of entries) this.marked.add(user);
        }
        for (const { fields } of commit.deletes ?? []) {
          for (const user of fields) this.marked.delete(user);
        }
      },
    };
  }

  private directory() {
    return {
      lookup: async (users: string[]) =>
        users.map((user) => this.presence.get(user) ?? { sessions: [], stored: false }),
    };
  }

  private store(): OfflineStore {
    const check = () => {
      if (this.storeStale) throw new StaleEpochError({ partition: 0, epoch: 1 });
      if (this.storeAway) throw new Error("the store is away");
    };
    return {
      archive: async (_owner: object, rows: readonly OfflineRow[]) => {
        check();
        for (const row of rows) {
          const known = this.rows.some((r) => r.msg_id === row.msg_id && r.user_id === row.user_id);
          if (!known) this.rows.push(row);
        }
      },
      page: async (user: string, _cursor: string | null, limit: number) => {
        check();
        const rows = this.rows.filter((row) => row.user_id === user).slice(0, limit);
        await this.pages;
        return { rows, cursor: null };
      },
      confirm: async (_owner: object, confirmed: { user_id: string; msg_ids: string[] }[]) => {
        check();
        for (const { user_id, msg_ids } of confirmed) {
          for (const id of msg_ids) {
            const at = this.rows.findIndex((r) => r.user_id === user_id && r.msg_id === id);
            if (at >= 0) this.rows.splice(at, 1);
          }
        }
        return 0;
      },
    } as unknown as OfflineStore;
  }
}

function session(user: string, conn: number): Session {
  return { user, device: `d${conn}`, access: "a", gateway: "g", conn, epoch: 1, since: 0 };
}

function task(recipients: string[], seq: number, expireTime = 0): PushTask {
  return {
    msgId: `m${seq}`,
    conversation: "u:x:y",
    seq,
    expireTime,
    acceptedAt: 0,
    trace: "",
    recipients,
    message: JSON.stringify({ msg_id: `m${seq}`, seq }),
  };
}

test("a message to somebody online goes out at once and settles its entry when it is acked", async () => {
  const w = new World();
  w.online("bob", 1);
  await w.clock.advance(1);
  const id = w.message("bob", 1);
  await w.clock.advance(1);
  expect(w.sent).toEqual(["1:1"]);
  expect(w.settled()).toEqual([]);
  w.ack("bob", 1, 1);
  await w.clock.advance(1);
  expect(w.settled()).toEqual([id]);
  expect(w.rows).toEqual([]);
});

test("a message to nobody online is marked, archived, and only then settled", async () => {
  const w = new World();
  w.storeAway = true;
  const id = w.message("carol", 1, 2);
  await w.clock.advance(50);
  expect(w.marked.has("carol")).toBe(true);
  expect(w.settled()).toEqual([]);
  w.storeAway = false;
  await w.clock.advance(3_000);
  expect(w.rows.map((row) => row.seq)).toEqual([1, 2]);
  expect(w.settled()).toEqual([id]);
});

test("a replay comes before what is new, deletes what is acked, and then the feed is live", async () => {
  const w = new World();
  w.message("carol", 1, 2);
  await w.clock.advance(10);
  w.online("carol", 7);
  await w.clock.advance(10);
  w.message("carol", 3);
  await w.clock.advance(10);
  expect(w.sent).toEqual(["7:1", "7:2"]);
  w.ack("carol", 7, 1);
  await w.clock.advance(10);
  expect(w.rows.map((row) => row.seq)).toEqual([2]);
  expect(w.sent).toHaveLength(2);
  w.ack("carol", 7, 2);
  await w.clock.advance(10);
  expect(w.sent).toEqual(["7:1", "7:2", "7:3"]);
  expect(w.marked.has("carol")).toBe(false);
});

test("an empty page that is older than what was archived since does not end the replay", async () => {
  const w = new World();
  w.marked.add("carol");
  const { promise, resolve } = Promise.withResolvers<void>();
  w.pages = promise;
  w.online("carol", 1);
  await w.clock.advance(10);
  w.message("carol", 1);
  w.offline("carol");
  await w.clock.advance(10);
  expect(w.rows.map((row) => row.seq)).toEqual([1]);
  w.online("carol", 2);
  await w.clock.advance(10);
  w.message("carol", 2);
  await w.clock.advance(10);
  resolve();
  await w.clock.advance(10);
  expect(w.sent).toEqual(["2:1"]);
  expect(w.marked.has("carol")).toBe(true);
  w.ack("carol", 2, 1);
  await w.clock.advance(10);
  expect(w.sent).toEqual(["2:1", "2:2"]);
});

test("what no device acks in time is archived with everything before it, and sent again later", async () => {
  const w = new World();
  w.online("bob", 1);
  const id = w.message("bob", 1, 2);
  await w.clock.advance(LIMITS.ACK_TIMEOUT_MS + 500);
  expect(w.rows.map((row) => row.seq)).toEqual([1, 2]);
  expect(w.settled()).toEqual([id]);
  w.message("bob", 3);
  await w.clock.advance(10);
  expect(w.sent).toEqual(["1:1", "1:2"]);
  await w.clock.advance(LIMITS.REDELIVER_FIRST_MS + 500);
  expect(w.sent.slice(0, 4)).toEqual(["1:1", "1:2", "1:1", "1:2"]);
  w.ack("bob", 1, 1, 2);
  await w.clock.advance(50);
  expect(w.sent.at(-1)).toBe("1:3");
  w.ack("bob", 1, 3);
  await w.clock.advance(50);
  expect(w.rows).toEqual([]);
});

test("an ack that comes while the message is on its way into the store takes it out again", async () => {
  const w = new World();
  w.online("bob", 1);
  w.message("bob", 1);
  w.storeAway = true;
  await w.clock.advance(LIMITS.ACK_TIMEOUT_MS + 500);
  w.ack("bob", 1, 1);
  w.storeAway = false;
  await w.clock.advance(5_000);
  expect(w.rows).toEqual([]);
  expect(w.settled()).toHaveLength(1);
});

test("with two devices a message is settled when both acked, or in time when one did", async () => {
  const w = new World();
  w.online("bob", 1, 2);
  const [first, second] = [w.message("bob", 1), w.message("bob", 2)];
  await w.clock.advance(1);
  expect(w.sent.toSorted()).toEqual(["1:1", "1:2", "2:1", "2:2"]);
  w.ack("bob", 1, 1, 2);
  await w.clock.advance(1);
  expect(w.settled()).toEqual([]);
  w.ack("bob", 2, 1);
  await w.clock.advance(1);
  expect(w.settled()).toEqual([first]);
  await w.clock.advance(LIMITS.ACK_TIMEOUT_MS + 500);
  expect(w.settled()).toEqual([first, second]);
  expect(w.rows).toEqual([]);
});

test("a new session of the same user gets what the old one never acked, from the front", async () => {
  const w = new World();
  w.online("bob", 1);
  w.message("bob", 1, 2, 3);
  await w.clock.advance(1);
  w.ack("bob", 1, 1);
  w.online("bob", 2);
  await w.clock.advance(1);
  expect(w.sent).toEqual(["1:1", "1:2", "1:3", "2:2", "2:3"]);
});

test("an entry that is handed over again is not delivered again, whether open or settled", async () => {
  const w = new World();
  w.online("bob", 1);
  await w.clock.advance(1);
  const body = encodePushTasks([task(["bob"], 1)]);
  const entry = { id: "99-0", body, ordinal: 1 };
  w.partition.take("push_task", [entry]);
  w.partition.take("push_task", [entry]);
  await w.clock.advance(1);
  w.ack("bob", 1, 1);
  await w.clock.advance(1);
  w.partition.take("push_task", [entry]);
  await w.clock.advance(1);
  expect(w.sent).toEqual(["1:1"]);
});

test("a session never has more than its window unacked", async () => {
  const w = new World();
  w.online("bob", 1);
  await w.clock.advance(1);
  const total = LIMITS.UNACKED_PER_SESSION_MAX + 100;
  w.message("bob", ...Array.from({ length: total }, (_, i) => i + 1));
  await w.clock.advance(1);
  expect(w.sent).toHaveLength(LIMITS.UNACKED_PER_SESSION_MAX);
  w.ack("bob", 1, 1, 2, 3);
  await w.clock.advance(1);
  expect(w.sent).toHaveLength(LIMITS.UNACKED_PER_SESSION_MAX + 3);
});

test("a message past its time is settled and reaches neither a device nor the store", async () => {
  const w = new World();
  const expired = Math.floor(w.clock.now() / 1_000) - 1;
  const body = encodePushTasks([task(["bob"], 1, expired)]);
  w.partition.take("push_task", [{ id: "5-0", body, ordinal: 1 }]);
  await w.clock.advance(10);
  expect([w.sent, w.rows, w.settled()]).toEqual([[], [], ["5-0"]]);
});

test("an entry that makes no sense goes to dead_letter with its reason and is settled", async () => {
  const w = new World();
  w.partition.take("push_task", [{ id: "5-0", body: "nonsense", ordinal: 1 }]);
  await w.clock.advance(1);
  const letters = w.commits.flatMap((commit) => commit.appends ?? []);
  expect(letters.map(({ topic }) => topic)).toEqual(["dead_letter"]);
  expect(JSON.parse(letters[0]?.body ?? "{}")).toMatchObject({ reason: "entry_not_decodable" });
  expect(w.settled()).toEqual(["5-0"]);
});

test("an owner whose epoch is over stops at once, at Redis as at the store", async () => {
  const redis = new World();
  redis.fenced = true;
  redis.message("carol", 1);
  await redis.clock.advance(10);
  expect(redis.lost).toBe(1);
  const store = new World();
  store.storeStale = true;
  store.message("carol", 1);
  await store.clock.advance(10);
  expect(store.lost).toBe(1);
  expect(store.settled()).toEqual([]);
});
