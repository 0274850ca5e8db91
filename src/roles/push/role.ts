/**
 * push: delivers. The owner of a user partition looks sessions up, sends through access, waits for
 * clients' acks, stores offline what was not acked, and replays when a user comes online.
 */
import type { Clock, Random } from "../../core/clock.ts";
import { sleep } from "../../core/clock.ts";
import { serveRole } from "../../core/http/http_server.ts";
import type { JobStore } from "../../core/jobs/contract.ts";
import { Announcer } from "../../core/lifecycle/announcer.ts";
import type { Membership } from "../../core/lifecycle/membership.ts";
import { Ownership } from "../../core/lifecycle/ownership.ts";
import type { Service } from "../../core/lifecycle/service.ts";
import type { Limits } from "../../core/limits.ts";
import type { OfflineStore } from "../../core/offline/contract.ts";
import type { Lease, Registry } from "../../core/registry/contract.ts";
import type { SessionDirectory } from "../../core/sessions/contract.ts";
import {
  type ReadBatch,
  StreamLostError,
  type StreamReader,
  type Streams,
} from "../../core/streams/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import type { ToPush } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import type { HookOutlet } from "../../core/webhooks/contract.ts";
import { createPushApi, type PushApiDeps } from "./api.ts";
import { DeadSessions } from "./dead_sessions.ts";
import { Evictions } from "./evictions.ts";
import { Outbox } from "./outbox.ts";
import { PushPartition } from "./partition.ts";
import { Watches } from "./watches.ts";

export interface PushDeps {
  readonly self: NodeId;
  readonly config: { readonly host: string; readonly port: number };
  readonly trunk: Trunk;
  readonly streams: Streams;
  /** Told what became of messages of push jobs. */
  readonly jobs: Pick<JobStore, "record">;
  readonly directory: SessionDirectory;
  readonly store: OfflineStore;
  readonly registry: Registry;
  readonly membership: Membership;
  readonly partitions: Partitions;
  readonly authorize: PushApiDeps["authorize"];
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  /** Opens the HTTP listener; `serveRole` when absent. The simulator has no sockets. */
  readonly serve?: typeof serveRole;
  readonly hooks?: HookOutlet;
}

export interface PushRole extends Service {
  readonly port: number;
}

export function createPushRole(deps: PushDeps): PushRole {
  return new Push(deps);
}

const TICK_MS = 250;
const ASSIGN_RETRY_MS = 300;
/** Most of a lease hand-over that is spent waiting for clients to ack what they have. */
const HAND_OVER_MS = 1_500;

class Push implements PushRole {
  readonly name = "push";
  private readonly deps: PushDeps;
  private readonly owned = new Map<number, PushPartition>();
  private readonly ownership: Ownership;
  private readonly announcer: Announcer;
  private readonly reader: StreamReader;
  private readonly outbox: Outbox;
  private readonly watches: Watches;
  private readonly deadSessions: DeadSessions;
  private server: ReturnType<typeof serveRole> | null = null;
  private draining = false;

  constructor(deps: PushDeps) {
    this.deps = deps;
    this.ownership = new Ownership(
      { ...deps, group: "push" },
      {
        onAcquired: (owned) => this.acquired(owned),
        onLost: (partition) => this.lost(partition),
        onRelease: ({ partition }) => this.release(partition),
        confirmedTurn: (partition) => this.owned.get(partition)?.confirmedTurn ?? 0,
      },
    );
    this.announcer = new Announcer("push", deps.trunk, () => this.ownership.owned());
    this.outbox = new Outbox(deps.trunk, deps.clock);
    this.watches = new Watches(this.outbox, deps.clock, deps.limits.WATCHES_MAX);
    this.deadSessions = new DeadSessions({ ...deps, owned: () => [...this.owned.keys()] });
    this.reader = deps.streams.reader(
      "push",
      (batches) => this.onBatches(batches),
      (error) => this.onReadError(error),
      () => this.ownership.isFresh(),
    );
  }

  get port(): number {
    return this.server?.port ?? 0;
  }

  async start(): Promise<void> {
    const { clock, config, directory, serve = serveRole, telemetry, trunk } = this.deps;
    trunk.attach({
      onUp: (peer) => {
        this.announcer.onUp(peer);
        for (const partition of this.owned.values()) partition.linkUp(peer);
      },
      onDown: (peer) => this.announcer.onDown(peer),
      onMessage: (peer, message) => {
        if (message.to === "push") this.onMessage(peer, message);
      },
    });
    this.server = serve({
      app: createPushApi({ ...this.deps, directory, evictions: new Evictions(this.deps) }),
      host: config.host,
      port: config.port,
      name: "push",
      blockers: () => this.blockers(),
      telemetry,
    });
    this.ownership.start();
    this.deadSessions.start();
    clock.every(TICK_MS, () => this.tick());
  }

  blockers(): string[] {
    if (this.server === null) return ["push has not started"];
    if (this.draining) return ["push drains"];
    return this.deps.membership.isConnected() ? [] : ["Redis cannot be reached"];
  }

  async drain(_budgetMs: number): Promise<void> {
    this.draining = true;
    await this.ownership.drain();
  }

  async stop(): Promise<void> {
    this.draining = true;
    this.ownership.stop();
    await Promise.all([this.reader.stop(), this.server?.stop()]);
  }

  private acquired(lease: Lease): void {
    const { limits, partitions } = this.deps;
    const { partition, epoch, verified } = lease;
    const owner = new PushPartition({
      ...this.deps,
      partition,
      epoch,
      verified,
      outbox: this.outbox,
      watches: this.watches,
      feedsMax: Math.ceil(limits.PRESENCE_CACHED_MAX / partitions.user),
      onFenced: (seen) => this.ownership.fenced(partition, seen),
      onPressure: (high) => {
        if (high) this.reader.pause(partition);
        else this.reader.resume(partition);
      },
    });
    this.owned.set(partition, owner);
    this.announcer.changed();
    void this.begin(lease, owner);
  }

  private async begin(lease: Lease, owner: PushPartition): Promise<void> {
    const { clock, registry, self, telemetry } = this.deps;
    const { partition } = lease;
    let assigned = false;
    while (this.owned.get(partition) === owner) {
      try {
        if (!assigned) await this.reader.assign(partition);
        assigned = true;
        await owner.recover();
        this.deadSessions.look(partition);
        if (await owner.searchRows()) await registry.verify("push", self, lease);
        return;
      } catch (error) {
        if (this.owned.get(partition) !== owner) return;
        telemetry.log.warn({ err: error, partition }, "taking a partition over failed; again");
        await sleep(clock, ASSIGN_RETRY_MS);
      }
    }
  }

  private lost(partition: number): void {
    this.owned.get(partition)?.stop();
    this.owned.delete(partition);
    this.reader.revoke(partition);
    this.watches.dropUsers((user) => this.partitionOf(user) === partition);
    this.announcer.changed();
  }

  private async release(partition: number): Promise<void> {
    this.reader.revoke(partition);
    await this.owned.get(partition)?.handOver(HAND_OVER_MS);
  }

  private onReadError(error: Error): void {
    const { registry, telemetry } = this.deps;
    telemetry.log.warn({ err: error }, "reading push_task failed");
    if (!(error instanceof StreamLostError)) return;
    registry.reportLoss().catch((failure: unknown) => {
      telemetry.log.warn({ err: failure }, "could not tell the others that Redis has lost data");
    });
  }

  private onBatches(batches: readonly ReadBatch[]): void {
    for (const { topic, partition, entries } of batches) {
      this.owned.get(partition)?.take(topic, entries);
    }
  }

  private onMessage(access: NodeId, message: ToPush): void {
    switch (message.t) {
      case "userAcks":
        for (const [user, address, msgIds] of message.items) {
          this.owned.get(this.partitionOf(user))?.acks(user, address, msgIds);
        }
        return;
      case "relay":
        for (const [users, frame] of message.items) {
          for (const user of users) this.owned.get(this.partitionOf(user))?.relay(user, frame);
        }
        return;
      case "watch":
        for (const [address, users] of message.items) {
          for (const user of users) this.watch(access, address, user);
        }
    }
  }

  private watch(access: NodeId, address: Parameters<Watches["add"]>[2], user: string): void {
    if (!this.watches.add(user, access, address)) {
      this.deps.telemetry.metrics.drops.inc({ reason: "watches_full" });
      return;
    }
    this.owned.get(this.partitionOf(user))?.look(user);
  }

  private tick(): void {
    // A paused process finds out here that its lease is over, before it acts on old knowledge.
    if (!this.ownership.isFresh()) return;
    let feeds = 0;
    let inFlight = 0;
    for (const owner of this.owned.values()) {
      owner.tick();
      feeds += owner.feedCount;
      inFlight += owner.inFlight;
    }
    this.watches.sweep();
    this.deps.telemetry.metrics.feeds.set(feeds);
    this.deps.telemetry.metrics.inFlight.set(inFlight);
  }

  private partitionOf(user: string): number {
    return partitionOf(user, this.deps.partitions.user);
  }
}
