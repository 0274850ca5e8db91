/**
 * Where a bug can be planted: around the contracts that the roles are given, inside the doubles, and
 * in the clients. Without a planted bug every seam is absent and the roles get the doubles as they
 * are. Nothing outside the simulator knows of this file.
 */
import type { OfflineStore } from "../core/offline/contract.ts";
import type { Registry } from "../core/registry/contract.ts";
import type { SessionDirectory } from "../core/sessions/contract.ts";
import type { Streams } from "../core/streams/contract.ts";
import type { MemoryEngine } from "../core/streams/memory_engine.ts";
import type { Role } from "../core/topology.ts";
import type { Host } from "./host.ts";
import type { RedisLink } from "./redis_server.ts";
import type { SeededRandom } from "./seeded_random.ts";
import type { TrunkTap } from "./sim_trunk.ts";

/** The process that gets what is wrapped. */
export interface SeamContext {
  readonly role: Role;
  readonly host: Host;
  readonly link: RedisLink;
  readonly engine: MemoryEngine;
  readonly random: SeededRandom;
  /** All users of the world. */
  readonly users: readonly string[];
}

export interface Seams {
  /** Once per world, before any process starts. */
  engine?(engine: MemoryEngine): void;
  streams?(streams: Streams, context: SeamContext): Streams;
  directory?(directory: SessionDirectory, context: SeamContext): SessionDirectory;
  registry?(registry: Registry, context: SeamContext): Registry;
  /** What a push or logic process takes for the store. */
  store?(store: OfflineStore, context: SeamContext): OfflineStore;
  /** Inside the offline process, once per world. */
  database?(store: OfflineStore): OfflineStore;
  trunk?(context: SeamContext): TrunkTap;
  /** What a gateway's socket reports for a text that it dropped; 0 when it is honest. */
  droppedSend?: number;
  /** Every text for a connection is also written to a connection of somebody else. */
  leak?: boolean;
  /** Clients repeat what is unanswered under a new client message id. */
  freshClientIds?: boolean;
}
