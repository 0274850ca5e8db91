/** The registry in memory, for the simulator: what the scripts of the one in Redis do, as code. */
import type { Limits } from "../limits.ts";
import { directAccess, type MemoryAccess, type MemoryEngine } from "../streams/memory_engine.ts";
import { type ConsumerGroup, type Partitions, partitionCount } from "../topology.ts";
import type { NodeId } from "../trunk/node_id.ts";
import type { LeaseState, NodeRecord, OwnedPartition, Registry } from "./contract.ts";
import { partitionsDisagree } from "./partitions_agreement.ts";
import { searchOrder } from "./search_order.ts";

export interface MemoryRegistryDeps {
  readonly engine: MemoryEngine;
  readonly partitions: Partitions;
  readonly limits: Pick<Limits, "LEASE_TTL_MS" | "NODE_TTL_MS">;
  readonly access?: MemoryAccess;
}

export class MemoryRegistry implements Registry {
  private readonly engine: MemoryEngine;
  private readonly access: MemoryAccess;

  constructor(private readonly deps: MemoryRegistryDeps) {
    this.engine = deps.engine;
    this.access = deps.access ?? directAccess(deps.engine.clock);
  }

  heartbeat(self: NodeRecord): Promise<NodeRecord[]> {
    return this.access.perform("heartbeat", () => {
      const heardAt = this.engine.now();
      const known = this.engine.nodes.get(self.id);
      // A copy, as others get it from Redis; most heartbeats repeat the record of the one before.
      const record = known?.given === self ? known.record : structuredClone(self);
      this.engine.nodes.set(self.id, { heardAt, given: self, record });
      return this.live();
    });
  }

  nodes(): Promise<NodeRecord[]> {
    return this.access.perform("nodes", () => this.live());
  }

  leave(self: NodeId): Promise<void> {
    return this.access.perform("leave", () => void this.engine.nodes.delete(self));
  }

  lease(group: ConsumerGroup, self: NodeId, quota: number): Promise<OwnedPartition[]> {
    return this.access.perform("lease", () => {
      const now = this.engine.now();
      const until = now + this.deps.limits.LEASE_TTL_MS;
      const order = searchOrder(self, partitionCount(this.deps.partitions, group));
      const owned: OwnedPartition[] = [];
      for (const partition of order) {
        const lease = this.leaseOf(group, partition);
        if (lease.owner !== self) continue;
        lease.until = until;
        owned.push({ partition, epoch: lease.epoch });
      }
      for (const partition of order) {
        const lease = this.leaseOf(group, partition);
        if (owned.length >= quota || lease.owner === self) continue;
        if (lease.owner !== "" && lease.until > now) continue;
        lease.owner = self;
        lease.epoch++;
        lease.turn = 0;
        lease.until = until;
        owned.push({ partition, epoch: lease.epoch });
      }
      return owned.sort((a, b) => a.partition - b.partition);
    });
  }

  release(group: ConsumerGroup, self: NodeId, owned: OwnedPartition): Promise<void> {
    return this.access.perform("release", () => {
      const lease = this.leaseOf(group, owned.partition);
      if (lease.owner !== self || lease.epoch !== owned.epoch) return;
      lease.owner = "";
      lease.until = 0;
    });
  }

  leases(group: ConsumerGroup): Promise<LeaseState[]> {
    return this.access.perform("leases", () =>
      [...Array(partitionCount(this.deps.partitions, group)).keys()].map((partition) => {
        const { owner, epoch, until } = this.leaseOf(group, partition);
        const holds = owner !== "" && until > this.engine.now();
        return { partition, owner: holds ? owner : null, epoch };
      }),
    );
  }

  agreePartitions(partitions: Partitions): Promise<void> {
    return this.access.perform("agree", () => {
      const { chat, user } = partitions;
      this.engine.agreed ??= { chat, user };
      const { agreed } = this.engine;
      if (agreed.chat !== chat || agreed.user !== user)
        throw partitionsDisagree(partitions, agreed);
    });
  }

  private live(): NodeRecord[] {
    const since = this.engine.now() - this.deps.limits.NODE_TTL_MS;
    return [...this.engine.nodes.values()]
      .filter(({ heardAt }) => heardAt > since)
      .map(({ record }) => record);
  }

  private leaseOf(group: ConsumerGroup, partition: number) {
    const key = this.engine.keys.lease(group, partition);
    const lease = this.engine.leases.get(key) ?? { owner: "", epoch: 0, until: 0, turn: 0 };
    this.engine.leases.set(key, lease);
    return lease;
  }
}
