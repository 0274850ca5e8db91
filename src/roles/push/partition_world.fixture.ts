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
export class World {
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
  /** What the next calls of archive wait for, in their order. */
  readonly archives: Promise<void>[] = [];
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
        await this.archives.shift();
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

export function session(user: string, conn: number): Session {
  return { user, device: `d${conn}`, access: "a", gateway: "g", conn, epoch: 1, since: 0 };
}

export function task(recipients: string[], seq: number, expireTime = 0): PushTask {
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
