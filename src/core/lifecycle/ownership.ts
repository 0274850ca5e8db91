/**
 * Partition ownership: keeps this node's share of a consumer group's partitions leased, tells the
 * role what it gained and lost, and hands over what is above its share.
 *
 * Spread: with P partitions and N serving nodes sorted by id, each node's quota is floor(P/N), and
 * the first P mod N nodes get one more. A node above its quota releases the excess; a node below it
 * takes what is free. So a joining node gets its share within about two renewals, and nobody's
 * partition moves without need.
 *
 * Two guards keep a late owner from doing harm. `isFresh` is the local one: it is false when the last
 * renewal began longer ago than the lease lasts, so a process that was paused finds out before it
 * acts. The epoch is the real one: Redis, the offline store and access refuse an earlier owner.
 *
 * At each renewal the registry is told what it once confirmed. Where it knows less, Redis has lost
 * data: the partition is lost, and acquired anew under a larger epoch.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Limits } from "../limits.ts";
import {
  type CommitMark,
  isBehind,
  type KnownCommit,
  type Lease,
  type OwnedPartition,
  type Registry,
} from "../registry/contract.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { type ConsumerGroup, type Partitions, partitionCount } from "../topology.ts";
import type { NodeId } from "../trunk/node_id.ts";
import type { Membership } from "./membership.ts";

export interface OwnershipDeps {
  readonly group: ConsumerGroup;
  readonly self: NodeId;
  readonly registry: Registry;
  readonly membership: Membership;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

export interface OwnershipHandlers {
  /** This node is the owner from now on. Synchronous; the role starts its recovery by itself. */
  onAcquired(lease: Lease): void;
  /** Somebody else may be the owner already: drop everything of the partition. */
  onLost(partition: number): void;
  /** Finish what is under way for the partition; the lease is given up when this settles. */
  onRelease(owned: OwnedPartition): Promise<void>;
  /** The turn of the last commit that was confirmed for the partition; 0 when there is none yet. */
  confirmedTurn(partition: number): number;
}

export class Ownership {
  private readonly deps: OwnershipDeps;
  private readonly handlers: OwnershipHandlers;
  private readonly held = new Map<number, number>();
  private readonly releasing = new Set<number>();
  /** Monotonic ms of the last release: an answer that was asked for before still counts it as held. */
  private readonly releasedAt = new Map<number, number>();
  /** What is known of partitions beside what is held: commits of before, epochs that others have seen. */
  private readonly past = new Map<number, CommitMark>();
  private renewedAt = Number.NEGATIVE_INFINITY;
  private renewing = false;
  private draining = false;
  private timer: Timer | null = null;

  constructor(deps: OwnershipDeps, handlers: OwnershipHandlers) {
    this.deps = deps;
    this.handlers = handlers;
  }

  start(): void {
    this.timer = this.deps.clock.every(this.deps.limits.LEASE_RENEW_MS, () => this.tick());
    this.deps.membership.onChange(() => this.tick());
  }

  /** The epoch under which this node owns `partition`, or 0. */
  epochOf(partition: number): number {
    return this.held.get(partition) ?? 0;
  }

  /** True while the lease certainly lasts by this node's own clock. */
  isFresh(): boolean {
    return this.deps.clock.monotonic() - this.renewedAt < this.deps.limits.LEASE_TTL_MS;
  }

  owned(): OwnedPartition[] {
    return [...this.held].map(([partition, epoch]) => ({ partition, epoch }));
  }

  /**
   * Says that a write was refused because a later owner exists. `seen` is that owner's epoch where
   * it is known. If Redis has given no such epoch, it has lost it, and is made to go on above it.
   */
  fenced(partition: number, seen = 0): void {
    this.deps.telemetry.metrics.fenced.inc({ group: this.deps.group });
    this.lose(partition);
    this.remember(partition, { epoch: seen, turn: 0 });
  }

  /** Gives everything up in good order; resolves when all leases are released. */
  async drain(): Promise<void> {
    this.draining = true;
    this.timer?.cancel();
    const renewals = this.deps.clock.every(this.deps.limits.LEASE_RENEW_MS, () => this.tick());
    await Promise.all(this.owned().map((owned) => this.release(owned)));
    renewals.cancel();
  }

  stop(): void {
    this.draining = true;
    this.timer?.cancel();
    for (const partition of [...this.held.keys()]) this.lose(partition);
  }

  private tick(): void {
    if (this.renewing) return;
    this.renewing = true;
    const startedAt = this.deps.clock.monotonic();
    this.deps.registry
      .lease(this.deps.group, this.deps.self, this.quota(), this.known())
      .then(
        (owned) => {
          this.renewedAt = startedAt;
          this.apply(owned, startedAt);
        },
        (error: unknown) => {
          this.deps.telemetry.metrics.redisErrors.inc({ operation: "lease" });
          this.deps.telemetry.log.debug({ err: error, group: this.deps.group }, "lease failed");
        },
      )
      .finally(() => {
        this.renewing = false;
      });
  }

  private quota(): number {
    if (this.draining) return 0;
    const count = partitionCount(this.deps.partitions, this.deps.group);
    const nodes = this.deps.membership.serving(this.deps.group);
    const rank = nodes.findIndex((node) => node.id === this.deps.self);
    if (rank < 0) return 0;
    const remainder = count % nodes.length;
    return Math.floor(count / nodes.length) + (rank < remainder ? 1 : 0);
  }

  private known(): Map<number, KnownCommit> {
    const known = new Map<number, KnownCommit>();
    for (const [partition, epoch] of this.held) {
      known.set(partition, { epoch, turn: this.handlers.confirmedTurn(partition) });
    }
    for (const [partition, mark] of [...this.past].reverse()) {
      if (!known.has(partition)) known.set(partition, { ...mark, past: true });
    }
    return known;
  }

  private remember(partition: number, mark: CommitMark): void {
    const known = this.past.get(partition);
    if (known !== undefined && !isBehind(known, mark)) return;
    // The one lost last is to be the last: it is the first that is asked for again.
    this.past.delete(partition);
    this.past.set(partition, mark);
  }

  private apply(answered: readonly Lease[], askedAt: number): void {
    const owned = answered.filter(({ partition }) => {
      return (this.releasedAt.get(partition) ?? Number.NEGATIVE_INFINITY) < askedAt;
    });
    const now = new Map(owned.map(({ partition, epoch }) => [partition, epoch]));
    for (const [partition, epoch] of [...this.held]) {
      if (now.get(partition) !== epoch) this.lose(partition);
    }
    for (const lease of owned) {
      const { partition } = lease;
      if (lease.lost) this.reportLoss(lease);
      if (!this.held.has(partition) && !this.releasing.has(partition)) this.gain(lease);
    }
    let excess = this.held.size - this.releasing.size - this.quota();
    for (const { partition, epoch } of this.owned()) {
      if (excess <= 0) break;
      if (this.releasing.has(partition)) continue;
      excess--;
      void this.release({ partition, epoch });
    }
  }

  private reportLoss({ partition, epoch }: Lease): void {
    const { group, registry, telemetry } = this.deps;
    telemetry.metrics.dataLost.inc({ what: "lease" });
    telemetry.log.error({ group, partition, epoch }, "Redis has lost data that it confirmed");
    // Every node's report says the same; that of another one will do.
    registry.reportLoss().catch((error: unknown) => {
      telemetry.log.warn({ err: error }, "could not tell the others that Redis has lost data");
    });
  }

  private gain(lease: Lease): void {
    const { group, telemetry } = this.deps;
    const { partition, epoch } = lease;
    this.held.set(partition, epoch);
    telemetry.metrics.takeovers.inc({ group });
    telemetry.metrics.partitionEpoch.set({ group, partition: `${partition}` }, epoch);
    telemetry.log.info({ group, partition, epoch }, "partition acquired");
    this.handlers.onAcquired(lease);
  }

  private lose(partition: number): void {
    const epoch = this.held.get(partition);
    if (epoch === undefined) return;
    this.held.delete(partition);
    this.remember(partition, { epoch, turn: this.handlers.confirmedTurn(partition) });
    const { group, telemetry } = this.deps;
    telemetry.metrics.partitionEpoch.remove({ group, partition: `${partition}` });
    telemetry.log.info({ group, partition }, "partition lost");
    this.handlers.onLost(partition);
  }

  private async release(owned: OwnedPartition): Promise<void> {
    const { group, registry, self, telemetry } = this.deps;
    if (this.releasing.has(owned.partition)) return;
    this.releasing.add(owned.partition);
    try {
      await this.handlers.onRelease(owned);
      this.lose(owned.partition);
      await registry.release(group, self, owned);
      this.releasedAt.set(owned.partition, this.deps.clock.monotonic());
    } catch (error) {
      telemetry.log.warn({ err: error, group, ...owned }, "release failed; the lease will expire");
    } finally {
      this.releasing.delete(owned.partition);
    }
  }
}
