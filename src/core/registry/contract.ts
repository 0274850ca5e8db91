/**
 * The registry: which nodes live, and who owns which partition. Redis in production, memory in the
 * simulator. Time is the registry's own (Redis TIME), so clocks of nodes need not agree.
 *
 * A node that misses heartbeats for NODE_TTL_MS is dead to the others. A partition belongs to the
 * holder of its lease; a lease that is not renewed for LEASE_TTL_MS may be taken over, which raises
 * its epoch. Renewal never changes the epoch. Epochs never go back: the counter outlives the lease,
 * and it is never behind the registry's clock, so that one that was forgotten is not given again.
 *
 * The registry also says when Redis has less than it confirmed. A node that renews a lease says what
 * it knows to have been there (the epoch, its last commit); a registry that knows less gives it the
 * partition under a new epoch and says `lost`. A node that takes a partition over learns which Redis
 * process granted it, whether an owner has found under that same process that nothing is missing,
 * and the last commit of the owners before, to compare with what is kept elsewhere.
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

/** A place in an owner's commits: later ones have a larger turn, or a later epoch. */
export interface CommitMark {
  readonly epoch: number;
  readonly turn: number;
}

export function isBehind(a: CommitMark, b: CommitMark): boolean {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.turn < b.turn);
}

/** What a node knows of a partition. */
export interface KnownCommit extends CommitMark {
  /** It gave the partition up since, so others may have committed after it. */
  readonly past?: boolean;
}

export interface Lease extends OwnedPartition {
  /** The Redis process that granted it. */
  readonly server: string;
  /** An owner under that same process found nothing missing, so nothing is. */
  readonly verified: boolean;
  /** The last commit of an owner that Redis knows of; zeros when there is none. */
  readonly last: CommitMark;
  /** Redis has lost what it confirmed to this node; the epoch is a new one. */
  readonly lost: boolean;
}

export interface Heartbeat {
  /** Every live node, this one included. */
  readonly nodes: readonly NodeRecord[];
  /** Which Redis process answered. */
  readonly server: string;
  /** False when this node was not listed any more, or not yet. */
  readonly known: boolean;
  /** When somebody noticed last that Redis had lost data, unix ms; 0 for never. */
  readonly lossAt: number;
}

export interface LeaseState {
  readonly partition: number;
  readonly owner: NodeId | null;
  readonly epoch: number;
}

export interface Registry {
  /** Announces this node, replacing its record. */
  heartbeat(self: NodeRecord): Promise<Heartbeat>;
  /** Every live node, for those who only look. */
  nodes(): Promise<NodeRecord[]>;
  /** Says that this node is gone, at once. */
  leave(self: NodeId): Promise<void>;
  /**
   * Renews what `self` holds of `group` and takes free partitions until it holds `quota`.
   * Returns what it now holds, with epochs. A partition that it held and that is missing is lost.
   * `known`, by partition: an epoch that existed, and the last commit confirmed under it to this
   * node. Of several free partitions those named first are taken first. Where the registry knows less, the epoch that is given is above it, unless somebody else
   * holds the partition.
   */
  lease(
    group: ConsumerGroup,
    self: NodeId,
    quota: number,
    known?: ReadonlyMap<number, KnownCommit>,
  ): Promise<Lease[]>;
  /** Records that nothing is missing, or that it was made good; no effect if it is not current. */
  verify(group: ConsumerGroup, self: NodeId, lease: Lease): Promise<void>;
  /** Records that Redis lost data; reports within LOSS_REPORT_MS of another one are that one. */
  reportLoss(): Promise<void>;
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

/** A loss is noticed by many, within moments; it is still one. */
export const LOSS_REPORT_MS = 5_000;
