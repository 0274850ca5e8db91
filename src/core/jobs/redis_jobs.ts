/**
 * Push jobs in Redis: a hash for the job itself, and in the slot of each user partition its counts,
 * its list and its marks there. The scripts say what changes together.
 */
import type { Clock } from "../clock.ts";
import type { RedisClient } from "../redis/client.ts";
import type { CommandLane } from "../redis/command_lane.ts";
import { type Script, script } from "../redis/script.ts";
import type { Partitions } from "../topology.ts";
import type {
  JobChange,
  JobChunks,
  JobCounts,
  JobHolder,
  JobMark,
  JobRecord,
  JobState,
  JobStore,
} from "./contract.ts";
import addLua from "./job_add.lua" with { type: "text" };
import changeLua from "./job_change.lua" with { type: "text" };
import createLua from "./job_create.lua" with { type: "text" };
import { fieldsOf, readCounts, readJob, writeChange, writeJob } from "./job_fields.ts";
import leaseLua from "./job_lease.lua" with { type: "text" };
import recordLua from "./job_record.lua" with { type: "text" };
import sealLua from "./job_seal.lua" with { type: "text" };
import sendLua from "./job_send.lua" with { type: "text" };
import stopLua from "./job_stop.lua" with { type: "text" };

/** Far longer than it takes to make a job, between its name and the job itself. */
const MAKING_MS = 60_000;

export interface RedisJobsDeps {
  readonly redis: RedisClient;
  readonly clock: Pick<Clock, "now">;
  readonly partitions: Partitions;
  /** How long a job is kept after its end, in seconds. */
  readonly retentionS: number;
  readonly limits: { readonly JOB_START_DELAY_MAX_S: number };
}

const add = script(addLua);
const change = script(changeLua);
const create = script(createLua);
const lease = script(leaseLua);
const record = script(recordLua);
const seal = script(sealLua);
const send = script(sendLua);
const stop = script(stopLua);

export class RedisJobs implements JobStore {
  private readonly writes: CommandLane;

  constructor(private readonly deps: RedisJobsDeps) {
    this.writes = deps.redis.durable;
  }

  async create(job: JobRecord, holder?: JobHolder): Promise<boolean> {
    const { keys } = this;
    // Listed first: a name without a job is forgotten by whoever finds it, a job without a name never.
    await Promise.all([
      this.write("ZADD", [keys.jobs(), `${job.createdAt}`, job.id]),
      this.write("SADD", [keys.jobsOpen(), job.id]),
    ]);
    const { node = "", ttlMs = 0 } = holder ?? {};
    const args = [`${this.lifeS}`, node, `${ttlMs}`, ...writeJob(job)];
    return (await this.run(create, [keys.job(job.id)], args)) === 1;
  }

  async get(id: string): Promise<JobRecord | null> {
    const flat = await this.read("HGETALL", [this.keys.job(id)]);
    return readJob(fieldsOf(flat as string[]));
  }

  async list(limit: number): Promise<JobRecord[]> {
    const jobs: JobRecord[] = [];
    for (let from = 0; jobs.length < limit; from += limit) {
      const range = [this.keys.jobs(), `${from}`, `${from + limit - 1}`, "WITHSCORES"];
      const flat = (await this.read("ZREVRANGE", range)) as string[];
      const made = new Map<string, number>();
      for (let i = 0; i + 1 < flat.length; i += 2) made.set(flat[i] ?? "", Number(flat[i + 1]));
      const page = await Promise.all([...made.keys()].map((id) => this.get(id)));
      jobs.push(...page.filter((job) => job !== null));
      await this.forget([...made].filter((_, i) => page[i] === null));
      if (made.size < limit) break;
    }
    return jobs.slice(0, limit);
  }

  /** Takes names off the list whose jobs are gone, and not those whose jobs are just being made. */
  private async forget(gone: readonly (readonly [id: string, createdAt: number])[]): Promise<void> {
    const before = this.deps.clock.now() - MAKING_MS;
    const old = gone.filter(([, createdAt]) => createdAt < before);
    if (old.length > 0) await this.write("ZREM", [this.keys.jobs(), ...old.map(([id]) => id)]);
  }

  async open(): Promise<string[]> {
    return (await this.read("SMEMBERS", [this.keys.jobsOpen()])) as string[];
  }

  async change(id: string, from: readonly JobState[], fields: JobChange) {
    const args = [` ${from.join(" ")} `, ...writeChange(fields)];
    const reply = await this.run(change, [this.keys.job(id)], args);
    if (reply === null) return null;
    const [changed, flat] = reply as [number, string[]];
    const job = readJob(fieldsOf(flat));
    return job === null ? null : { changed: changed === 1, record: job };
  }

  async lease(id: string, node: string, ttlMs: number): Promise<boolean> {
    return (await this.run(lease, [this.keys.job(id)], [node, `${ttlMs}`])) !== 0;
  }

  async add(
    id: string,
    partition: number,
    users: readonly string[],
    chunkMax: number,
  ): Promise<void> {
    const { keys } = this;
    const own = [
      keys.jobPart(partition, id),
      keys.jobSeen(partition, id),
      keys.jobList(partition, id),
    ];
    await this.run(add, own, [`${this.lifeS}`, `${chunkMax}`, ...users]);
  }

  async seal(id: string): Promise<void> {
    const { keys } = this;
    await this.everywhere((partition) => {
      const own = [keys.jobPart(partition, id), keys.jobSeen(partition, id)];
      return this.run(seal, own, [`${this.lifeS}`]);
    });
  }

  async chunks(id: string, partition: number, max: number): Promise<JobChunks> {
    const { keys } = this;
    // In this order: a list that was read before the number it starts with may have moved on.
    const [sent, chunks] = await Promise.all([
      this.read("HGET", [keys.jobPart(partition, id), "sent"]),
      this.read("LRANGE", [keys.jobList(partition, id), "0", `${max - 1}`]),
    ]);
    return { sent: Number(sent ?? 0), chunks: (chunks as string[]).map((c) => c.split("\n")) };
  }

  async send(
    id: string,
    partition: number,
    sent: number,
    count: number,
    body: string,
  ): Promise<boolean> {
    const { keys } = this;
    const list = keys.jobList(partition, id);
    const own = [keys.jobPart(partition, id), list, keys.stream("push_task", partition)];
    return (await this.run(send, own, [`${sent}`, `${count}`, body])) === 1;
  }

  hold(id: string, on: boolean): Promise<void> {
    return this.halt(id, on ? "hold" : "go");
  }

  stop(id: string, as: "cancelled" | "expired"): Promise<void> {
    return this.halt(id, as);
  }

  counts(id: string): Promise<JobCounts[]> {
    return this.everywhere(async (partition) => {
      const flat = await this.read("HGETALL", [this.keys.jobPart(partition, id)]);
      return readCounts(fieldsOf(flat as string[]));
    });
  }

  async retire(id: string): Promise<void> {
    const expire = (key: string) => this.write("EXPIRE", [key, `${this.deps.retentionS}`]);
    await this.everywhere((partition) => Promise.all(this.keysIn(partition, id).map(expire)));
    await expire(this.keys.job(id));
    await this.write("SREM", [this.keys.jobsOpen(), id]);
  }

  async remove(id: string): Promise<void> {
    await this.everywhere((partition) => this.write("UNLINK", this.keysIn(partition, id)));
    await this.write("UNLINK", [this.keys.job(id)]);
    await this.write("SREM", [this.keys.jobsOpen(), id]);
    await this.write("ZREM", [this.keys.jobs(), id]);
  }

  async record(partition: number, marks: readonly JobMark[]): Promise<void> {
    const { keys } = this;
    const byJob = Map.groupBy(marks, ([id]) => id);
    await Promise.all(
      [...byJob].map(([id, own]) => {
        const args = own.flatMap(([, index, bits]) => [`${index}`, `${bits}`]);
        const names = [keys.jobPart(partition, id), keys.jobMarks(partition, id)];
        return this.run(record, names, args);
      }),
    );
  }

  private get keys() {
    return this.deps.redis.keys;
  }

  /** The longest that a job lives which nobody ends. */
  private get lifeS(): number {
    return this.deps.retentionS + this.deps.limits.JOB_START_DELAY_MAX_S;
  }

  private keysIn(partition: number, id: string): string[] {
    const { keys } = this;
    return [
      keys.jobPart(partition, id),
      keys.jobList(partition, id),
      keys.jobSeen(partition, id),
      keys.jobMarks(partition, id),
    ];
  }

  private async halt(id: string, how: string): Promise<void> {
    await this.everywhere((partition) => {
      const own = this.keysIn(partition, id).slice(0, 3);
      return this.run(stop, own, [how, `${this.lifeS}`]);
    });
  }

  private run(code: Script, keys: string[], args: string[]): Promise<unknown> {
    return this.writes.script("jobs", code, keys, args);
  }

  /** On the connection that writes, so that what was written in this turn is seen. */
  private read(command: string, args: string[]): Promise<unknown> {
    return this.writes.read("jobs", command, args);
  }

  private write(command: string, args: string[]): Promise<unknown> {
    return this.writes.write("jobs", command, args);
  }

  private everywhere<T>(work: (partition: number) => Promise<T>): Promise<T[]> {
    return Promise.all(Array.from({ length: this.deps.partitions.user }, (_, q) => work(q)));
  }
}
