/**
 * offline: keeps what could not be delivered until its user confirms it. The store is one SQL
 * database; push reaches it through `store` in the same process and over HTTP from others.
 */
import type { Hono, MiddlewareHandler } from "hono";
import { type Clock, type Random, sleep, systemRandom, type Timer } from "../../core/clock.ts";
import { type RoleServer, serveRole } from "../../core/http/http_server.ts";
import type { JobStore } from "../../core/jobs/contract.ts";
import type { Present } from "../../core/ledger/present.ts";
import type { SegmentSink } from "../../core/ledger/store.ts";
import type { Service } from "../../core/lifecycle/service.ts";
import { LIMITS } from "../../core/limits.ts";
import type { OfflineStore } from "../../core/offline/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { OfflineEngine } from "./engine.ts";
import { LedgerKeeper } from "./ledger_keeper.ts";
import { ObservedStore } from "./observed_store.ts";
import { openOfflineStore, sqlitePath } from "./open_store.ts";
import { createOfflineApp, refuseAll } from "./routes.ts";
import { Sweeper } from "./sweeper.ts";
import type { WebPushRoutesDeps } from "./web_push/routes.ts";
import type { Dispatcher, DispatcherDeps } from "./webhooks/dispatcher.ts";

export interface OfflineRoleDeps {
  readonly config: {
    readonly databaseUrl: string;
    readonly host: string;
    /** 8023 by convention; 0 picks a free one. */
    readonly port: number;
    readonly clusterSecret: string;
  };
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly random?: Random;
  /** Guards the public routes; without it they refuse everybody. */
  readonly authorize?: MiddlewareHandler;
  /** Tells push of rows that came over the public route; see OfflineAppDeps. */
  readonly announceRows?: (userId: string) => Promise<void>;
  /** Told of messages of push jobs that are confirmed over HTTP. */
  readonly jobs?: Pick<JobStore, "record">;
  /** How long the ledger is kept, and what tells with it where a message is; null keeps none. */
  readonly ledger?: LedgerOptions | null;
  /** Webhooks and Web Push; absent where there is no Redis to keep what is to be told. */
  readonly hooks?: HookOptions;
  /** How many other offline nodes live; more than none rules SQLite out. */
  readonly otherOfflineNodes?: () => Promise<number>;
}

export interface LedgerOptions {
  readonly retentionHours: number;
  readonly bytesMax: number;
  readonly present: Present;
  /** Makes what this process recorded findable. */
  readonly flush: () => Promise<void>;
}

export interface HookOptions {
  readonly webPush: WebPushRoutesDeps;
  /** Null where nobody is to be told anything. */
  readonly dispatcher: (row: DispatcherDeps["row"]) => Dispatcher | null;
}

export interface OfflineRole extends Service {
  readonly app: Hono;
  /** Takes segments from `start()` on. */
  readonly segments: SegmentSink;
  /** Works from `start()` on; before that, and after `stop()`, its calls are unavailable. */
  readonly store: OfflineStore;
  /** The port it listens on, once started. */
  readonly port: number;
}

export function createOfflineRole(deps: OfflineRoleDeps): OfflineRole {
  return new Offline(deps);
}

/** How often a cheap read asks whether the database is there. */
const PROBE_EVERY_MS = 1_000;
const OTHERS_POLL_MS = 250;

class Offline implements OfflineRole {
  readonly name = "offline";
  readonly app: Hono;
  readonly store: ObservedStore;
  private readonly sweeper: Sweeper;
  private readonly keeper: LedgerKeeper | null;
  private readonly dispatcher: Dispatcher | null;
  private engine: OfflineEngine | null = null;
  private server: RoleServer | null = null;
  private probe: Timer | null = null;
  private probing = false;
  private draining = false;

  constructor(private readonly deps: OfflineRoleDeps) {
    const { authorize = refuseAll, clock, config, random = systemRandom, telemetry } = deps;
    this.store = new ObservedStore({ opened: () => this.engine, clock, telemetry });
    const { clusterSecret } = config;
    const store = this.store;
    const announceRows = deps.announceRows ?? (() => Promise.resolve());
    const { jobs } = deps;
    const own = { store, clusterSecret, authorize, announceRows, jobs };
    const base = { ...own, clock, random, telemetry };
    const { ledger = null } = deps;
    const holders = (msgId: string, limit: number) => store.holders(msgId, limit);
    const trace = ledger === null ? null : { ...ledger, ledger: store.ledger, holders, clock };
    const webPush = deps.hooks?.webPush ?? null;
    this.app = createOfflineApp({ ...base, trace, webPush });
    this.dispatcher = deps.hooks?.dispatcher((user, msgId) => store.row(user, msgId)) ?? null;
    this.keeper = ledger && new LedgerKeeper({ ...ledger, ledger: store.ledger, clock, telemetry });
    this.sweeper = new Sweeper({ store, clock, telemetry });
  }

  get segments(): SegmentSink {
    return this.store.ledger;
  }

  get port(): number {
    return this.server?.port ?? this.deps.config.port;
  }

  async start(): Promise<void> {
    const { clock, config, random = systemRandom, telemetry } = this.deps;
    await this.refuseSharedSqlite();
    this.engine = await openOfflineStore({ url: config.databaseUrl, clock, telemetry });
    try {
      const { host, port } = config;
      const { app, name } = this;
      const blockers = () => this.blockers();
      this.server = serveRole({ app, host, port, name, blockers, telemetry, clock, random });
    } catch (error) {
      await this.closeStore();
      throw error;
    }
    this.sweeper.start();
    this.keeper?.start();
    this.dispatcher?.start();
    this.probe = clock.every(PROBE_EVERY_MS, () => void this.ask());
    telemetry.log.info(
      { engine: this.engine.engine, port: this.port },
      "the offline store is open",
    );
  }

  blockers(): string[] {
    if (this.engine === null) return ["the offline store is not open"];
    const blockers = this.draining ? ["draining"] : [];
    if (this.store.failure !== null) blockers.push(this.store.failure);
    return blockers;
  }

  /** Readers and writers come from push, which drains first, so there is nothing to hand over. */
  async drain(): Promise<void> {
    this.draining = true;
  }

  async stop(): Promise<void> {
    this.probe?.cancel();
    await this.server?.stop();
    await Promise.all([this.sweeper.stop(), this.keeper?.stop(), this.dispatcher?.stop()]);
    await this.closeStore();
  }

  private async closeStore(): Promise<void> {
    const engine = this.engine;
    this.engine = null;
    await engine?.close();
  }

  private async refuseSharedSqlite(): Promise<void> {
    const { clock, config, otherOfflineNodes } = this.deps;
    if (otherOfflineNodes === undefined || sqlitePath(config.databaseUrl) === null) return;
    // One that was killed counts as live until NODE_TTL_MS; whoever replaces it waits that out.
    const deadline = clock.monotonic() + LIMITS.NODE_TTL_MS + PROBE_EVERY_MS;
    let others = await otherOfflineNodes();
    while (others > 0 && clock.monotonic() < deadline) {
      await sleep(clock, OTHERS_POLL_MS);
      others = await otherOfflineNodes();
    }
    if (others === 0) return;
    throw new Error(
      `${others} other offline node(s) live in this cluster, and a SQLite store serves one; ` +
        "stop them, or set OFFLINE_DATABASE_URL to a Postgres database on all",
    );
  }

  private async ask(): Promise<void> {
    if (this.probing) return;
    this.probing = true;
    // Its outcome is kept by the store itself, where readiness looks.
    await this.store.cursorOf("readiness-probe", "").catch(() => null);
    this.probing = false;
  }
}
