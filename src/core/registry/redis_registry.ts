/**
 * The registry in Redis. Each lease is a hash of its own, changed by one script, so that leases of
 * one group may live on different servers; all scripts of a call leave in one pipeline.
 */
import type { Limits } from "../limits.ts";
import type { RedisClient } from "../redis/client.ts";
import { script } from "../redis/lane.ts";
import { type ConsumerGroup, type Partitions, partitionCount } from "../topology.ts";
import type { NodeId } from "../trunk/node_id.ts";
import agreeLua from "./agree.lua" with { type: "text" };
import type { LeaseState, NodeRecord, OwnedPartition, Registry } from "./contract.ts";
import heartbeatLua from "./heartbeat.lua" with { type: "text" };
import leaseLua from "./lease.lua" with { type: "text" };
import { partitionsDisagree } from "./partitions_agreement.ts";
import releaseLua from "./release.lua" with { type: "text" };
import { searchOrder } from "./search_order.ts";

export interface RedisRegistryDeps {
  readonly redis: RedisClient;
  readonly partitions: Partitions;
  readonly limits: Pick<Limits, "LEASE_TTL_MS" | "NODE_TTL_MS">;
}

const agree = script(agreeLua);
const heartbeat = script(heartbeatLua);
const lease = script(leaseLua);
const release = script(releaseLua);

const HELD = 1;
const FREE = 2;

type LeaseReply = [state: number, epoch: number];

export class RedisRegistry implements Registry {
  constructor(private readonly deps: RedisRegistryDeps) {}

  async heartbeat(self: NodeRecord): Promise<NodeRecord[]> {
    const { limits, redis } = this.deps;
    const args = [self.id, JSON.stringify(self), String(limits.NODE_TTL_MS)];
    const live = await redis.lane.script("heartbeat", heartbeat, [redis.keys.nodes()], args);
    return (live as string[]).map((record) => JSON.parse(record) as NodeRecord);
  }

  async nodes(): Promise<NodeRecord[]> {
    const { limits, redis } = this.deps;
    const [time, all] = await Promise.all([
      redis.lane.read("nodes", "TIME", []) as Promise<[string, string]>,
      redis.lane.read("nodes", "HVALS", [redis.keys.nodes()]) as Promise<string[]>,
    ]);
    const oldest = msOf(time) - limits.NODE_TTL_MS;
    return all.flatMap((value) => {
      const colon = value.indexOf(":");
      if (Number(value.slice(0, colon)) <= oldest) return [];
      return [JSON.parse(value.slice(colon + 1)) as NodeRecord];
    });
  }

  async leave(self: NodeId): Promise<void> {
    const { redis } = this.deps;
    await redis.lane.write("leave", "HDEL", [redis.keys.nodes(), self]);
  }

  async lease(group: ConsumerGroup, self: NodeId, quota: number): Promise<OwnedPartition[]> {
    const order = searchOrder(self, partitionCount(this.deps.partitions, group));
    const renewed = await this.leaseEach(group, self, order, false);
    const owned = held(order, renewed);
    let free = order.filter((_, i) => renewed[i]?.[0] === FREE);
    // Another node may take some of them first, so what is still missing is tried with the rest.
    while (owned.length < quota && free.length > 0) {
      const wanted = free.slice(0, quota - owned.length);
      free = free.slice(wanted.length);
      owned.push(...held(wanted, await this.leaseEach(group, self, wanted, true)));
    }
    return owned.sort((a, b) => a.partition - b.partition);
  }

  async release(group: ConsumerGroup, self: NodeId, owned: OwnedPartition): Promise<void> {
    const { redis } = this.deps;
    const keys = [redis.keys.lease(group, owned.partition)];
    await redis.lane.script("release", release, keys, [self, String(owned.epoch)]);
  }

  async leases(group: ConsumerGroup): Promise<LeaseState[]> {
    const { partitions, redis } = this.deps;
    const numbers = [...Array(partitionCount(partitions, group)).keys()];
    const [time, ...hashes] = await Promise.all([
      redis.lane.read("leases", "TIME", []) as Promise<[string, string]>,
      ...numbers.map(
        (partition) =>
          redis.lane.read("leases", "HMGET", [
            redis.keys.lease(group, partition),
            "owner",
            "epoch",
            "until",
          ]) as Promise<(string | null)[]>,
      ),
    ]);
    const now = msOf(time);
    return numbers.map((partition) => {
      const [owner, epoch, until] = hashes[partition] ?? [];
      const holds = owner != null && owner !== "" && Number(until ?? 0) > now;
      return { partition, owner: holds ? owner : null, epoch: Number(epoch ?? 0) };
    });
  }

  async agreePartitions(partitions: Partitions): Promise<void> {
    const { redis } = this.deps;
    const args = [String(partitions.chat), String(partitions.user)];
    const agreed = await redis.lane.script("agree", agree, [redis.keys.partitions()], args);
    const [chat, user] = (agreed as string[]).map(Number);
    if (chat === partitions.chat && user === partitions.user) return;
    throw partitionsDisagree(partitions, { chat: chat ?? 0, user: user ?? 0 });
  }

  private leaseEach(
    group: ConsumerGroup,
    self: NodeId,
    partitions: readonly number[],
    take: boolean,
  ): Promise<LeaseReply[]> {
    const { limits, redis } = this.deps;
    const args = [self, String(limits.LEASE_TTL_MS), take ? "1" : "0"];
    return Promise.all(
      partitions.map(
        (partition) =>
          redis.lane.script(
            "lease",
            lease,
            [redis.keys.lease(group, partition)],
            args,
          ) as Promise<LeaseReply>,
      ),
    );
  }
}

/** Redis' own clock, as TIME tells it. */
function msOf([seconds, micros]: readonly [string, string]): number {
  return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
}

function held(partitions: readonly number[], replies: readonly LeaseReply[]): OwnedPartition[] {
  return partitions.flatMap((partition, i) => {
    const [state, epoch] = replies[i] ?? [0, 0];
    return state === HELD ? [{ partition, epoch }] : [];
  });
}
