/**
 * logic: consumes `chat_input`. The owner of a partition validates, checks content and permission,
 * recognises repetitions, numbers, resolves recipients and hands over to push, in one commit per
 * batch. Beside that, the HTTP API: system push, groups, block lists.
 */
import type { Clock, Random, Timer } from "../../core/clock.ts";
import { sleep } from "../../core/clock.ts";
import { serveRole } from "../../core/http/http_server.ts";
import type { JobStore } from "../../core/jobs/contract.ts";
import { Announcer } from "../../core/lifecycle/announcer.ts";
import type { Membership } from "../../core/lifecycle/membership.ts";
import { Ownership } from "../../core/lifecycle/ownership.ts";
import type { Service } from "../../core/lifecycle/service.ts";
import type { Limits } from "../../core/limits.ts";
import type { ChatMarks } from "../../core/offline/contract.ts";
import type { WindowStore } from "../../core/offline/window_store.ts";
import { chatInputBody, encodeChatInput } from "../../core/protocol/chat_input.ts";
import type { PushStore } from "../../core/pushes/contract.ts";
import type { Lease, OwnedPartition, Registry } from "../../core/registry/contract.ts";
import type { Relations } from "../../core/relations/contract.ts";
import type { SessionDirectory } from "../../core/sessions/contract.ts";
import {
  type ReadBatch,
  StreamLostError,
  type StreamReader,
  type Streams,
} from "../../core/streams/contract.ts";
import type { Tags } from "../../core/tags/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import type { SignalTuple } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import { closedOutlet, type HookOutlet } from "../../core/webhooks/contract.ts";
import { createLogicApi } from "./api.ts";
import { ChatMarker } from "./chat_marker.ts";
import type { ContentCheck } from "./content_check.ts";
import { JobIntake } from "./job_intake.ts";
import { JOBS } from "./job_routes.ts";
import { JobRunner } from "./job_runner.ts";
import { PartitionWorker } from "./partition_worker.ts";
import { PushGate } from "./push_gate.ts";
import { PushOnce } from "./push_once.ts";
import { PushRates } from "./push_rates.ts";
import { sendReplies } from "./replies.ts";
import type { SendGate } from "./send_gate.ts";
import type { Finding } from "./seq_range.ts";
import { resolveSignals } from "./signals.ts";
import { SystemPushIntake } from "./system_push.ts";

export interface LogicDeps {
  readonly self: NodeId;
  readonly config: {
    readonly host: string;
    readonly port: number;
    /** Messages per second, all callers together and each; 0, or absent, for no limit. */
    readonly pushRate?: number;
    readonly pushRatePerCaller?: number;
    /** What may wait in `push_task`; without a bound when absent. */
    readonly pushBacklogBytes?: number;
  };
  readonly trunk: Trunk;
  readonly streams: Streams;
  readonly pushes: PushStore;
  readonly jobs: JobStore;
  readonly tags: Tags;
  readonly directory: Pick<SessionDirectory, "scan">;
  /** Where idempotency windows are kept beside Redis. */
  readonly windows: WindowStore;
  readonly relations: Relations;
  readonly store: ChatMarks;
  readonly registry: Registry;
  readonly membership: Membership;
  readonly partitions: Partitions;
  readonly contentCheck: ContentCheck;
  readonly dedupSeed: bigint;
  readonly authorize: Parameters<typeof createLogicApi>[0]["authorize"];
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  /** Opens the HTTP listener; `serveRole` when absent. The simulator has no sockets. */
  readonly serve?: typeof serveRole;
  /** Asked before messages are sent, where there is one. */
  readonly gate?: SendGate | null;
  readonly hooks?: HookOutlet;
}

export interface LogicRole extends Service {
  readonly port: number;
}

export function createLogicRole(deps: LogicDeps): LogicRole {
  return new Logic(deps);
}

const RECOVER_RETRY_MS = 300;
const TICK_MS = 1_000;
/** How long a node remembers what it numbered in a partition that it has lost. */
const UNSAVED_KEPT_MS = 20_000;

class Logic implements LogicRole {
  readonly name = "logic";
  private readonly deps: LogicDeps;
  private readonly workers = new Map<number, PartitionWorker>();
  private readonly ownership: Ownership;
  private readonly announcer: Announcer;
  private readonly intake: SystemPushIntake;
  /** What the route of system pushes asks before it hands anything to `intake`. */
  private readonly push: {
    readonly once: PushOnce;
    readonly rates: PushRates;
    readonly gate: PushGate;
  };
  private readonly jobRunner: JobRunner;
  private readonly marker: ChatMarker;
  /** Of partitions lost lately, what SQL had not got yet: if Redis has lost it, this is all there is. */
  private readonly unsaved = new Map<number, readonly string[]>();
  private readonly reader: StreamReader;
  private server: ReturnType<typeof serveRole> | null = null;
  private timer: Timer | null = null;
  private draining = false;

  constructor(deps: LogicDeps) {
    this.deps = deps;
    this.ownership = new Ownership(
      { ...deps, group: "logic" },
      {
        onAcquired: (owned) => this.acquired(owned),
        onLost: (partition) => this.lost(partition),
        onRelease: (owned) => this.release(owned),
        confirmedTurn: (partition) => this.workers.get(partition)?.confirmedTurn ?? 0,
      },
    );
    this.announcer = new Announcer("logic", deps.trunk, () => this.ownership.owned());
    this.intake = new SystemPushIntake(deps);
    const { pushBacklogBytes, pushRate = 0, pushRatePerCaller = 0 } = deps.config;
    const backlogBytesMax = pushBacklogBytes ?? Number.POSITIVE_INFINITY;
    this.push = {
      once: new PushOnce(deps),
      rates: new PushRates({ ...deps, rate: pushRate, ratePerCaller: pushRatePerCaller }),
      gate: new PushGate({ ...deps, backlogBytesMax }),
    };
    this.jobRunner = new JobRunner({ ...deps, gate: this.push.gate });
    this.marker = new ChatMarker(deps);
    this.reader = deps.streams.reader(
      "logic",
      (batches) => this.onBatches(batches),
      (error) => this.onReadError(error),
      () => this.ownership.isFresh(),
    );
  }

  get port(): number {
    return this.server?.port ?? 0;
  }

  async start(): Promise<void> {
    const { config, serve = serveRole, trunk, telemetry } = this.deps;
    trunk.attach({
      onUp: (peer) => this.announcer.onUp(peer),
      onDown: (peer) => this.announcer.onDown(peer),
      onMessage: (peer, message) => {
        if (message.to === "logic") void this.onSignals(peer, message.items);
      },
    });
    const app = createLogicApi({
      ...this.deps,
      intake: this.intake,
      ...this.push,
      jobIntake: new JobIntake({ ...this.deps, onReady: (id) => this.jobRunner.wake(id) }),
      notices: { changed: (conversation) => this.announceChange(conversation) },
    });
    this.server = serve({
      app,
      host: config.host,
      port: config.port,
      name: "logic",
      blockers: () => this.blockers(),
      telemetry,
      streamed: [JOBS],
    });
    this.jobRunner.start();
    this.deps.membership.onLapse(() => this.forgetConversations());
    this.ownership.start();
    this.timer = this.deps.clock.every(TICK_MS, () => this.tick());
  }

  blockers(): string[] {
    if (this.server === null) return ["logic has not started"];
    if (this.draining) return ["logic drains"];
    return this.deps.membership.isConnected() ? [] : ["Redis cannot be reached"];
  }

  async drain(_budgetMs: number): Promise<void> {
    this.draining = true;
    await Promise.all([this.ownership.drain(), this.intake.idle(), this.jobRunner.stop()]);
    await this.marker.drain();
  }

  async stop(): Promise<void> {
    this.draining = true;
    this.timer?.cancel();
    this.ownership.stop();
    await Promise.all([this.jobRunner.stop(), this.reader.stop(), this.server?.stop()]);
  }

  private acquired(lease: Lease): void {
    const { partition, epoch } = lease;
    const unsaved = this.unsaved.get(partition) ?? [];
    this.unsaved.delete(partition);
    const worker = new PartitionWorker({
      ...this.deps,
      gate: this.deps.gate ?? null,
      hooks: this.deps.hooks ?? closedOutlet,
      partition,
      epoch,
      lease,
      unsaved,
      marker: this.marker,
      reply: (replies) => sendReplies(this.deps.trunk, replies),
      onFenced: () => this.ownership.fenced(partition),
      onPressure: (high) => {
        if (high) this.reader.pause(partition);
        else this.reader.resume(partition);
      },
    });
    this.workers.set(partition, worker);
    this.announcer.changed();
    void this.recover(lease, worker);
  }

  private async recover(lease: Lease, worker: PartitionWorker): Promise<void> {
    const { clock, telemetry } = this.deps;
    const { partition } = lease;
    while (this.workers.get(partition) === worker) {
      try {
        const finding = await worker.recover();
        if (finding !== "intact") await this.verified(lease, finding);
        if (this.workers.get(partition) !== worker) return;
        await this.reader.assign(partition);
        return;
      } catch (error) {
        if (this.workers.get(partition) !== worker) return;
        telemetry.log.warn({ err: error, partition }, "taking a partition over failed; again");
        await sleep(clock, RECOVER_RETRY_MS);
      }
    }
  }

  private tick(): void {
    const { dedupEntries, dedupUnsaved } = this.deps.telemetry.metrics;
    let entries = 0;
    let unsavedChars = 0;
    for (const worker of this.workers.values()) {
      worker.tick();
      entries += worker.dedupEntries;
      unsavedChars += worker.unsavedChars;
    }
    dedupEntries.set(entries);
    dedupUnsaved.set(unsavedChars);
  }

  /** The numbers are safe from here on, whatever this Redis process has lost before. */
  private async verified(lease: Lease, finding: Finding): Promise<void> {
    const { registry, self, telemetry } = this.deps;
    const { partition } = lease;
    await registry.verify("logic", self, lease);
    if (finding !== "lost" || lease.lost) return;
    telemetry.metrics.dataLost.inc({ what: "numbers" });
    telemetry.log.error({ partition }, "Redis has lost data: SQL knows of later messages");
    await registry.reportLoss();
  }

  private lost(partition: number): void {
    const worker = this.workers.get(partition);
    if (worker !== undefined) this.keepUnsaved(partition, worker.unsavedTexts());
    worker?.stop();
    this.workers.delete(partition);
    this.reader.revoke(partition);
    this.announcer.changed();
  }

  private keepUnsaved(partition: number, texts: readonly string[]): void {
    this.unsaved.set(partition, texts);
    this.deps.clock.after(UNSAVED_KEPT_MS, () => {
      if (this.unsaved.get(partition) === texts) this.unsaved.delete(partition);
    });
  }

  private async release({ partition }: OwnedPartition): Promise<void> {
    this.reader.revoke(partition);
    const worker = this.workers.get(partition);
    await worker?.idle();
    worker?.close();
  }

  /** With entries of `chat_input` Redis loses notices that a conversation has changed. */
  private forgetConversations(): void {
    for (const worker of this.workers.values()) worker.conversations.forgetAll();
  }

  private onReadError(error: Error): void {
    const { registry, telemetry } = this.deps;
    telemetry.log.warn({ err: error }, "reading chat_input failed");
    if (!(error instanceof StreamLostError)) return;
    this.forgetConversations();
    registry.reportLoss().catch((failure: unknown) => {
      telemetry.log.warn({ err: failure }, "could not tell the others that Redis has lost data");
    });
  }

  private onBatches(batches: readonly ReadBatch[]): void {
    for (const { partition, entries } of batches) this.workers.get(partition)?.take(entries);
  }

  private async onSignals(access: NodeId, items: readonly SignalTuple[]): Promise<void> {
    try {
      const relays = await resolveSignals(items, (conversation) => {
        return this.workers.get(partitionOf(conversation, this.deps.partitions.chat));
      });
      if (relays.length > 0) {
        this.deps.trunk.send(access, { to: "access", t: "relay", items: relays });
      }
    } catch (error) {
      this.deps.telemetry.metrics.drops.inc({ reason: "signal" }, items.length);
      this.deps.telemetry.log.debug({ err: error }, "signals could not be resolved");
    }
  }

  /** Appends the internal item that makes the conversation's owner forget what it cached. */
  private async announceChange(conversation: string): Promise<void> {
    const { clock, partitions, self, streams } = this.deps;
    const isGroup = conversation.startsWith("g:");
    const item = encodeChatInput([
      conversation,
      "",
      "",
      "",
      "CONTROL",
      isGroup ? "GROUP" : "USER",
      conversation,
      '{"op":"chatify.changed"}',
      0,
      clock.now(),
      "",
      self,
      0,
      "",
    ]);
    const partition = partitionOf(conversation, partitions.chat);
    const append = { topic: "chat_input", partition, body: chatInputBody([item]) } as const;
    const [result] = await streams.append([append]);
    if (result instanceof Error) throw result;
  }
}
