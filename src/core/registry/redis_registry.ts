/**
 * The registry in Redis. Each lease is a hash of its own, changed by one script, so that leases of
 * one group may live on different servers; all scripts of a call leave in one pipeline.
 */
import type { Limits } from "../limits.ts";
import type { RedisClient } from "../redis/client.ts";
import { script } from "../redis/script.ts";
import { type ConsumerGroup, type Partitions, partitionCount } from "../topology.ts";
import type { NodeId } from "../trunk/node_id.ts";
import agreeLua from "./agree.lua" with { type: "text" };
import {
  type Heartbeat,
  type KnownCommit,
  type Lease,
  type LeaseState,
  LOSS_REPORT_MS,
  type NodeRecord,
  type OwnedPartition,
  type Registry,
} from "./contract.ts";
import heartbeatLua from "./heartbeat.lua" with { type: "text" };
import leaseLua from "./lease.lua" with { type: "text" };
import leaseStateLua from "./lease_state.lua" with { type: "text" };
import nodesLua from "./nodes.lua" with { type: "text" };
import { partitionsDisagree } from "./partitions_agreement.ts";
import releaseLua from "./release.lua" with { type: "text" };
import reportLossLua from "./report_loss.lua" with { type: "text" };
import { searchOrder } from "./search_order.ts";
import verifyLua from "./verify.lua" with { type: "text" };

export interface RedisRegistryDeps {
  readonly redis: RedisClient;
  readonly partitions: Partitions;
  readonly limits: Pick<Limits, "LEASE_TTL_MS" | "NODE_TTL_MS">;
}

const agree = script(agreeLua);
const heartbeat = script(heartbeatLua);
const lease = script(leaseLua);
const leaseState = script(leaseStateLua);
const nodes = script(nodesLua);
const release = script(releaseLua);
const reportLoss = script(reportLossLua);
const verify = script(verifyLua);

const HELD = 1;
const FREE = 2;

const NOTHING: KnownCommit = { epoch: 0, turn: 0 };

type LeaseReply = [
  state: number,
  epoch: number,
  server: string,
  verified: number,
  lastEpoch: number,
  lastTurn: number,
  lost: number,
];

export class RedisRegistry implements Registry {
  /** By group and partition, the epoch under which this node held it when Redis last said. */
  private readonly held = new Map<ConsumerGroup, Map<number, number>>();

  constructor(private readonly deps: RedisRegistryDeps) {}

  async heartbeat(self: NodeRecord): Promise<Heartbeat> {
    const { limits, redis } = this.deps;
    const args = [self.id, JSON.stringify(self), String(limits.NODE_TTL_MS)];
    const [reply, lossAt] = await Promise.all([
      redis.lane.script("heartbeat", heartbeat, [redis.keys.nodes()], args),
      redis.lane.read("heartbeat", "GET", [redis.keys.loss()]),
    ]);
    const [known, server, live] = reply as [number, string, string[]];
    const nodes = live.map((record) => JSON.parse(record) as NodeRecord);
    return { nodes, server, known: known === 1, lossAt: Number(lossAt ?? 0) };
  }

  async nodes(): Promise<NodeRecord[]> {
    const { limits, redis } = this.deps;
    const args = [String(limits.NODE_TTL_MS)];
    const live = await redis.lane.script("nodes", nodes, [redis.keys.nodes()], args);
    return (live as string[]).map((record) => JSON.parse(record) as NodeRecord);
  }

  async leave(self: NodeId): Promise<void> {
    const { redis } = this.deps;
    await redis.lane.write("leave", "HDEL", [redis.keys.nodes(), self]);
  }

  async lease(
    group: ConsumerGroup,
    self: NodeId,
    quota: number,
    known: ReadonlyMap<number, KnownCommit> = new Map(),
  ): Promise<Lease[]> {
    const order = searchOrder(self, partitionCount(this.deps.partitions, group), known.keys());
    const renewed = await this.leaseEach(group, self, order, false, known);
    const owned = held(order, renewed);
    let free = order.filter((_, i) => renewed[i]?.[0] === FREE);
    // Another node may take some of them first, so what is still missing is tried with the rest.
    while (owned.length < quota && free.length > 0) {
      const wanted = free.slice(0, quota - owned.length);
      free = free.slice(wanted.length);
      owned.push(...held(wanted, await this.leaseEach(group, self, wanted, true, known)));
    }
    return owned.sort((a, b) => a.partition - b.partition);
  }

  async verify(
    group: ConsumerGroup,
    self: NodeId,
    { partition, epoch, server }: Lease,
  ): Promise<void> {
    const { redis } = this.deps;
    const keys = [redis.keys.lease(group, partition)];
    await redis.durable.script("verify", verify, keys, [self, String(epoch), server]);
  }

  async reportLoss(): Promise<void> {
    const { redis } = this.deps;
    await redis.lane.script("report_loss", reportLoss, [redis.keys.loss()], [`${LOSS_REPORT_MS}`]);
  }

  async release(group: ConsumerGroup, self: NodeId, owned: OwnedPartition): Promise<void> {
    const { redis } = this.deps;
    const keys = [redis.keys.lease(group, owned.partition)];
    await redis.durable.script("release", release, keys, [self, String(owned.epoch)]);
  }

  async leases(group: ConsumerGroup): Promise<LeaseState[]> {
    const { partitions, redis } = this.deps;
    const numbers = [...Array(partitionCount(partitions, group)).keys()];
    return Promise.all(
      numbers.map(async (partition) => {
        const keys = [redis.keys.lease(group, partition)];
        const reply = await redis.lane.script("leases", leaseState, keys, []);
        const [owner, epoch] = reply as [owner: string, epoch: number];
        return { partition, owner: owner === "" ? null : owner, epoch };
      }),
    );
  }

  async agreePartitions(partitions: Partitions): Promise<void> {
    const { redis } = this.deps;
    const args = [String(partitions.chat), String(partitions.user)];
    const agreed = await redis.durable.script("agree", agree, [redis.keys.partitions()], args);
    const [chat, user] = (agreed as string[]).map(Number);
    if (chat === partitions.chat && user === partitions.user) return;
    throw partitionsDisagree(partitions, { chat: chat ?? 0, user: user ?? 0 });
  }

  private async leaseEach(
    group: ConsumerGroup,
    self: NodeId,
    partitions: readonly number[],
    take: boolean,
    known: ReadonlyMap<number, KnownCommit>,
  ): Promise<LeaseReply[]> {
    const { limits, redis } = this.deps;
    const args = [self, String(limits.LEASE_TTL_MS), take ? "1" : "0"];
    const own = this.ownKnown(group);
    const results = await Promise.allSettled(
      partitions.map(async (partition) => {
        const { epoch, past, turn } = known.get(partition) ?? NOTHING;
        const keys = [redis.keys.lease(group, partition)];
        const all = [...args, String(epoch), String(turn), past === true ? "0" : "1"];
        const reply = await redis.durable.script("lease", lease, keys, all);
        return reply as LeaseReply;
      }),
    );
    const answered = results.find(({ status }) => status === "fulfilled");
    return results.map((result, i): LeaseReply => {
      const partition = partitions[i] as number;
      if (result.status === "rejected") {
        if (answered === undefined) throw result.reason;
        // One server of several is away. What was held there stays so: commits are fenced anyway.
        const epoch = own.get(partition);
        return [epoch === undefined ? 0 : HELD, epoch ?? 0, "", 0, 0, 0, 0];
      }
      const [state, epoch] = result.value;
      if (state === HELD) own.set(partition, epoch);
      else own.delete(partition);
      return result.value;
    });
  }

  private ownKnown(group: ConsumerGroup): Map<number, number> {
    const known = this.held.get(group) ?? new Map<number, number>();
    this.held.set(group, known);
    return known;
  }
}

function held(partitions: readonly number[], replies: readonly LeaseReply[]): Lease[] {
  return partitions.flatMap((partition, i) => {
    const reply = replies[i];
    if (reply === undefined || reply[0] !== HELD) return [];
    const [, epoch, server, verified, lastEpoch, turn, lost] = reply;
    const last = { epoch: lastEpoch, turn };
    return [{ partition, epoch, server, verified: verified === 1, last, lost: lost === 1 }];
  });
}
