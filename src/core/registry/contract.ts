/**
 * The registry: which nodes live, and who owns which partition. Redis in production, memory in the
 * simulator. Time is the registry's own (Redis TIME), so clocks of nodes need not agree.
 *
 * A node that misses heartbeats for NODE_TTL_MS is dead to the others. A partition belongs to the
 * holder of its lease; a lease that is not renewed for LEASE_TTL_MS may be taken over, which raises
 * its epoch by one. Renewal never changes the epoch. Epochs never go back, not even when a lease
 * is released, because the counter outlives the lease.
 */
import type { ConsumerGroup, Partitions, Role } from "../topology.ts";
import type { NodeId } from "../trunk/node_id.ts";

export interface NodeRecord {
  readonly id: NodeId;
  readonly roles: readonly Role[];
  readonly host: string;
  /** 0 where the node does not listen. */
  readonly trunkPort: number;
  readonly httpPorts: Partial<Record<Role, number>>;
  readonly adminPort: number;
  readonly version: string;
  /** Unix ms. */
  readonly startedAt: number;
  /** True once the node drains: it keeps what it has and is given nothing new. */
  readonly draining: boolean;
}

export interface OwnedPartition {
  readonly partition: number;
  readonly epoch: number;
}

export interface LeaseState {
  readonly partition: number;
  readonly owner: NodeId | null;
  readonly epoch: number;
}

export interface Registry {
  /** Announces this node, replacing its record, and returns every live node, itself included. */
  heartbeat(self: NodeRecord): Promise<NodeRecord[]>;
  /** Every live node, for those who only look. */
  nodes(): Promise<NodeRecord[]>;
  /** Says that this node is gone, at once. */
  leave(self: NodeId): Promise<void>;
  /**
   * Renews what `self` holds of `group` and takes free partitions until it holds `quota`.
   * Returns what it now holds, with epochs. A partition that it held and that is missing is lost.
   */
  lease(group: ConsumerGroup, self: NodeId, quota: number): Promise<OwnedPartition[]>;
  /** Gives a partition up for others to take at once; no effect if the epoch is not current. */
  release(group: ConsumerGroup, self: NodeId, owned: OwnedPartition): Promise<void>;
  /** All leases of a group, for `status` and for alerts. */
  leases(group: ConsumerGroup): Promise<LeaseState[]>;
  /**
   * Records the partition counts at the very first start, and rejects with both counts when a
   * later start is configured differently.
   */
  agreePartitions(partitions: Partitions): Promise<void>;
}
