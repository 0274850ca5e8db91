/** One process of the simulated cluster: the real code of one role, on doubles of what is around it. */
import type { Hono } from "hono";
import type { serveRole } from "../core/http/http_server.ts";
import { MemoryJobs } from "../core/jobs/memory_jobs.ts";
import { Membership } from "../core/lifecycle/membership.ts";
import type { Service } from "../core/lifecycle/service.ts";
import { LIMITS } from "../core/limits.ts";
import { ChatifyError } from "../core/protocol/errors.ts";
import { MemoryPushes } from "../core/pushes/memory_pushes.ts";
import type { NodeRecord } from "../core/registry/contract.ts";
import { MemoryRegistry } from "../core/registry/memory_registry.ts";
import type { Relations } from "../core/relations/contract.ts";
import { MemorySessions } from "../core/sessions/memory_sessions.ts";
import type { MemoryEngine } from "../core/streams/memory_engine.ts";
import { MemoryStreams } from "../core/streams/memory_streams.ts";
import { MemoryTags } from "../core/tags/memory_tags.ts";
import type { Telemetry } from "../core/telemetry/telemetry.ts";
import type { Partitions, Role } from "../core/topology.ts";
import type { MemoryTrunkHub } from "../core/trunk/memory_trunk.ts";
import { createAccessRole } from "../roles/access/role.ts";
import { drainClients } from "../roles/gateway/drain.ts";
import { Hub } from "../roles/gateway/hub.ts";
import { createContentCheck } from "../roles/logic/content_check.ts";
import { createLogicRole } from "../roles/logic/role.ts";
import { createPushRole } from "../roles/push/role.ts";
import type { Host } from "./host.ts";
import type { RedisLink, RedisServer } from "./redis_server.ts";
import type { SeamContext, Seams } from "./seams.ts";
import { SimTrunk } from "./sim_trunk.ts";
import { StoreLink, type StoreServer } from "./store_link.ts";

export interface Surroundings {
  readonly engine: MemoryEngine;
  readonly redis: RedisServer;
  readonly hub: MemoryTrunkHub;
  readonly store: StoreServer;
  readonly relations: Relations;
  readonly partitions: Partitions;
  readonly users: readonly string[];
  readonly seams: Seams;
  readonly telemetry: (host: Host) => Telemetry;
}

export interface Node {
  readonly role: Role;
  readonly host: Host;
  readonly link: RedisLink;
  /** Of a gateway. */
  readonly gateway: Hub | null;
  /** The HTTP application of a logic or push node, once it serves. */
  app: Hono | null;
  /** True from the moment at which it is asked to stop. */
  draining: boolean;
  /** Hands over and ends, as after SIGTERM. */
  stop(): Promise<void>;
}

/** Bound like the one on Redis: each call takes a round trip, and a dead caller hears nothing. */
function through<T extends object>(link: RedisLink, what: T): T {
  return new Proxy(what, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== "function") return method;
      return (...args: unknown[]) => link.perform("relations", () => method.apply(target, args));
    },
  });
}

function createParts(around: Surroundings, role: Role, host: Host) {
  const { engine, hub, partitions, redis, relations, seams, users } = around;
  const link = redis.connect(host);
  const telemetry = around.telemetry(host);
  const context: SeamContext = { role, host, link, engine, random: host.random, users };
  const { clock, random } = host;
  const base = { engine, access: link, clock, partitions, telemetry, limits: LIMITS };
  const memoryTrunk = hub.node(host.id);
  host.whenKilled(() => hub.crash(host.id, random.between(0, 300)));
  const streams = new MemoryStreams({ ...base, nodeId: host.id });
  const directory = new MemorySessions(base);
  const pushes = new MemoryPushes(base);
  const jobs = new MemoryJobs({ ...base, retentionS: JOB_RETENTION_S });
  const registry = new MemoryRegistry(base);
  const store = new StoreLink(around.store, host, random.fork());
  const own = seams.registry?.(registry, context) ?? registry;
  return {
    self: host.id,
    link,
    ...base,
    random,
    streams: seams.streams?.(streams, context) ?? streams,
    directory: seams.directory?.(directory, context) ?? directory,
    registry: own,
    jobs,
    pushes,
    tags: new MemoryTags(base),
    relations: through(link, relations),
    store: seams.store?.(store, context) ?? store,
    trunk: new SimTrunk(memoryTrunk, host, seams.trunk?.(context) ?? {}),
    membership: new Membership({ registry: own, clock, telemetry, limits: LIMITS }),
  };
}

type Parts = ReturnType<typeof createParts>;

const JOB_RETENTION_S = 3_600;
const DEDUP_SEED = 0x6368617469667931n;

/** Starts a process; `onFailed` is called when it could not start, as if it had exited. */
export function startNode(
  around: Surroundings,
  role: Exclude<Role, "offline">,
  host: Host,
  onFailed: () => void,
): Node {
  const parts = createParts(around, role, host);
  const { membership, trunk } = parts;
  let service: Service | null = null;
  const node: Node = {
    role,
    host,
    link: parts.link,
    gateway: role === "gateway" ? createHub(parts) : null,
    app: null,
    draining: false,
    async stop() {
      node.draining = true;
      await membership.drain();
      if (node.gateway !== null) await drainGateway(node.gateway, parts);
      await service?.drain(LIMITS.DRAIN_MS / 2);
      await service?.stop();
      await membership.leave();
      trunk.stop();
      host.kill();
    },
  };
  service = createService(role, parts, (app) => {
    node.app = app;
  });
  host.clock.endOfTurn(() => {
    join(parts, role, service, node).catch(onFailed);
  });
  return node;
}

function createHub(parts: Parts): Hub {
  const { membership } = parts;
  return new Hub({
    ...parts,
    selfNode: parts.self,
    accessNodes: () => membership.serving("access"),
    onLapse: (listener) => membership.onLapse(listener),
    onDataLost: (listener) => membership.onDataLost(listener),
  });
}

function createService(role: Role, parts: Parts, served: (app: Hono) => void): Service | null {
  const config = { host: "127.0.0.1", port: 0 };
  const serve: typeof serveRole = ({ app }) => {
    served(app);
    return { port: 1, stop: async () => {} };
  };
  const authorize = (_: unknown, next: () => Promise<void>) => next();
  const shared = { ...parts, config, serve, authorize };
  if (role === "access") return createAccessRole(parts);
  if (role === "push") return createPushRole(shared);
  if (role !== "logic") return null;
  return createLogicRole({
    ...shared,
    windows: parts.store,
    contentCheck: createContentCheck([]),
    dedupSeed: DEDUP_SEED,
  });
}

/** The order of src/node.ts: roles, trunk, and only then does anybody else hear of this node. */
async function join(parts: Parts, role: Role, service: Service | null, node: Node): Promise<void> {
  const { membership, partitions, registry, self, trunk } = parts;
  await registry.agreePartitions(partitions);
  await service?.start();
  node.gateway?.start();
  trunk.start();
  const listens = role === "access";
  membership.onChange((nodes) => {
    const peers = nodes.filter((other) => other.roles.includes("access") && other.id !== self);
    const dialled = peers.filter((other) => !listens || self < other.id);
    trunk.dial(dialled.map(({ id, host, trunkPort: port }) => ({ id, host, port })));
  });
  const record: NodeRecord = {
    id: self,
    roles: [role],
    host: "127.0.0.1",
    trunkPort: listens ? 1 : 0,
    httpPorts: {},
    adminPort: 0,
    version: "sim",
    startedAt: parts.clock.now(),
    draining: false,
  };
  membership.onDataLost(() => void registry.agreePartitions(partitions).catch(() => {}));
  await membership.start(record);
}

async function drainGateway(hub: Hub, parts: Parts): Promise<void> {
  const { clock, random } = parts;
  const spreadMs = 1_000;
  await drainClients({ hub, clock, random, spreadMs }, LIMITS.DRAIN_MS / 4);
  hub.stop();
}

/** Posts text that is read as it comes; rejects as `post` does. */
export async function upload(app: Hono, path: string, text: string): Promise<Response> {
  // Made here: what Bun makes of a text needs turns of the real event loop to be read.
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });
  const response = await app.fetch(new Request(`http://sim${path}`, { method: "POST", body }));
  if (response.status >= 500) throw new ChatifyError("unavailable", `HTTP ${response.status}`);
  return response;
}

/** Asks an HTTP application as a client would; null when the process died before it answered. */
export async function post(
  app: Hono,
  path: string,
  body: unknown,
  method = "POST",
): Promise<Response> {
  const headers = { "content-type": "application/json" };
  const request = new Request(`http://sim${path}`, { method, headers, body: JSON.stringify(body) });
  const response = await app.fetch(request);
  if (response.status >= 500) throw new ChatifyError("unavailable", `HTTP ${response.status}`);
  return response;
}
