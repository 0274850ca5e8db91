/**
 * Reads a consumer group's partitions over one connection of its own: one blocking XREADGROUP for
 * all that are assigned and not paused, woken with CLIENT UNBLOCK when that set changes.
 *
 * Taking a partition is XGROUP DESTROY, then XGROUP CREATE at 0. Streams hold exactly what is not
 * settled, so the start is the oldest unsettled entry. Destroying does what moving the group's
 * position back does not: it ends the blocked read of an earlier owner that is paused or cut off
 * (it gets NOGROUP), which would otherwise be served the next entry before us. In two steps, because
 * Redis wakes the blocked only between commands. A group that is missing when the process dies in
 * between is created by whoever reads next.
 *
 * What can still go to somebody else is found in two ways: by ordinals at once, where entries have
 * them, and by looking at the group's pending entries every CHECK_MS. Both lead back to taking the
 * partition anew. So does a lost connection, because a reply may have been lost with it. The
 * consumer's name changes with each connection, so what a dead connection of ours was given counts
 * as somebody else's too.
 */
import type { Redis } from "ioredis";
import { sleep, type Timer } from "../clock.ts";
import { LIMITS } from "../limits.ts";
import { replyCode, toChatifyError } from "../redis/redis_error.ts";
import { GROUP_TOPICS, type Topic } from "../topology.ts";
import { forgetBacklog } from "./backlog.ts";
import { type ReadBatch, StreamLostError, type StreamReader } from "./contract.ts";
import { OrdinalGuard } from "./ordinal_guard.ts";
import { watchPending } from "./pending_watch.ts";
import { parseReadReply, type ReadReply } from "./read_reply.ts";
import { MAY_READ_POLL_MS, newReading, type Reading, type RedisReaderDeps } from "./reading.ts";
import { Wake } from "./wake.ts";

const RETRY_MS = 100;

interface GroupStarts {
  /** How many groups did not exist. */
  readonly created: number;
  /** The keys of streams that did not exist. */
  readonly missing: readonly string[];
  /** By partition, the last ordinal of each of its topics. */
  readonly lasts: readonly (readonly number[])[];
}

export class RedisReader implements StreamReader {
  private readonly connection: Redis;
  private readonly wake: Wake;
  private readonly checks: Timer;
  private readonly finished: Promise<void>;
  private readonly assigned = new Map<number, Reading>();
  private readonly targets = new Map<string, { topic: Topic; partition: number }>();
  private generation = 0;
  private stopped = false;

  constructor(private readonly deps: RedisReaderDeps) {
    const { clock, group, home, redis } = deps;
    this.connection = redis.blocking(`reader-${group}`, LIMITS.READ_BLOCK_MS, home);
    this.wake = new Wake((id) => redis.unblock(id, home), clock);
    this.connection.on("ready", () => this.wake.now());
    this.connection.on("close", () => this.takeAllAnew());
    this.checks = watchPending(deps, this.assigned, {
      consumer: () => this.consumer(),
      onForeign: (reading) => this.takeAnew(reading),
    });
    this.finished = this.run();
  }

  assign(partition: number): Promise<void> {
    for (const topic of GROUP_TOPICS[this.deps.group]) {
      this.targets.set(this.deps.redis.keys.stream(topic, partition), { topic, partition });
    }
    const reading = this.assigned.get(partition) ?? newReading(partition);
    this.assigned.set(partition, reading);
    reading.guards = new Map();
    this.takeAnew(reading);
    return new Promise((resolve) => reading.waiting.push(resolve));
  }

  revoke(partition: number): void {
    const reading = this.assigned.get(partition);
    if (reading === undefined) return;
    this.assigned.delete(partition);
    reading.turn++;
    for (const resolve of reading.waiting.splice(0)) resolve();
    const { group, telemetry } = this.deps;
    for (const topic of GROUP_TOPICS[group]) forgetBacklog(telemetry.metrics, topic, partition);
    this.wake.now();
  }

  pause(partition: number): void {
    const reading = this.assigned.get(partition);
    if (reading === undefined || reading.paused) return;
    reading.paused = true;
    this.wake.now();
  }

  resume(partition: number): void {
    const reading = this.assigned.get(partition);
    if (reading === undefined || !reading.paused) return;
    reading.paused = false;
    this.wake.now();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.checks.cancel();
    for (const partition of [...this.assigned.keys()]) this.revoke(partition);
    this.connection.disconnect();
    this.wake.now();
    await this.finished;
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      if (this.connection.status !== "ready") {
        await this.wake.wait();
        continue;
      }
      const read = await this.attempt();
      if (this.stopped) return;
      // Outside of every catch: what the owner throws is a bug and must end the process.
      if (read !== null) this.handOver(read);
    }
  }

  /** One read, or null where there is none; what went wrong is told and waited out. */
  private async attempt(): Promise<ReadBatch[] | null> {
    try {
      if (this.assigned.size > 0 && !this.deps.mayRead()) {
        await this.wake.waitAtMost(MAY_READ_POLL_MS);
        return null;
      }
      this.wake.clear();
      await this.takePartitions();
      // Something changed while Redis answered: a read would start without it.
      if (this.wake.isPending()) return null;
      const held = this.takeHeld();
      if (held.length > 0) return held;
      const keys = this.keysToRead();
      if (keys.length === 0) {
        await this.wake.wait();
        return null;
      }
      return this.accept(await this.read(keys));
    } catch (error) {
      await this.recover(error);
      return null;
    }
  }

  private async read(keys: string[]): Promise<ReadReply> {
    const args = ["GROUP", this.deps.group, this.consumer()];
    args.push("COUNT", String(LIMITS.READ_ENTRIES_MAX), "BLOCK", String(LIMITS.READ_BLOCK_MS));
    args.push("STREAMS", ...keys);
    for (let i = 0; i < keys.length; i++) args.push(">");
    const reply = this.connection.call("XREADGROUP", args);
    return (await this.wake.whileBlocked(reply)) as ReadReply;
  }

  /** Sets the group of every partition that is new, or must be taken anew, to the very start. */
  private async takePartitions(): Promise<void> {
    for (;;) {
      const fresh = [...this.assigned.values()].filter((reading) => !reading.taken);
      if (fresh.length === 0) return;
      if (!this.wake.isConnectedTo(this.generation)) {
        this.generation++;
        this.wake.connectedTo(this.generation, await this.connection.call("CLIENT", "ID"));
      }
      const turns = fresh.map((reading) => reading.turn);
      const { recover } = this.deps;
      if (recover) await Promise.all(fresh.map(({ partition }) => recover(partition)));
      const before = fresh.filter((reading) => reading.guards.size > 0);
      const { lasts, missing } = await this.resetGroups(fresh, true);
      this.reportLost(before, missing);
      for (const [i, reading] of fresh.entries()) {
        if (reading.turn !== turns[i]) continue;
        reading.taken = true;
        this.guard(reading, lasts[i] ?? []);
        for (const resolve of reading.waiting.splice(0)) resolve();
      }
    }
  }

  /** Creates the groups at the start of their streams; says which were missing. */
  private async resetGroups(readings: readonly Reading[], destroy: boolean): Promise<GroupStarts> {
    const { group, redis } = this.deps;
    const topics = GROUP_TOPICS[group];
    const pipeline = this.connection.pipeline();
    const streams = readings.flatMap(({ partition }) =>
      topics.map((topic) => ({ topic, partition, key: redis.keys.stream(topic, partition) })),
    );
    // First all that are destroyed: an error reply, without effect, where there is no stream yet.
    const destroyed = destroy ? streams : [];
    for (const { key } of destroyed) pipeline.call("XGROUP", ["DESTROY", key, group]);
    for (const { topic, partition, key } of streams) {
      pipeline.call("EXISTS", [key]);
      pipeline.call("XGROUP", ["CREATE", key, group, "0", "MKSTREAM"]);
      pipeline.call("GET", [redis.keys.ordinal(topic, partition)]);
    }
    const results = ((await pipeline.exec()) ?? []).slice(destroyed.length);
    let created = 0;
    const missing: string[] = [];
    const lasts = streams.map(({ key }, i) => {
      if (results[3 * i]?.[1] === 0) missing.push(key);
      const refused = results[3 * i + 1]?.[0] ?? null;
      if (refused === null) created++;
      else if (replyCode(refused) !== "BUSYGROUP") throw refused;
      const [error, ordinal] = results[3 * i + 2] ?? [new Error("no reply"), null];
      if (error !== null) throw error;
      return Number(ordinal ?? 0);
    });
    const size = topics.length;
    const byReading = readings.map((_, i) => lasts.slice(i * size, (i + 1) * size));
    return { created, missing, lasts: byReading };
  }

  /** Of the streams that `readings` had before, those that are not there any more. */
  private reportLost(readings: readonly Reading[], missing: readonly string[]): void {
    const { group, onError, redis, telemetry } = this.deps;
    const keys = readings.flatMap(({ partition }) =>
      GROUP_TOPICS[group].map((topic) => redis.keys.stream(topic, partition)),
    );
    const lost = missing.filter((key) => keys.includes(key));
    if (lost.length === 0) return;
    telemetry.metrics.dataLost.inc({ what: "stream" }, lost.length);
    telemetry.log.error({ streams: lost }, "Redis has lost streams; they begin anew");
    onError(new StreamLostError(lost));
  }

  private guard(reading: Reading, lasts: readonly number[]): void {
    for (const [i, topic] of GROUP_TOPICS[this.deps.group].entries()) {
      const last = lasts[i] ?? 0;
      const guard = reading.guards.get(topic);
      if (guard === undefined) reading.guards.set(topic, new OrdinalGuard(last));
      else guard.rebase(last);
    }
  }

  private takeHeld(): ReadBatch[] {
    const held: ReadBatch[] = [];
    for (const reading of this.assigned.values()) {
      if (!reading.paused && reading.held.length > 0) held.push(...reading.held.splice(0));
    }
    return held;
  }

  private keysToRead(): string[] {
    const keys: string[] = [];
    for (const { partition, paused, taken } of this.assigned.values()) {
      if (paused || !taken) continue;
      for (const topic of GROUP_TOPICS[this.deps.group]) {
        keys.push(this.deps.redis.keys.stream(topic, partition));
      }
    }
    return keys;
  }

  /** What of a reply is to be handed over: not what was revoked, is paused or must be read anew. */
  private accept(reply: ReadReply): ReadBatch[] {
    const batches: ReadBatch[] = [];
    for (const batch of parseReadReply(reply, this.targets)) {
      const reading = this.assigned.get(batch.partition);
      if (reading === undefined || !reading.taken) continue;
      if (reading.paused) reading.held.push(batch);
      else batches.push(batch);
    }
    return batches;
  }

  private handOver(batches: readonly ReadBatch[]): void {
    const inOrder = batches.filter((batch) => {
      const reading = this.assigned.get(batch.partition);
      return reading?.taken === true && this.isInOrder(reading, batch);
    });
    if (inOrder.length > 0) this.deps.onBatch(inOrder);
  }

  private isInOrder(reading: Reading, { topic, partition, entries }: ReadBatch): boolean {
    const { log, metrics } = this.deps.telemetry;
    const check = reading.guards.get(topic)?.check(entries);
    if (check === undefined) return true;
    if (check.skipped > 0) {
      metrics.dataLost.inc({ what: "entries" });
      log.error({ topic, partition, entries: check.skipped }, "entries vanished from a stream");
    }
    if (!check.gap) return true;
    metrics.gaps.inc({ topic });
    log.warn({ topic, partition }, "an entry was given to another reader; reading again");
    this.takeAnew(reading);
    return false;
  }

  private async recover(error: unknown): Promise<void> {
    if (this.stopped) return;
    const { clock, group, onError, telemetry } = this.deps;
    telemetry.metrics.redisErrors.inc({ operation: "read" });
    onError(toChatifyError(error, `read of ${group}`, true));
    const code = replyCode(error);
    if (code === "NOGROUP" || code === "UNBLOCKED") await this.restoreGroups();
    else await sleep(clock, RETRY_MS);
  }

  /**
   * A stream or group is gone: Redis was emptied, or another node has just taken a partition that we
   * still believe to own. Creating what is missing, and nothing more, suits both. Where nothing was
   * missing any more it was the other node, and we wait until the loss of the lease is known here:
   * to read on at once would take the very entries that the new owner is to get.
   */
  private async restoreGroups(): Promise<void> {
    const readings = [...this.assigned.values()].filter((reading) => reading.taken);
    try {
      const { created, lasts, missing } = await this.resetGroups(readings, false);
      this.reportLost(readings, missing);
      for (const [i, reading] of readings.entries()) this.guard(reading, lasts[i] ?? []);
      if (created === 0) await this.wake.waitAtMost(LIMITS.LEASE_RENEW_MS);
    } catch (error) {
      this.deps.onError(toChatifyError(error, `read of ${this.deps.group}`, true));
      await sleep(this.deps.clock, RETRY_MS);
    }
  }

  private takeAnew(reading: Reading): void {
    reading.taken = false;
    reading.turn++;
    reading.held = [];
    this.wake.now();
  }

  private takeAllAnew(): void {
    this.wake.disconnected();
    for (const reading of this.assigned.values()) this.takeAnew(reading);
  }

  private consumer(): string {
    return `${this.deps.nodeId}/${this.generation}`;
  }
}
