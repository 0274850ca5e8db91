/** The registry in memory, for the simulator: what the scripts of the one in Redis do, as code. */
import type { Limits } from "../limits.ts";
import {
  directAccess,
  type HeldLease,
  type MemoryAccess,
  type MemoryEngine,
} from "../streams/memory_engine.ts";
import { type ConsumerGroup, type Partitions, partitionCount } from "../topology.ts";
import type { NodeId } from "../trunk/node_id.ts";
import {
  type Heartbeat,
  isBehind,
  type KnownCommit,
  type Lease,
  type LeaseState,
  LOSS_REPORT_MS,
  type NodeRecord,
  type OwnedPartition,
  type Registry,
} from "./contract.ts";
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

  heartbeat(self: NodeRecord): Promise<Heartbeat> {
    return this.access.perform("heartbeat", () => {
      const heardAt = this.engine.now();
      const known = this.engine.nodes.get(self.id);
      // A copy, as others get it from Redis; most heartbeats repeat the record of the one before.
      const record = known?.given === self ? known.record : structuredClone(self);
      this.engine.nodes.set(self.id, { heardAt, given: self, record });
      const { lossAt, server } = this.engine;
      return { nodes: this.live(), server, known: known !== undefined, lossAt };
    });
  }

  nodes(): Promise<NodeRecord[]> {
    return this.access.perform("nodes", () => this.live());
  }

  leave(self: NodeId): Promise<void> {
    return this.access.perform("leave", () => void this.engine.nodes.delete(self));
  }

  lease(
    group: ConsumerGroup,
    self: NodeId,
    quota: number,
    known: ReadonlyMap<number, KnownCommit> = new Map(),
  ): Promise<Lease[]> {
    return this.access.perform("lease", () => {
      const order = searchOrder(self, partitionCount(this.deps.partitions, group), known.keys());
      const owned: Lease[] = [];
      for (const take of [false, true]) {
        for (const partition of order) {
          if (take && (owned.length >= quota || owned.some((l) => l.partition === partition)))
            continue;
          const lease = this.leaseEach(group, self, partition, take, known.get(partition));
          if (lease !== null) owned.push(lease);
        }
      }
      return owned.sort((a, b) => a.partition - b.partition);
    });
  }

  verify(group: ConsumerGroup, self: NodeId, lease: Lease): Promise<void> {
    return this.access.perform("verify", () => {
      const held = this.leaseOf(group, lease.partition);
      const isCurrent = held.owner === self && held.epoch === lease.epoch;
      if (isCurrent && held.server === lease.server) held.verified = lease.server;
    });
  }

  reportLoss(): Promise<void> {
    return this.access.perform("report_loss", () => {
      const now = this.engine.now();
      if (now - this.engine.lossAt >= LOSS_REPORT_MS) this.engine.lossAt = now;
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

  /** What lease.lua does. */
  private leaseEach(
    group: ConsumerGroup,
    self: NodeId,
    partition: number,
    take: boolean,
    known: KnownCommit = { epoch: 0, turn: 0 },
  ): Lease | null {
    const { engine } = this;
    const now = engine.now();
    const lease = this.leaseOf(group, partition);
    if (lease.turn > 0) Object.assign(lease, { wasEpoch: lease.epoch, wasTurn: lease.turn });
    const holds = lease.owner === self;
    const lost = isBehind(lease, known);
    const isWitness = !known.past && known.epoch === lease.epoch && known.turn > 0;
    const unsure = holds && !isWitness && lease.server !== engine.server;
    const until = now + this.deps.limits.LEASE_TTL_MS;
    if (holds && !lost && !unsure) {
      lease.until = until;
      return leaseFrom(partition, lease, false);
    }
    if (!holds && lease.owner !== "" && lease.until > now) return null;
    if (!holds && !(lost && !known.past) && !take) return null;
    const epoch = Math.max(lease.epoch + 1, now, lost ? known.epoch + 1 : 0);
    Object.assign(lease, { owner: self, epoch, until, turn: 0, server: engine.server });
    return leaseFrom(partition, lease, lost);
  }

  private live(): NodeRecord[] {
    const since = this.engine.now() - this.deps.limits.NODE_TTL_MS;
    return [...this.engine.nodes.values()]
      .filter(({ heardAt }) => heardAt > since)
      .map(({ record }) => record);
  }

  private leaseOf(group: ConsumerGroup, partition: number): HeldLease {
    const key = this.engine.keys.lease(group, partition);
    const known = this.engine.leases.get(key);
    if (known !== undefined) return known;
    const none = { owner: "", epoch: 0, until: 0, turn: 0 };
    const lease = { ...none, server: "", verified: "", wasEpoch: 0, wasTurn: 0 };
    this.engine.leases.set(key, lease);
    return lease;
  }
}

function leaseFrom(partition: number, lease: HeldLease, lost: boolean): Lease {
  const { epoch, server, verified, wasEpoch, wasTurn } = lease;
  const last = { epoch: wasEpoch, turn: wasTurn };
  return { partition, epoch, server, verified: server !== "" && verified === server, last, lost };
}
