/**
 * What a push job is told about its messages by the owner of a partition, in every way that a message
 * can end, and when owners die in the middle. On the doubles, so that a crash is at an exact place.
 */
import { expect, test } from "bun:test";
import { type JobCounts, type JobRecord, NO_COUNTS } from "../../src/core/jobs/contract.ts";
import { MemoryJobs } from "../../src/core/jobs/memory_jobs.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { jobId, jobMsgIds } from "../../src/core/protocol/msg_id.ts";
import { encodePushTasks } from "../../src/core/protocol/push_task.ts";
import { MemoryRegistry } from "../../src/core/registry/memory_registry.ts";
import { MemorySessions } from "../../src/core/sessions/memory_sessions.ts";
import { directAccess, MemoryEngine } from "../../src/core/streams/memory_engine.ts";
import { MemoryStreams } from "../../src/core/streams/memory_streams.ts";
import { ManualClock } from "../../src/core/testing/manual_clock.ts";
import { silentTelemetry } from "../../src/core/testing/silent_telemetry.ts";
import type { Trunk } from "../../src/core/trunk/contract.ts";
import { Outbox } from "../../src/roles/push/outbox.ts";
import { PushPartition } from "../../src/roles/push/partition.ts";
import { Watches } from "../../src/roles/push/watches.ts";
import { MemoryStore } from "../../src/sim/memory_store.ts";

const partitions = { chat: 1, user: 1 };
const limits = { ...LIMITS, REPLAY_PAGE: 1 };
const ADDRESS = ["g", 1, 1] as const;

class World {
  readonly clock = new ManualClock();
  readonly engine = new MemoryEngine(this.clock);
  id = jobId(this.clock.now(), "abcdefgh");
  readonly store = new MemoryStore();
  /** Message ids that devices got, repetitions included. */
  readonly sent: string[] = [];
  readonly jobs: MemoryJobs;
  readonly sessions: MemorySessions;
  private readonly base = {
    ...{ engine: this.engine, access: directAccess(this.clock), clock: this.clock },
    ...{ partitions, limits, telemetry: silentTelemetry() },
  };
  private readonly registry = new MemoryRegistry(this.base);
  private owner: PushPartition | null = null;
  private owners = 0;
  private since = 0;

  constructor() {
    this.jobs = new MemoryJobs({ ...this.base, retentionS: 60 });
    this.sessions = new MemorySessions(this.base);
    this.clock.every(250, () => this.owner?.tick());
  }

  async job(users: readonly string[], expireTime = 0): Promise<void> {
    const spec = { target: { kind: "list" }, expireTime, startTime: 0 };
    await this.soon(this.jobs.create({ id: this.id, spec, state: "running" } as JobRecord));
    await this.soon(this.jobs.add(this.id, 0, users, 100));
    const idOf = jobMsgIds(this.id, 0);
    const tasks = users.map((user, i) => {
      const message = JSON.stringify({ msg_id: idOf(i) });
      const rest = { conversation: "s:system", seq: 0, acceptedAt: 0, trace: "", message };
      return { msgId: idOf(i), expireTime, recipients: [user], ...rest };
    });
    await this.soon(this.jobs.send(this.id, 0, 0, users.length, encodePushTasks(tasks)));
  }

  /** From now on it is about another job. */
  async another(): Promise<void> {
    await this.clock.advance(300);
    this.id = jobId(this.clock.now(), "abcdefgh");
  }

  /** A new owner takes the partition over; the one before it is gone without a word. */
  async takeOver(): Promise<void> {
    this.owner?.stop();
    const node = `n${++this.owners}`;
    await this.clock.advance(LIMITS.LEASE_TTL_MS + 1);
    const [owned] = await this.soon(this.registry.lease("push", node, 1));
    const trunk = {
      isUp: () => true,
      send: (_: string, message: Parameters<Trunk["send"]>[1]) => {
        if (message.t !== "deliver") return true;
        for (const [, frame] of message.items) this.sent.push(JSON.parse(frame).message.msg_id);
        return true;
      },
    } as unknown as Trunk;
    const outbox = new Outbox(trunk, this.clock);
    const streams = new MemoryStreams({ ...this.base, nodeId: node });
    const owner = new PushPartition({
      ...{ ...this.base, ...owned, streams, outbox },
      ...{ partition: 0, epoch: owned?.epoch ?? 0, directory: this.sessions, jobs: this.jobs },
      ...{ store: this.store, watches: new Watches(outbox, this.clock, 10), feedsMax: 1_000 },
      ...{ onFenced: () => {}, onPressure: () => {}, verified: true },
    });
    this.owner = owner;
    const reader = streams.reader(
      "push",
      (batches) => {
        for (const { topic, entries } of batches) owner.take(topic, entries);
      },
      () => {},
    );
    await this.soon(reader.assign(0));
    await this.soon(owner.recover());
    await this.clock.advance(50);
  }

  async online(user: string): Promise<void> {
    const place = { access: "a", gateway: "g", conn: 1 };
    await this.soon(
      this.sessions.register([{ user, device: "d", since: ++this.since, issuedAt: 0, ...place }]),
    );
    await this.clock.advance(50);
  }

  async ack(user: string, index: number): Promise<void> {
    this.owner?.acks(user, [...ADDRESS], [jobMsgIds(this.id, 0)(index)]);
    await this.clock.advance(50);
  }

  async counts(id = this.id): Promise<JobCounts> {
    return (await this.soon(this.jobs.counts(id)))[0] ?? NO_COUNTS;
  }

  private async soon<T>(work: Promise<T>): Promise<T> {
    await this.clock.advance(1);
    return work;
  }
}

const counts = (change: Partial<JobCounts>): JobCounts => ({ ...NO_COUNTS, ...change });

test("acked, stored, and acked after a replay are counted as what they are", async () => {
  const w = new World();
  await w.online("ann");
  await w.takeOver();
  await w.job(["ann", "bob"]);
  await w.clock.advance(300);
  expect(await w.counts()).toEqual(counts({ accepted: 2, delivered: 1, stored: 1, inFlight: 1 }));
  await w.ack("ann", 0);
  expect(await w.counts()).toEqual(counts({ accepted: 2, delivered: 1, acked: 1, stored: 1 }));
  await w.online("bob");
  await w.ack("bob", 1);
  expect(await w.counts()).toEqual(counts({ accepted: 2, delivered: 2, acked: 2 }));
  expect(await w.store.count()).toBe(0);
});

test("a device that never acks leaves its message stored, and delivered", async () => {
  const w = new World();
  await w.online("ann");
  await w.takeOver();
  await w.job(["ann"]);
  await w.clock.advance(LIMITS.ACK_TIMEOUT_MS + 1_000);
  expect(await w.counts()).toEqual(counts({ accepted: 1, delivered: 1, stored: 1 }));
});

test("what is past its time is counted as expired, before and after it was stored", async () => {
  const w = new World();
  await w.takeOver();
  await w.job(["ann", "bob"], Math.floor(w.clock.now() / 1_000) - 1);
  await w.clock.advance(100);
  expect(await w.counts()).toEqual(counts({ accepted: 2, expired: 2 }));
});

test("an owner that dies between two recipients of an entry changes no count", async () => {
  const w = new World();
  await w.online("ann");
  await w.online("bob");
  await w.takeOver();
  await w.job(["ann", "bob", "carol"]);
  await w.clock.advance(300);
  await w.ack("ann", 0);
  await w.takeOver();
  // The entry was not settled, so everybody who is online gets it again, under the same id.
  await w.ack("ann", 0);
  await w.ack("bob", 1);
  expect(await w.counts()).toEqual(counts({ accepted: 3, delivered: 2, acked: 2, stored: 1 }));
  expect(new Set(w.sent).size).toBe(2);
  expect(w.sent.length).toBe(4);
});

test("a row that was acked while its entry was open is acked, whoever reads the entry again", async () => {
  const w = new World();
  await w.online("ann");
  await w.takeOver();
  await w.job(["ann", "bob"]);
  await w.clock.advance(300);
  await w.online("bob");
  await w.ack("bob", 1);
  expect(await w.counts()).toEqual(counts({ accepted: 2, delivered: 2, acked: 1, inFlight: 1 }));
  await w.takeOver();
  await w.clock.advance(LIMITS.ACK_TIMEOUT_MS + 1_000);
  await w.ack("ann", 0);
  await w.ack("bob", 1);
  expect(await w.counts()).toEqual(counts({ accepted: 2, delivered: 2, acked: 2 }));
});

test("an ack for a row that is not in memory counts, and nobody can ack for others", async () => {
  const w = new World();
  await w.takeOver();
  await w.job(["ann", "bob"]);
  const first = w.id;
  await w.another();
  await w.job(["ann", "bob"]);
  await w.clock.advance(300);
  // A page is one row here: that of the first job is in memory, that of the second is not.
  await w.online("ann");
  await w.clock.advance(300);
  await w.ack("ann", 1);
  expect(await w.counts()).toMatchObject({ acked: 0, stored: 2 });
  await w.ack("ann", 0);
  expect(await w.counts()).toMatchObject({ acked: 1, stored: 1 });
  expect(await w.counts(first)).toMatchObject({ acked: 0, stored: 2, delivered: 1 });
});
