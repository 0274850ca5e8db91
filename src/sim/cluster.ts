/** The processes of a world: who runs, who comes back after a crash, and who can be picked. */
import { LIMITS } from "../core/limits.ts";
import { MemoryRelations } from "../core/relations/memory_relations.ts";
import { MemoryEngine } from "../core/streams/memory_engine.ts";
import type { Telemetry } from "../core/telemetry/telemetry.ts";
import type { Partitions, Role } from "../core/topology.ts";
import { MemoryTrunkHub } from "../core/trunk/memory_trunk.ts";
import { Host, worldClock } from "./host.ts";
import { MemoryStore } from "./memory_store.ts";
import { type Node, type Surroundings, startNode } from "./node.ts";
import { RedisServer } from "./redis_server.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Seams } from "./seams.ts";
import type { SeededRandom } from "./seeded_random.ts";
import type { StoreServer } from "./store_link.ts";

export const PARTITIONS: Partitions = { chat: 4, user: 4 };

export interface ClusterOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly seams: Seams;
  readonly users: readonly string[];
  readonly telemetry: (host: Host) => Telemetry;
}

const RESTART_MS = 400;

export class Cluster {
  readonly engine: MemoryEngine;
  readonly redis: RedisServer;
  readonly hub: MemoryTrunkHub;
  readonly database = new MemoryStore();
  readonly store: StoreServer;
  readonly relations: MemoryRelations;
  readonly nodes: Node[] = [];
  readonly users: readonly string[];
  private readonly around: Surroundings;
  private incarnations = 0;
  private servers = 1;
  /** Redis has lost data that it had confirmed. */
  lostData = false;

  constructor(private readonly options: ClusterOptions) {
    const { random, scheduler, seams, telemetry, users } = options;
    const clock = worldClock(scheduler);
    this.users = users;
    this.engine = new MemoryEngine(clock);
    seams.engine?.(this.engine);
    this.redis = new RedisServer(scheduler, random.fork(), () => {
      this.engine.server = `server-${++this.servers}`;
    });
    this.hub = new MemoryTrunkHub(clock, LIMITS);
    this.relations = new MemoryRelations({ clock, limits: LIMITS });
    this.store = {
      host: this.newHost("offline"),
      store: seams.database?.(this.database) ?? this.database,
      errors: 0,
      lostReplies: 0,
    };
    this.around = {
      ...{ seams, telemetry, users, partitions: PARTITIONS },
      ...{ engine: this.engine, redis: this.redis, hub: this.hub },
      ...{ store: this.store, relations: this.relations },
    };
  }

  start(role: Exclude<Role, "offline">): Node {
    const host = this.newHost(role);
    const node = startNode(this.around, role, host, () => {
      // A process that cannot start exits, and its supervisor starts another.
      host.kill();
      this.options.scheduler.after(RESTART_MS, () => this.start(role));
    });
    this.nodes.push(node);
    host.whenKilled(() => {
      this.nodes.splice(this.nodes.indexOf(node), 1);
    });
    return node;
  }

  /** Another offline process, on the same database. */
  restartStore(): void {
    if (!this.store.host.alive) this.store.host = this.newHost("offline");
  }

  of(role: Role): Node[] {
    return this.nodes.filter((node) => node.role === role);
  }

  /** Every process, the offline one included. */
  hosts(): Host[] {
    return [...this.nodes.map((node) => node.host), this.store.host];
  }

  pause(node: Node): void {
    node.host.pause();
    node.link.paused();
    // A peer that hears nothing for so long takes the link down; a new one cannot be made.
    this.options.scheduler.after(LIMITS.TRUNK_TIMEOUT_MS, () => {
      if (!node.host.paused) return;
      for (const other of this.nodes) {
        if (other === node) continue;
        this.hub.block(node.host.id, other.host.id);
        this.hub.cut(node.host.id, other.host.id);
      }
    });
  }

  resume(node: Node): void {
    for (const other of this.nodes) this.hub.unblock(node.host.id, other.host.id);
    node.host.resume();
  }

  private newHost(role: string): Host {
    const { random, scheduler } = this.options;
    this.incarnations++;
    return new Host(`${role}.${this.incarnations}`, scheduler, random.fork());
  }
}
