/**
 * One process of the cluster: everything it needs, constructed in the open, and the roles that ROLE
 * names. The order of start: Redis, agreement on partitions, roles (which attach to the trunk and
 * open their ports), trunk, membership. Only then does anybody else hear of this node.
 */
import { readFileSync } from "node:fs";
import pack from "../package.json";
import { apiDocument } from "./api_document.ts";
import { CachedApiKeys } from "./core/auth/cached_api_keys.ts";
import { RedisApiKeys } from "./core/auth/redis_api_keys.ts";
import { createTokenVerifier, signToken, type TokenVerifier } from "./core/auth/tokens.ts";
import { sleep, systemClock, systemRandom } from "./core/clock.ts";
import type { Config } from "./core/config.ts";
import { apiAuth } from "./core/http/api_auth.ts";
import { RedisJobs } from "./core/jobs/redis_jobs.ts";
import { HttpSegmentSink } from "./core/ledger/http_sink.ts";
import { createNodeLedger, type NodeLedger } from "./core/ledger/node_ledger.ts";
import { RedisPresent } from "./core/ledger/redis_present.ts";
import type { SegmentSink } from "./core/ledger/store.ts";
import { Membership } from "./core/lifecycle/membership.ts";
import type { Service } from "./core/lifecycle/service.ts";
import { assertLimits, LIMITS } from "./core/limits.ts";
import type { OfflineStore } from "./core/offline/contract.ts";
import { type Endpoint, HttpOfflineStore } from "./core/offline/http_store.ts";
import { ChatifyError } from "./core/protocol/errors.ts";
import { RedisPushes } from "./core/pushes/redis_pushes.ts";
import { createRedis } from "./core/redis/client.ts";
import type { NodeRecord } from "./core/registry/contract.ts";
import { RedisRegistry } from "./core/registry/redis_registry.ts";
import { RedisRelations } from "./core/relations/redis_relations.ts";
import type { SessionDirectory, UserStateEvent } from "./core/sessions/contract.ts";
import { RedisSessions } from "./core/sessions/redis_sessions.ts";
import { RedisStreams } from "./core/streams/redis_streams.ts";
import { RedisTags } from "./core/tags/redis_tags.ts";
import { serveAdmin } from "./core/telemetry/admin.ts";
import { ClusterReport } from "./core/telemetry/cluster_report.ts";
import { createLog } from "./core/telemetry/log.ts";
import { createMetrics } from "./core/telemetry/metrics.ts";
import { startProcessMetrics } from "./core/telemetry/process_metrics.ts";
import type { Telemetry } from "./core/telemetry/telemetry.ts";
import { createTracer } from "./core/telemetry/trace.ts";
import { partitionOf, type Role } from "./core/topology.ts";
import type { NodeId } from "./core/trunk/node_id.ts";
import { TcpTrunk } from "./core/trunk/tcp_trunk.ts";
import { Outlet } from "./core/webhooks/outlet.ts";
import { hookOptions, sendGate } from "./node_webhooks.ts";
import { createAccessRole } from "./roles/access/role.ts";
import { createGatewayRole } from "./roles/gateway/role.ts";
import { createContentCheck, parseWordList } from "./roles/logic/content_check.ts";
import { createLogicRole } from "./roles/logic/role.ts";
import { createOfflineRole, type LedgerOptions, type OfflineRole } from "./roles/offline/role.ts";
import { createPushRole } from "./roles/push/role.ts";

export const VERSION: string = pack.version;

const clock = systemClock;
const random = systemRandom;
const limits = LIMITS;
const LINK_POLL_MS = 10;
const DAY_S = 86_400;
/** Most of a stop, or of a question, that is spent on handing the ledger's last events over. */
const LEDGER_FLUSH_MS = 1_000;

/** What all roles of the process share. */
function createShared(
  config: Config,
  redisUrl: string,
  self: NodeId,
  telemetry: Telemetry,
  trail: NodeLedger,
) {
  const { durability, partitions } = config;
  const redis = createRedis(redisUrl, {
    clock,
    log: telemetry.log,
    metrics: telemetry.metrics,
    prefix: config.keyPrefix,
    durability,
    ca: config.redisCaFile === null ? undefined : readFileSync(config.redisCaFile, "utf8"),
  });
  const base = { redis, clock, telemetry, limits, partitions };
  const directory = new RedisSessions(base);
  const registry = new RedisRegistry({ redis, partitions, limits });
  const verifier = tokenVerifier(config);
  const issuedKeys = new CachedApiKeys(new RedisApiKeys(redis), clock);
  return {
    self,
    redis,
    registry,
    trail,
    verifier,
    streams: new RedisStreams({ ...base, nodeId: self }),
    directory,
    tags: new RedisTags(base),
    pushes: new RedisPushes(base),
    jobs: new RedisJobs({ ...base, retentionS: config.jobRetentionDays * DAY_S }),
    relations: new RedisRelations(base),
    trunk: new TcpTrunk({ self, secret: config.clusterSecret, clock, random, telemetry, limits }),
    hooks: new Outlet({ ...base, config: config.webhooks }),
    membership: new Membership({ registry, clock, telemetry, limits }),
    authorize: apiAuth({
      authMode: config.authMode,
      apiKeys: config.apiKeys,
      issuedKeys,
      verifier: callerTokens(verifier, directory),
      telemetry,
    }),
  };
}

type Shared = ReturnType<typeof createShared>;

export interface RunningNode {
  readonly id: string;
  readonly gatewayPort: number | null;
  readonly log: Telemetry["log"];
  /** Hands over and ends; resolves when everything is released. */
  stop(): Promise<void>;
}

/** Starts the roles of `config`; rejects, with nothing left running, when one cannot start. */
export async function startNode(
  config: Config,
  redisUrl: string,
  page: Bun.HTMLBundle | undefined,
): Promise<RunningNode> {
  assertLimits(limits);
  // A node id names one incarnation: what another start of this process left behind is not ours.
  const self = `${config.nodeId}.${random.token(6)}`;
  const seen = { log: createLog(config), metrics: createMetrics() };
  const trail = createNodeLedger({ self, clock, telemetry: seen, limits, config });
  const { ledger } = trail;
  const telemetry: Telemetry = { ...seen, tracer: await createTracer(config), ledger };
  startProcessMetrics(telemetry.metrics, { version: VERSION, roles: config.roles, clock });
  const shared = createShared(config, redisUrl, self, telemetry, trail);
  const roles: Service[] = [];
  // Roles that do not exist yet complain of nothing, so until all are there the process does.
  let phase: string | null = "the process starts";
  const blockers = () => roles.flatMap((role) => role.blockers()).concat(phase ?? []);
  const admin = serveAdmin({ config, metrics: telemetry.metrics, blockers });
  const report = new ClusterReport({ ...shared, clock, telemetry, ...config });
  const stop = async () => {
    phase = "the process stops";
    report.stop();
    shared.hooks.stop();
    await drain(roles, shared);
    // While the store is still there, and before its nodes forget this one.
    await trail.flush(LEDGER_FLUSH_MS);
    trail.stop();
    await Promise.all(roles.map((role) => role.stop()));
    await shared.membership.leave();
    shared.trunk.stop();
    shared.redis.close();
    await telemetry.tracer.shutdown().catch((error: unknown) => {
      telemetry.log.warn({ err: error }, "the last spans could not be exported");
    });
    await admin.stop();
  };
  try {
    await shared.redis.ready();
    await shared.registry.agreePartitions(config.partitions);
    if (config.embedded) await forgetKilled(shared);
    await createRoles(config, shared, telemetry, page, roles);
    await join(config, shared, telemetry, roles);
    phase = null;
    report.start();
    shared.hooks.start();
  } catch (error) {
    await stop();
    throw error;
  }
  const gatewayPort = portsOf(roles).gateway ?? null;
  return { id: shared.self, gatewayPort, log: telemetry.log, stop };
}

/** In the way of a message, so that each finds what it hands over to still working. */
async function drain(roles: readonly Service[], shared: Shared): Promise<void> {
  await shared.membership.drain();
  const inOrder = ["gateway", "access", "logic", "push", "offline"];
  const sorted = [...roles].sort((a, b) => inOrder.indexOf(a.name) - inOrder.indexOf(b.name));
  for (const role of sorted) await role.drain(limits.DRAIN_MS / 2);
}

/** Starts the roles, the store first, because push asks it as soon as it owns something. */
async function createRoles(
  config: Config,
  shared: Shared,
  telemetry: Telemetry,
  page: Bun.HTMLBundle | undefined,
  roles: Service[],
): Promise<void> {
  const { host, partitions, ports } = config;
  const base = { ...shared, clock, random, telemetry, limits, partitions };
  const run = async <S extends Service>(role: S): Promise<S> => {
    roles.push(role);
    await role.start();
    return role;
  };
  const has = (role: Role) => config.roles.includes(role);
  let offline: OfflineRole | null = null;
  if (has("offline")) {
    const { clusterSecret, offlineDatabaseUrl: databaseUrl } = config;
    const own = { host, port: ports.offline, clusterSecret, databaseUrl };
    const otherOfflineNodes = () => othersWith("offline", shared);
    const announceRows = (user: string) => announceStored(shared, config, user);
    offline = await run(
      createOfflineRole({
        ...base,
        config: own,
        otherOfflineNodes,
        announceRows,
        ledger: ledgerOptions(config, shared),
        hooks: hookOptions(config, base),
      }),
    );
  }
  shared.trail.shipTo(offline?.segments ?? remoteSegments(config, shared));
  const store = offline?.store ?? remoteStore(config, shared);
  if (has("push")) {
    await run(createPushRole({ ...base, config: { host, port: ports.push }, store }));
  }
  if (has("logic")) {
    const contentCheck = createContentCheck(wordsOf(config));
    const dedupSeed = Bun.hash.wyhash(config.clusterSecret, 0x63686174696679n);
    const { pushBacklogBytes, pushRate, pushRatePerCaller } = config;
    const push = { pushBacklogBytes, pushRate, pushRatePerCaller };
    const own = { host, port: ports.logic, ...push };
    const gate = sendGate(config, base);
    const more = { store, windows: store, contentCheck, dedupSeed, gate };
    await run(createLogicRole({ ...base, config: own, ...more }));
  }
  if (has("access")) await run(createAccessRole(base));
  if (has("gateway")) {
    const { admissionRate, allowedOrigins, authMode } = config;
    await run(
      createGatewayRole({
        ...base,
        config: { host, port: ports.gateway, authMode, allowedOrigins, admissionRate },
        selfNode: shared.self,
        accessNodes: () => shared.membership.serving("access"),
        roleNodes: (role) => shared.membership.serving(role),
        onLapse: (listener) => shared.membership.onLapse(listener),
        onDataLost: (listener) => shared.membership.onDataLost(listener),
        apiDocument,
        page: authMode === "dev" ? page : undefined,
        ...devTokens(config),
      }),
    );
  }
}

/** Opens the trunk, dials who must be dialled, and tells the cluster that this node is there. */
async function join(
  config: Config,
  shared: Shared,
  telemetry: Telemetry,
  roles: readonly Service[],
): Promise<void> {
  const { membership, self, trunk } = shared;
  const listens = config.roles.includes("access");
  const trunkPort = listens ? trunk.listen({ host: config.host, port: config.ports.trunk }) : 0;
  if (!listens) trunk.start();
  // Everybody talks to access. Of two access nodes the one with the smaller id dials the other.
  membership.onChange((nodes) => {
    const peers = nodes.filter((node) => node.roles.includes("access") && node.id !== self);
    const dialled = peers.filter((node) => !listens || self < node.id);
    trunk.dial(dialled.map(({ id, host, trunkPort: port }) => ({ id, host, port })));
  });
  const record: NodeRecord = {
    id: self,
    roles: config.roles,
    host: config.advertiseHost,
    trunkPort,
    httpPorts: portsOf(roles),
    adminPort: config.adminPort,
    version: VERSION,
    startedAt: clock.now(),
    draining: true,
  };
  // With everything else Redis may have forgotten which partition counts were agreed.
  membership.onDataLost(() => {
    shared.registry.agreePartitions(config.partitions).catch((error: unknown) => {
      telemetry.log.error({ err: error }, "the partition counts could not be agreed anew");
    });
  });
  await membership.start(record);
  await untilLinked(shared, listens);
  await membership.serve();
}

/**
 * Waits for a link to everybody who is there already. Of two nodes the later one does so, before it
 * is given anything: without a link an owner's `sent` would have no way back to its client. Nodes
 * that died without a word are waited for until the registry has forgotten them, and no longer.
 */
async function untilLinked({ membership, self, trunk }: Shared, listens: boolean): Promise<void> {
  const there = membership.live().filter(({ roles }) => listens || roles.includes("access"));
  const isMissing = ({ id }: NodeRecord) => id !== self && membership.isLive(id) && !trunk.isUp(id);
  const deadline = clock.monotonic() + limits.NODE_TTL_MS;
  while (there.some(isMissing) && clock.monotonic() < deadline) await sleep(clock, LINK_POLL_MS);
}

/** Rows that did not come from the user's push owner: it hears of them in stream order. */
async function announceStored(shared: Shared, config: Config, user: string): Promise<void> {
  const partition = partitionOf(user, config.partitions.user);
  const event: UserStateEvent = ["stored", user, "", "", "", 0, 0, 0];
  const append = { topic: "user_state", partition, body: JSON.stringify([event]) } as const;
  const [result] = await shared.streams.append([append]);
  if (result instanceof Error) throw result;
}

function portsOf(roles: readonly Service[]): Partial<Record<Role, number>> {
  const ports: Partial<Record<Role, number>> = {};
  for (const role of roles) {
    if ("port" in role && typeof role.port === "number") ports[role.name as Role] = role.port;
  }
  return ports;
}

/** Nobody can join an embedded cluster, so whoever is still in its registry was killed. */
async function forgetKilled({ registry }: Shared): Promise<void> {
  for (const { id } of await registry.nodes()) await registry.leave(id);
}

async function othersWith(role: Role, shared: Shared): Promise<number> {
  const nodes = await shared.registry.nodes();
  return nodes.filter((node) => node.roles.includes(role) && node.id !== shared.self).length;
}

function offlineEndpoints({ membership }: Shared): () => Endpoint[] {
  return () =>
    membership
      .serving("offline")
      .map(({ host, httpPorts }) => ({ host, port: httpPorts.offline ?? 0 }));
}

function remoteStore({ clusterSecret }: Config, shared: Shared): OfflineStore {
  return new HttpOfflineStore({ endpoints: offlineEndpoints(shared), clusterSecret, clock });
}

function remoteSegments({ clusterSecret }: Config, shared: Shared): SegmentSink {
  return new HttpSegmentSink({ endpoints: offlineEndpoints(shared), clusterSecret, clock });
}

function ledgerOptions(config: Config, shared: Shared): LedgerOptions | null {
  const { ledgerRetentionHours: retentionHours, ledgerRetentionMb, partitions } = config;
  if (retentionHours === 0) return null;
  const present = new RedisPresent({ ...shared, partitions });
  const flush = () => shared.trail.flush(LEDGER_FLUSH_MS);
  return { retentionHours, bytesMax: ledgerRetentionMb * 1_048_576, present, flush };
}

function wordsOf(config: Config): string[] {
  const { sensitiveWordsFile } = config;
  return sensitiveWordsFile === null ? [] : parseWordList(readFileSync(sensitiveWordsFile, "utf8"));
}

/** In dev mode with a JWT secret the page gets real tokens; without one, `dev:<user>` ones. */
function devTokens(config: Config) {
  const { authMode, jwksUrl, jwtAudience: audience, jwtIssuer: issuer, jwtSecret: secret } = config;
  if (authMode !== "dev" || secret === null || jwksUrl !== null) return {};
  return {
    issueToken: (userId: string, deviceId?: string) =>
      signToken({ secret, userId, deviceId, audience, issuer, ttlSeconds: 86_400, clock }),
  };
}

/** Without a key a node takes API keys only; the gateway, which needs one, is not started without. */
function tokenVerifier(config: Config): TokenVerifier {
  const { authMode: mode, jwksUrl, jwtAudience, jwtIssuer, jwtSecret: secret } = config;
  if (mode === "jwt" && secret === null && jwksUrl === null) {
    const refusal = "this node has no key to check tokens with; it takes API keys only";
    return { verify: () => Promise.reject(new ChatifyError("unauthorized", refusal)) };
  }
  const claims = { audience: jwtAudience, issuer: jwtIssuer };
  return createTokenVerifier({ mode, secret, jwksUrl, ...claims, clock });
}

/** Tokens as they count for HTTP: a revoked one does not. Few calls come with one, so each asks. */
function callerTokens(verifier: TokenVerifier, directory: SessionDirectory) {
  return {
    verify: async (token: string) => {
      const { issuedAt, scopes: scope, userId } = await verifier.verify(token);
      const before = await directory.tokensBefore(userId);
      if ((issuedAt ?? 0) >= before * 1_000) return { scope, userId };
      throw new ChatifyError("unauthorized", "this token was revoked");
    },
  };
}
