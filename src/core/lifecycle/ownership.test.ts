import { expect, test } from "bun:test";
import { LIMITS } from "../limits.ts";
import type {
  CommitMark,
  Heartbeat,
  Lease,
  LeaseState,
  NodeRecord,
  OwnedPartition,
  Registry,
} from "../registry/contract.ts";
import { ManualClock } from "../testing/manual_clock.ts";
import { silentTelemetry } from "../testing/silent_telemetry.ts";
import { Membership } from "./membership.ts";
import { Ownership } from "./ownership.ts";

const PARTITIONS = { chat: 8, user: 8 };
const UNVERIFIED = { server: "first", verified: false, lost: false };

/** A registry in memory: leases by partition, all on the clock of the test. */
class FakeRegistry implements Registry {
  readonly records = new Map<string, { record: NodeRecord; at: number }>();
  readonly held = new Map<number, { owner: string; epoch: number; until: number }>();
  away = false;
  /** Answers of `lease` wait for it. */
  slow: Promise<void> = Promise.resolve();

  constructor(private readonly clock: ManualClock) {}

  server = "first";
  lossAt = 0;

  async heartbeat(self: NodeRecord): Promise<Heartbeat> {
    this.check();
    const known = this.records.has(self.id);
    this.records.set(self.id, { record: self, at: this.clock.now() });
    return { nodes: await this.nodes(), server: this.server, known, lossAt: this.lossAt };
  }

  async reportLoss(): Promise<void> {
    this.lossAt = this.clock.now();
  }

  async verify(): Promise<void> {}

  async nodes(): Promise<NodeRecord[]> {
    const oldest = this.clock.now() - LIMITS.NODE_TTL_MS;
    return [...this.records.values()].filter(({ at }) => at > oldest).map(({ record }) => record);
  }

  async leave(self: string): Promise<void> {
    this.records.delete(self);
  }

  async lease(
    _group: string,
    self: string,
    quota: number,
    known: ReadonlyMap<number, CommitMark> = new Map(),
  ): Promise<Lease[]> {
    this.check();
    const until = this.clock.now() + LIMITS.LEASE_TTL_MS;
    const owned: Lease[] = [];
    const last = { epoch: 0, turn: 0 };
    for (const [partition, { epoch }] of known) {
      if ((this.held.get(partition)?.epoch ?? 0) >= epoch) continue;
      this.held.set(partition, { owner: self, epoch: epoch + 1, until });
      owned.push({ ...UNVERIFIED, partition, epoch: epoch + 1, last, lost: true });
    }
    if (owned.length > 0) return owned;
    for (const [partition, lease] of this.held) {
      if (lease.owner !== self || lease.until <= this.clock.now()) continue;
      lease.until = until;
      owned.push({ ...UNVERIFIED, partition, epoch: lease.epoch, last });
    }
    for (let partition = 0; partition < PARTITIONS.user && owned.length < quota; partition++) {
      const lease = this.held.get(partition);
      if (lease !== undefined && lease.until > this.clock.now()) continue;
      const epoch = (lease?.epoch ?? 0) + 1;
      this.held.set(partition, { owner: self, epoch, until });
      owned.push({ ...UNVERIFIED, partition, epoch, last });
    }
    await this.slow;
    return owned;
  }

  async release(_group: string, self: string, owned: OwnedPartition): Promise<void> {
    const lease = this.held.get(owned.partition);
    if (lease?.owner === self && lease.epoch === owned.epoch) lease.until = 0;
  }

  async leases(): Promise<LeaseState[]> {
    return [];
  }

  async agreePartitions(): Promise<void> {}

  private check(): void {
    if (this.away) throw new Error("the registry is away");
  }
}

function node(id: string): NodeRecord {
  return {
    id,
    roles: ["push"],
    host: "127.0.0.1",
    trunkPort: 0,
    httpPorts: {},
    adminPort: 0,
    version: "test",
    startedAt: 0,
    draining: false,
  };
}

async function start(id: string, registry: FakeRegistry, clock: ManualClock) {
  const base = { registry, clock, telemetry: silentTelemetry(), limits: LIMITS };
  const membership = new Membership(base);
  const owned = new Map<number, number>();
  let gains = 0;
  const ownership = new Ownership(
    { ...base, group: "push", self: id, membership, partitions: PARTITIONS },
    {
      onAcquired: ({ partition, epoch }) => {
        gains++;
        owned.set(partition, epoch);
      },
      onLost: (partition) => owned.delete(partition),
      onRelease: async () => {},
      confirmedTurn: () => 0,
    },
  );
  ownership.start();
  await membership.start(node(id));
  return { membership, ownership, owned, gains: () => gains };
}

test("one node takes every partition", async () => {
  const clock = new ManualClock();
  const a = await start("a", new FakeRegistry(clock), clock);
  await clock.advance(1_000);
  expect([...a.owned.keys()].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test("nodes that join get an even share within a lease, and no partition has two owners", async () => {
  const clock = new ManualClock();
  const registry = new FakeRegistry(clock);
  const nodes = [await start("a", registry, clock)];
  await clock.advance(1_000);
  for (const id of ["b", "c"]) nodes.push(await start(id, registry, clock));
  await clock.advance(LIMITS.LEASE_TTL_MS);
  expect(nodes.map(({ owned }) => owned.size).sort()).toEqual([2, 3, 3]);
  const all = nodes.flatMap(({ owned }) => [...owned.keys()]);
  expect(new Set(all).size).toBe(8);
});

test("a node that drains hands everything over before it goes", async () => {
  const clock = new ManualClock();
  const registry = new FakeRegistry(clock);
  const a = await start("a", registry, clock);
  const b = await start("b", registry, clock);
  await clock.advance(LIMITS.LEASE_TTL_MS);
  expect([a.owned.size, b.owned.size]).toEqual([4, 4]);
  await a.membership.drain();
  const drained = a.ownership.drain();
  await clock.advance(LIMITS.LEASE_RENEW_MS * 3);
  await drained;
  expect(a.owned.size).toBe(0);
  expect(b.owned.size).toBe(8);
});

test("an answer that was on its way brings back nothing that was given up meanwhile", async () => {
  const clock = new ManualClock();
  const registry = new FakeRegistry(clock);
  const a = await start("a", registry, clock);
  await clock.advance(1_000);
  expect(a.gains()).toBe(8);
  const { promise, resolve } = Promise.withResolvers<void>();
  registry.slow = promise;
  await clock.advance(LIMITS.LEASE_RENEW_MS);
  const drained = a.ownership.drain();
  await clock.advance(1);
  await drained;
  resolve();
  await clock.advance(1);
  expect(a.owned.size).toBe(0);
  expect(a.gains()).toBe(8);
});

test("partitions of a node that died have an owner with a later epoch after a lease", async () => {
  const clock = new ManualClock();
  const registry = new FakeRegistry(clock);
  const a = await start("a", registry, clock);
  await clock.advance(1_000);
  const before = new Map(a.owned);
  a.ownership.stop();
  await a.membership.leave();
  registry.records.delete("a");
  const b = await start("b", registry, clock);
  await clock.advance(LIMITS.LEASE_TTL_MS + LIMITS.LEASE_RENEW_MS);
  expect(b.owned.size).toBe(8);
  for (const [partition, epoch] of b.owned) expect(epoch).toBe((before.get(partition) ?? 0) + 1);
});

test("a node that cannot renew is not fresh after a lease, and is again when it can", async () => {
  const clock = new ManualClock();
  const registry = new FakeRegistry(clock);
  const a = await start("a", registry, clock);
  await clock.advance(1_000);
  registry.away = true;
  await clock.advance(LIMITS.LEASE_TTL_MS + 1);
  expect(a.ownership.isFresh()).toBe(false);
  expect(a.membership.isConnected()).toBe(false);
  expect(a.owned.size).toBe(8);
  registry.away = false;
  await clock.advance(LIMITS.LEASE_RENEW_MS * 2);
  expect(a.ownership.isFresh()).toBe(true);
  expect(a.membership.isConnected()).toBe(true);
});

test("an owner whose write was refused loses the partition at once", async () => {
  const clock = new ManualClock();
  const a = await start("a", new FakeRegistry(clock), clock);
  await clock.advance(1_000);
  a.ownership.fenced(3);
  expect(a.owned.has(3)).toBe(false);
  expect(a.ownership.epochOf(3)).toBe(0);
});

test("nodes that were silent together with the registry are not declared gone when it is back", async () => {
  const clock = new ManualClock();
  const registry = new FakeRegistry(clock);
  const a = await start("a", registry, clock);
  const b = await start("b", registry, clock);
  await clock.advance(1_000);
  const gone: string[] = [];
  let lapses = 0;
  a.membership.onChange((_nodes, left) => gone.push(...left.map(({ id }) => id)));
  a.membership.onLapse(() => lapses++);
  registry.away = true;
  await clock.advance(LIMITS.NODE_TTL_MS * 2);
  registry.records.clear();
  registry.away = false;
  await clock.advance(LIMITS.NODE_TTL_MS * 2);
  expect(gone).toEqual([]);
  expect(lapses).toBe(1);
  expect(a.membership.isLive("b")).toBe(true);
  await b.membership.leave();
  await clock.advance(LIMITS.HEARTBEAT_NODE_MS * 2);
  expect(gone).toEqual(["b"]);
});

test("a registry that was emptied is noticed, and everybody keeps the partitions under new epochs", async () => {
  const clock = new ManualClock();
  const registry = new FakeRegistry(clock);
  const a = await start("a", registry, clock);
  await clock.advance(1_000);
  const before = new Map(a.owned);
  let announced = 0;
  let losses = 0;
  a.membership.onLapse(() => announced++);
  a.membership.onDataLost(() => losses++);
  registry.held.clear();
  registry.records.clear();
  await clock.advance(LIMITS.LEASE_RENEW_MS * 3);
  expect([announced, losses]).toEqual([1, 1]);
  expect([...a.owned.keys()].sort()).toEqual([...before.keys()].sort());
  for (const [partition, epoch] of a.owned) {
    expect(epoch).toBeGreaterThan(before.get(partition) ?? 0);
  }
});

test("an epoch that somebody has seen is never given again, however little the registry knows", async () => {
  const clock = new ManualClock();
  const registry = new FakeRegistry(clock);
  const a = await start("a", registry, clock);
  await clock.advance(1_000);
  a.ownership.fenced(3, 4_000);
  expect(a.owned.has(3)).toBe(false);
  await clock.advance(LIMITS.LEASE_RENEW_MS * 2);
  expect(a.owned.get(3)).toBe(4_001);
});
