/**
 * This process as a member of the cluster: it heartbeats, knows every live node, and says when the
 * set changes. A node that cannot reach the registry keeps the last list it saw: with Redis away,
 * links between nodes go on working and nobody is declared dead.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Limits } from "../limits.ts";
import type { Heartbeat, NodeRecord, Registry } from "../registry/contract.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { ROLES, type Role } from "../topology.ts";
import type { NodeId } from "../trunk/node_id.ts";

export interface MembershipDeps {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

type Listener = (nodes: readonly NodeRecord[], gone: readonly NodeRecord[]) => void;

export class Membership {
  private readonly deps: MembershipDeps;
  private record: NodeRecord | null = null;
  private nodes: readonly NodeRecord[] = [];
  private signature = "";
  private readonly listeners: Listener[] = [];
  private timer: Timer | null = null;
  private beating = false;
  private failures = 0;
  private readonly lapseListeners: (() => void)[] = [];
  private readonly lossListeners: (() => void)[] = [];
  /** The Redis process that answered last, and when data was lost last as far as it knows. */
  private server = "";
  private lossAt = 0;
  /** Monotonic ms at which the last heartbeat that succeeded was sent. */
  private beatAt = 0;
  /** Monotonic ms until which nodes that are missing from the registry are not declared gone. */
  private graceUntil = Number.NEGATIVE_INFINITY;

  constructor(deps: MembershipDeps) {
    this.deps = deps;
  }

  /** Joins the cluster as `self`; rejects when the registry cannot be reached. */
  async start(self: NodeRecord): Promise<void> {
    this.record = self;
    this.beatAt = this.deps.clock.monotonic();
    const { lossAt, nodes, server } = await this.deps.registry.heartbeat(self);
    this.server = server;
    this.lossAt = lossAt;
    this.apply(nodes);
    this.timer = this.deps.clock.every(this.deps.limits.HEARTBEAT_NODE_MS, () => this.beat());
  }

  /** Called at each change of the set of live nodes, and once now if any are known. */
  onChange(listener: Listener): void {
    this.listeners.push(listener);
    if (this.nodes.length > 0) listener(this.nodes, []);
  }

  /**
   * Called when what this node announced to others may be forgotten, so that it announces it anew: it
   * was silent for so long that they may have declared it gone and acted on it, because it was paused
   * or could not reach the registry; or Redis is another process now, or does not know this node.
   */
  onLapse(listener: () => void): void {
    this.lapseListeners.push(listener);
  }

  /** Called when it comes to light, here or elsewhere, that Redis has lost data. */
  onDataLost(listener: () => void): void {
    this.lossListeners.push(listener);
  }

  /** Live nodes of `role` that take new work, sorted by id. */
  serving(role: Role): readonly NodeRecord[] {
    return this.nodes.filter((node) => node.roles.includes(role) && !node.draining);
  }

  isLive(id: NodeId): boolean {
    return this.nodes.some((node) => node.id === id);
  }

  /** The live node that does what one node does for all: that with the smallest id. */
  first(): NodeId | null {
    return this.nodes[0]?.id ?? null;
  }

  /** False while heartbeats fail. */
  isConnected(): boolean {
    return this.failures === 0;
  }

  /** Every live node, those included that take nothing new; sorted by id. */
  live(): readonly NodeRecord[] {
    return this.nodes;
  }

  /** Tells the others that this node, which joined as draining, takes work from now on. */
  async serve(): Promise<void> {
    if (this.record === null) return;
    this.record = { ...this.record, draining: false };
    this.apply((await this.deps.registry.heartbeat(this.record)).nodes);
  }

  /** Tells the others to give this node nothing new. */
  async drain(): Promise<void> {
    if (this.record === null) return;
    this.record = { ...this.record, draining: true };
    try {
      this.apply((await this.deps.registry.heartbeat(this.record)).nodes);
    } catch (error) {
      this.deps.telemetry.log.warn({ err: error }, "could not announce that this node drains");
    }
  }

  async leave(): Promise<void> {
    this.timer?.cancel();
    if (this.record === null) return;
    try {
      await this.deps.registry.leave(this.record.id);
    } catch (error) {
      this.deps.telemetry.log.warn(
        { err: error },
        "could not leave the registry; it will time out",
      );
    }
  }

  private beat(): void {
    if (this.beating || this.record === null) return;
    this.beating = true;
    const sentAt = this.deps.clock.monotonic();
    this.deps.registry
      .heartbeat(this.record)
      .then(
        (heard) => {
          this.failures = 0;
          this.beaten(sentAt, heard);
        },
        (error: unknown) => {
          this.failures++;
          this.deps.telemetry.metrics.redisErrors.inc({ operation: "heartbeat" });
          if (this.failures === 1) this.deps.telemetry.log.warn({ err: error }, "heartbeat failed");
        },
      )
      .finally(() => {
        this.beating = false;
      });
  }

  private beaten(sentAt: number, { known, lossAt, nodes, server }: Heartbeat): void {
    const { clock, limits } = this.deps;
    const now = clock.monotonic();
    const lapsed = now - this.beatAt >= limits.NODE_TTL_MS;
    this.beatAt = sentAt;
    // Nobody takes a node off the list that was heard just now, so the list itself is gone.
    const emptied = !known && !lapsed;
    const restarted = server !== this.server;
    const isForgotten = lapsed || emptied || restarted;
    this.server = server;
    // If it was the registry that was away, the others are back only with their next heartbeat.
    if (isForgotten) this.graceUntil = now + limits.NODE_TTL_MS;
    if (emptied) this.reportLoss();
    this.apply(nodes);
    if (isForgotten) this.announceAnew(lapsed, restarted);
    if (lossAt <= this.lossAt) return;
    this.lossAt = lossAt;
    for (const listener of this.lossListeners) listener();
  }

  private announceAnew(lapsed: boolean, restarted: boolean): void {
    this.deps.telemetry.log.warn({ lapsed, restarted }, "this node announces itself anew");
    for (const listener of this.lapseListeners) listener();
  }

  private reportLoss(): void {
    const { registry, telemetry } = this.deps;
    telemetry.metrics.dataLost.inc({ what: "nodes" });
    telemetry.log.error("Redis has lost data: it does not know this node any more");
    registry.reportLoss().catch((error: unknown) => {
      telemetry.log.warn({ err: error }, "could not tell the others that Redis has lost data");
    });
  }

  private apply(live: readonly NodeRecord[]): void {
    const inGrace = this.deps.clock.monotonic() < this.graceUntil;
    const kept = inGrace ? this.nodes.filter((old) => !live.some(({ id }) => id === old.id)) : [];
    const nodes = [...live, ...kept].sort((a, b) => (a.id < b.id ? -1 : 1));
    const signature = nodes.map((n) => `${n.id}${n.draining ? "-" : "+"}`).join();
    if (signature === this.signature) return;
    const gone = this.nodes.filter((old) => !nodes.some((node) => node.id === old.id));
    this.signature = signature;
    this.nodes = nodes;
    for (const role of ROLES) {
      const count = nodes.filter((node) => node.roles.includes(role)).length;
      this.deps.telemetry.metrics.nodes.set({ role }, count);
    }
    for (const node of gone) {
      this.deps.telemetry.log.warn({ peer: node.id }, "node is gone");
      if (!node.draining) this.deps.telemetry.metrics.nodesLost.inc();
    }
    for (const listener of this.listeners) listener(nodes, gone);
  }
}
