/**
 * A Redis Cluster as one lane: a lane to each master, and the map that says which of them a key is
 * at. The map is asked for every second, and at once when a reply or a lost connection says that it
 * is old. Nothing is sent again from here: a command that came to the wrong node was not executed
 * and rejects as `unavailable`, and whoever repeats it finds the new one. To repeat it from here
 * would put it behind commands for the same slot that were given later.
 */
import calculateSlot from "cluster-key-slot";
import type { Redis } from "ioredis";
import { type Clock, sleep, type Timer } from "../clock.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Endpoint } from "./address.ts";
import type { CommandLane } from "./command_lane.ts";
import { Lane } from "./lane.ts";
import { notConnected, replyCode } from "./redis_error.ts";
import type { Script } from "./script.ts";
import { nameOf, SlotMap } from "./slot_map.ts";

export interface ClusterDeps {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly seeds: readonly Endpoint[];
  /** True where certificates are checked, which are made out to names. */
  readonly byName: boolean;
  readonly open: (name: string, extraMs: number, at: Endpoint) => Redis;
}

interface Master {
  readonly lane: Lane;
  readonly connection: Redis;
}

const REFRESH_MS = 1_000;
/** Between two questions that trouble gave rise to. */
const REFRESH_PAUSE_MS = 50;
const SEED_MS = 1_500;
const POLL_MS = 10;

/** The map of one process, and what keeps it true. */
export class ClusterMap {
  readonly slots = new SlotMap();
  private readonly listeners: (() => void)[] = [];
  private readonly timer: Timer;
  private asking = false;
  private askAgain = false;
  private turn = 0;
  private closed = false;
  /** Connections that may be asked; the lanes put theirs here. */
  readonly known = new Map<string, { readonly connection: Redis; readonly at: Endpoint }>();

  constructor(private readonly deps: ClusterDeps) {
    this.timer = deps.clock.every(REFRESH_MS, () => this.refresh());
    this.refresh();
  }

  /** Called after each answer. */
  onAnswer(listener: () => void): void {
    this.listeners.push(listener);
  }

  locate(key: string): Endpoint | null {
    return this.slots.ownerOf(calculateSlot(key));
  }

  /** Takes what a reply or a failure says about the map. */
  trouble(error: Error | null, from: Endpoint): void {
    if (error !== null && replyCode(error) === "MOVED") this.slots.moved(error.message, from);
    this.refresh();
  }

  refresh(): void {
    if (this.asking) {
      this.askAgain = true;
      return;
    }
    this.asking = true;
    void this.askUntilQuiet();
  }

  close(): void {
    this.closed = true;
    this.timer.cancel();
  }

  private async askUntilQuiet(): Promise<void> {
    do {
      this.askAgain = false;
      const answered = await this.ask();
      if (this.closed) return;
      if (answered) for (const listener of this.listeners) listener();
      if (this.askAgain) await sleep(this.deps.clock, REFRESH_PAUSE_MS);
    } while (this.askAgain && !this.closed);
    this.asking = false;
  }

  /** Asks one node, another each time; where none is connected, the seeds one after the other. */
  private async ask(): Promise<boolean> {
    const ready = [...this.known.values()].filter(
      ({ connection }) => connection.status === "ready",
    );
    const next = ready[this.turn++ % Math.max(1, ready.length)];
    if (next !== undefined && (await this.learnFrom(next.connection, next.at))) return true;
    for (const at of this.deps.seeds) {
      if (this.closed) return false;
      const connection = this.deps.open("seed", 0, at);
      const learned = await this.learnFrom(connection, at);
      connection.disconnect();
      if (learned) return true;
    }
    return false;
  }

  private async learnFrom(connection: Redis, at: Endpoint): Promise<boolean> {
    const { byName, clock } = this.deps;
    const deadline = clock.monotonic() + SEED_MS;
    while (connection.status !== "ready") {
      if (clock.monotonic() > deadline || this.closed) return false;
      await sleep(clock, POLL_MS);
    }
    const answer = connection.call("CLUSTER", ["NODES"]).then(String, () => null);
    const late = sleep(clock, SEED_MS).then(() => null);
    const nodes = await Promise.race([answer, late]);
    if (nodes === null) return false;
    this.slots.learn(nodes, at, byName);
    return true;
  }
}

export class ClusterLanes implements CommandLane {
  private readonly masters = new Map<string, Master>();

  constructor(
    private readonly map: ClusterMap,
    private readonly deps: ClusterDeps,
    private readonly name: string,
    private readonly waitMs?: number,
  ) {
    map.onAnswer(() => this.follow());
    this.follow();
  }

  isReady(): boolean {
    if (this.masters.size === 0 || !this.map.slots.isWhole()) return false;
    return [...this.masters.values()].every(({ lane }) => lane.isReady());
  }

  read(operation: string, name: string, args: string[]): Promise<unknown> {
    const lane = this.laneOf(args[0] ?? "");
    return lane?.read(operation, name, args) ?? Promise.reject(notConnected(operation));
  }

  write(operation: string, name: string, args: string[]): Promise<unknown> {
    const lane = this.laneOf(args[0] ?? "");
    return lane?.write(operation, name, args) ?? Promise.reject(notConnected(operation));
  }

  script(operation: string, script: Script, keys: string[], args: string[]): Promise<unknown> {
    const lane = this.laneOf(keys[0] ?? "");
    return lane?.script(operation, script, keys, args) ?? Promise.reject(notConnected(operation));
  }

  /** The lane to the master that `key` is at; null while nobody is known to serve it. */
  laneOf(key: string): Lane | null {
    const at = this.map.locate(key);
    return at === null ? null : this.masterAt(at).lane;
  }

  lanes(): Lane[] {
    return [...this.masters.values()].map(({ lane }) => lane);
  }

  close(): void {
    for (const { connection } of this.masters.values()) connection.disconnect();
  }

  /** Connects to new masters, and leaves those that are none any more: what they owe is unknown. */
  private follow(): void {
    const masters = this.map.slots.masters();
    for (const at of masters) this.masterAt(at);
    const names = new Set(masters.map(nameOf));
    for (const [name, { connection }] of this.masters) {
      if (names.has(name)) continue;
      this.masters.delete(name);
      if (this.map.known.get(name)?.connection === connection) this.map.known.delete(name);
      connection.disconnect();
    }
  }

  private masterAt(at: Endpoint): Master {
    const name = nameOf(at);
    const found = this.masters.get(name);
    if (found !== undefined) return found;
    const { clock, metrics } = this.deps;
    const connection = this.deps.open(this.name, this.waitMs ?? 0, at);
    connection.on("close", () => this.map.trouble(null, at));
    const onRefused = (error: Error) => this.map.trouble(error, at);
    const wait = this.waitMs === undefined ? {} : { waitMs: this.waitMs };
    const master = {
      connection,
      lane: new Lane({ connection, clock, metrics, onRefused, ...wait }),
    };
    this.masters.set(name, master);
    if (this.waitMs === undefined) this.map.known.set(name, { connection, at });
    return master;
  }
}
