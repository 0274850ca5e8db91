/**
 * Commits on a Redis Cluster, where one script reaches one slot. A commit that stays in the slot of
 * its partition is the same single script as on one server. One that appends elsewhere is made of
 * three steps, and is as good as done after the first:
 *
 * 1. prepare: one script in the owner's slot checks the epoch, applies puts and deletes, appends what
 *    belongs there, and keeps the rest of the commit in a hash of intents;
 * 2. deliver: one script in each other slot appends what is for it, and remembers beside the stream
 *    which commit of which owner that was, so that a repetition is recognised;
 * 3. finish: settles the entries and forgets the intent.
 *
 * Whoever takes a partition first finishes the intents that are there. They are repeated exactly as
 * they were written, so nothing is decided twice: not numbers, not checks, not recipients. The other
 * way, to leave the entry and have the next owner decide anew, would need every decision to come out
 * the same, and blocks and memberships change. The price is that such bodies are written twice.
 *
 * Commits of one owner do not overtake one another: what is remembered in step 2 is the last one.
 */
import calculateSlot from "cluster-key-slot";
import type { Clock } from "../clock.ts";
import type { RedisClient } from "../redis/client.ts";
import { script } from "../redis/script.ts";
import { type ConsumerGroup, TOPICS, type Topic } from "../topology.ts";
import commitLua from "./commit.lua" with { type: "text" };
import { commitScript, encodeCommit, maxLength } from "./commit_script.ts";
import { CommitTurns } from "./commit_turns.ts";
import { type Append, type Commit, FencedError } from "./contract.ts";
import deliverLua from "./deliver.lua" with { type: "text" };
import finishLua from "./finish.lua" with { type: "text" };
import prepareLua from "./prepare.lua" with { type: "text" };

const prepareScript = script(`${prepareLua}${commitLua}`);
const deliverScript = script(deliverLua);
const finishScript = script(finishLua);

const FENCED = 0;
const UNFINISHED = -1;

/** What is kept of a commit until its last step, as JSON. */
interface Intent {
  readonly epoch: number;
  readonly turn: number;
  readonly appends: readonly Append[];
  readonly settles: readonly { readonly topic: Topic; readonly ids: readonly string[] }[];
}

interface Owner {
  readonly group: ConsumerGroup;
  readonly partition: number;
}

export class ClusterCommits {
  private readonly turns: CommitTurns;
  /** By owner, its last commit: the next one waits for it. */
  private readonly tails = new Map<string, Promise<unknown>>();

  constructor(
    private readonly redis: RedisClient,
    clock: Clock,
  ) {
    this.turns = new CommitTurns(clock);
  }

  async commit(commit: Commit): Promise<void> {
    const { group, partition } = commit.fence;
    const home = this.slotOf(this.redis.keys.lease(group, partition));
    const away = (commit.appends ?? []).filter((append) => this.slotOfAppend(append) !== home);
    const name = ownerName(commit.fence);
    const before = this.tails.get(name);
    const apply = () =>
      away.length === 0 ? this.commitHere(commit) : this.commitAway(commit, away);
    if (before === undefined && away.length === 0) return apply();
    const own = (before ?? Promise.resolve()).then(apply);
    const tail = own.catch(() => {});
    this.tails.set(name, tail);
    try {
      await own;
    } finally {
      if (this.tails.get(name) === tail) this.tails.delete(name);
    }
  }

  /** Finishes what a former owner, or this one, left unfinished. Rejects while a master is away. */
  async finishIntents(owner: Owner): Promise<void> {
    const key = this.redis.keys.intents(owner.group, owner.partition);
    const flat = (await this.redis.durable.read("intents", "HGETALL", [key])) as string[];
    const intents: Intent[] = [];
    for (let i = 1; i < flat.length; i += 2) intents.push(JSON.parse(flat[i] as string) as Intent);
    intents.sort((a, b) => a.epoch - b.epoch || a.turn - b.turn);
    for (const intent of intents) await this.finish(owner, intent);
  }

  private async commitHere(commit: Commit): Promise<void> {
    const { keys, args } = encodeCommit(this.redis.keys, commit);
    const applied = await this.redis.durable.script("commit", commitScript, keys, args);
    if (applied !== 1) throw new FencedError(commit.fence);
  }

  private async commitAway(commit: Commit, away: readonly Append[]): Promise<void> {
    const { fence } = commit;
    const turn = commit.turn || this.turns.next();
    const settles = commit.settles ?? [];
    const intent: Intent = { epoch: fence.epoch, turn, appends: away, settles };
    const here = (commit.appends ?? []).filter((append) => !away.includes(append));
    const first: Commit = { ...commit, turn, appends: here, settles: [] };
    const { keys, args } = encodeCommit(this.redis.keys, first);
    keys.push(this.redis.keys.intents(fence.group, fence.partition));
    args.push("I", intentName(intent), JSON.stringify(intent));
    const prepare = () => this.redis.durable.script("prepare", prepareScript, keys, args);
    let prepared = await prepare();
    if (prepared === UNFINISHED) {
      await this.finishIntents(fence);
      prepared = await prepare();
    }
    if (prepared === FENCED) throw new FencedError(fence);
    if (prepared !== 1) throw new Error(`a commit was answered with ${prepared}`);
    await this.finish(fence, intent);
  }

  private async finish(owner: Owner, intent: Intent): Promise<void> {
    const bySlot = Map.groupBy(intent.appends, (append) => this.slotOfAppend(append));
    await Promise.all([...bySlot.values()].map((appends) => this.deliver(owner, intent, appends)));
    const keys = [this.redis.keys.intents(owner.group, owner.partition)];
    const args = [intentName(intent)];
    for (const { topic, ids } of intent.settles) {
      if (ids.length === 0) continue;
      keys.push(this.redis.keys.stream(topic, owner.partition));
      args.push(TOPICS[topic].group ?? "", String(ids.length), ...ids);
    }
    await this.redis.durable.script("finish", finishScript, keys, args);
  }

  private async deliver(
    owner: Owner,
    { epoch, turn }: Intent,
    appends: readonly Append[],
  ): Promise<void> {
    const names = this.redis.keys;
    const [first] = appends;
    if (first === undefined) return;
    const keys = [names.delivered(first.topic, first.partition)];
    const args = [ownerName(owner), String(epoch), String(turn)];
    for (const { topic, partition, body } of appends) {
      keys.push(names.stream(topic, partition));
      if (TOPICS[topic].group === null) {
        args.push("A", String(maxLength(topic)), body);
      } else {
        keys.push(names.ordinal(topic, partition));
        args.push("N", body);
      }
    }
    await this.redis.durable.script("deliver", deliverScript, keys, args);
  }

  private slotOf(key: string): number {
    return calculateSlot(key);
  }

  private slotOfAppend({ topic, partition }: Append): number {
    return calculateSlot(this.redis.keys.stream(topic, partition));
  }
}

function ownerName({ group, partition }: Owner): string {
  return `${group}:${partition}`;
}

function intentName({ epoch, turn }: Intent): string {
  return `${epoch}:${turn}`;
}
