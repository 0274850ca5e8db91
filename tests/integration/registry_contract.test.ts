/** What Registry promises, held against Redis and against the double that the simulator uses. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { sleep } from "../../src/core/clock.ts";
import type { NodeRecord, OwnedPartition, Registry } from "../../src/core/registry/contract.ts";
import type { Streams } from "../../src/core/streams/contract.ts";
import { type Backend, clock, limits } from "./backends.ts";
import { contractBackends } from "./contract_backends.ts";

const implementations = contractBackends();

describe.each(implementations)("the registry %s", (_, make) => {
  let backend: Backend;
  let a: Registry;
  let b: Registry;
  let streams: Streams;

  beforeEach(async () => {
    backend = make();
    const node = await backend.node("a");
    a = node.registry;
    streams = node.streams;
    b = (await backend.node("b")).registry;
  });

  afterEach(() => backend.close());

  const record = (id: string): NodeRecord => ({
    id,
    roles: ["logic", "push"],
    host: "127.0.0.1",
    trunkPort: 7_000,
    httpPorts: { logic: 8034 },
    adminPort: 9_000,
    version: "1",
    startedAt: 1_700_000_000_000,
    draining: false,
  });
  const ids = (nodes: readonly NodeRecord[]) => nodes.map(({ id }) => id).sort();
  const partitionsOf = (owned: readonly { partition: number }[]) =>
    owned.map(({ partition }) => partition);

  test("a heartbeat returns every live node as it last described itself", async () => {
    expect((await a.heartbeat(record("a"))).nodes).toEqual([record("a")]);
    expect(ids((await b.heartbeat(record("b"))).nodes)).toEqual(["a", "b"]);
    const draining = { ...record("a"), draining: true };
    const { nodes } = await a.heartbeat(draining);
    expect(nodes.find(({ id }) => id === "a")).toEqual(draining);
    expect(ids(await b.nodes())).toEqual(["a", "b"]);
  });

  test("a node that misses heartbeats is dead to the others, and may come back", async () => {
    await a.heartbeat(record("a"));
    await sleep(clock, limits.NODE_TTL_MS + 50);
    expect(ids(await b.nodes())).toEqual([]);
    expect(ids((await b.heartbeat(record("b"))).nodes)).toEqual(["b"]);
    expect(ids((await a.heartbeat(record("a"))).nodes)).toEqual(["a", "b"]);
  });

  test("a node that leaves is gone at once", async () => {
    await a.heartbeat(record("a"));
    await a.leave("a");
    expect(ids((await b.heartbeat(record("b"))).nodes)).toEqual(["b"]);
  });

  test("no more partitions are taken than the quota, and none that another holds", async () => {
    const first = await a.lease("logic", "a", 3);
    expect(first).toHaveLength(3);
    const second = await b.lease("logic", "b", 4);
    expect(second).toHaveLength(1);
    expect([...partitionsOf(first), ...partitionsOf(second)].sort()).toEqual([0, 1, 2, 3]);
    expect([...first, ...second].every(({ epoch }) => epoch > 0)).toBe(true);
  });

  test("nodes that lease at the same moment share without taking one twice", async () => {
    const [first, second] = await Promise.all([a.lease("push", "a", 2), b.lease("push", "b", 2)]);
    expect([...partitionsOf(first), ...partitionsOf(second)].sort()).toEqual([0, 1, 2, 3]);
  });

  test("what is held above a smaller quota is renewed all the same", async () => {
    await a.lease("logic", "a", 4);
    expect(partitionsOf(await a.lease("logic", "a", 1))).toEqual([0, 1, 2, 3]);
  });

  test("renewal keeps the epoch and keeps others out", async () => {
    const first = await a.lease("logic", "a", 4);
    for (let i = 0; i < 4; i++) {
      await sleep(clock, limits.LEASE_TTL_MS / 2);
      expect(await a.lease("logic", "a", 4)).toEqual(first);
      expect(await b.lease("logic", "b", 4)).toEqual([]);
    }
  });

  test("a lease that is not renewed may be taken over, which raises its epoch", async () => {
    const before = await a.lease("logic", "a", 4);
    const epochOf = (partition: number) => before[partition]?.epoch ?? 0;
    await sleep(clock, limits.LEASE_TTL_MS + 50);
    expect((await b.leases("logic")).map(({ owner }) => owner)).toEqual([null, null, null, null]);
    const taken = await b.lease("logic", "b", 2);
    expect(taken).toHaveLength(2);
    for (const { partition, epoch } of taken) expect(epoch).toBeGreaterThan(epochOf(partition));
    const rest = await a.lease("logic", "a", 0);
    for (const { partition, epoch } of rest) expect(epoch).toBe(epochOf(partition));
    expect([...partitionsOf(taken), ...partitionsOf(rest)].sort()).toEqual([0, 1, 2, 3]);
  });

  test("a released partition is free at once, and its epoch never goes back", async () => {
    const [own] = await a.lease("logic", "a", 1);
    if (own === undefined) throw new Error("nothing was leased");
    await a.release("logic", "a", { ...own, epoch: own.epoch + 1 });
    expect(await a.lease("logic", "a", 1)).toEqual([own]);
    await b.release("logic", "b", own);
    expect(await a.lease("logic", "a", 1)).toEqual([own]);
    await a.release("logic", "a", own);
    const states = await b.leases("logic");
    const { partition, epoch } = own;
    expect(states[partition]).toEqual({ partition, epoch, owner: null });
    const taken = (await b.lease("logic", "b", 4)).find((each) => each.partition === partition);
    expect(taken?.epoch).toBeGreaterThan(epoch);
  });

  test("groups are leased apart from each other", async () => {
    expect(await a.lease("logic", "a", 4)).toHaveLength(4);
    expect(await b.lease("push", "b", 4)).toHaveLength(4);
    expect((await a.leases("push")).map(({ owner }) => owner)).toEqual(["b", "b", "b", "b"]);
  });

  test("partition counts are agreed at the first start, and a later one that differs fails", async () => {
    await a.agreePartitions({ chat: 4, user: 8 });
    await b.agreePartitions({ chat: 4, user: 8 });
    const refused = await b.agreePartitions({ chat: 4, user: 9 }).catch((error) => error);
    expect(refused).toBeInstanceOf(Error);
    expect(refused.message).toContain("4 chat and 9 user");
    expect(refused.message).toContain("4 chat and 8 user");
  });

  describe("when it has less than it confirmed", () => {
    const known = (owned: readonly OwnedPartition[], turn = 0) =>
      new Map(owned.map(({ partition, epoch }) => [partition, { epoch, turn }]));

    test("the holder gets each partition again at once, under a larger epoch, and is told", async () => {
      const before = await a.lease("logic", "a", 4);
      await backend.flush();
      const after = await a.lease("logic", "a", 0, known(before));
      expect(partitionsOf(after)).toEqual([0, 1, 2, 3]);
      for (const [i, lease] of after.entries()) {
        expect(lease).toMatchObject({ lost: true, verified: false });
        expect(lease.epoch).toBeGreaterThan(before[i]?.epoch ?? 0);
      }
      const renewed = await a.lease("logic", "a", 4, known(after));
      expect(renewed.map(({ lost }) => lost)).toEqual([false, false, false, false]);
    });

    test("a commit that was confirmed and is not there shows it, too", async () => {
      const before = await a.lease("logic", "a", 1);
      const [own] = before;
      if (own === undefined) throw new Error("nothing was leased");
      const fence = { group: "logic" as const, ...own };
      await streams.commit({ fence, turn: 7 });
      const renewed = await a.lease("logic", "a", 1, known(before, 7));
      expect(renewed).toMatchObject([{ epoch: own.epoch, lost: false }]);
      const lost = await a.lease("logic", "a", 1, known(before, 8));
      expect(lost).toMatchObject([{ lost: true, last: { epoch: own.epoch, turn: 7 } }]);
      expect(lost[0]?.epoch).toBeGreaterThan(own.epoch);
    });

    test("the epoch that follows is above one that only others have seen", async () => {
      const [own] = await a.lease("logic", "a", 1);
      if (own === undefined) throw new Error("nothing was leased");
      const seen = own.epoch + 86_400_000;
      const seenElsewhere = new Map([[own.partition, { epoch: seen, turn: 0 }]]);
      const [raised] = await a.lease("logic", "a", 1, seenElsewhere);
      expect(raised?.epoch).toBe(seen + 1);
      const others = await b.lease(
        "logic",
        "b",
        4,
        new Map([[own.partition, { epoch: seen + 9, turn: 0 }]]),
      );
      expect(partitionsOf(others)).not.toContain(own.partition);
    });

    test("a new owner sees the last commit before it, and whether anybody has looked since", async () => {
      const [own] = await a.lease("logic", "a", 1);
      if (own === undefined) throw new Error("nothing was leased");
      expect(own.verified).toBe(false);
      await streams.commit({ fence: { group: "logic", ...own }, turn: 5 });
      await b.verify("logic", "b", own);
      expect(await a.lease("logic", "a", 1)).toMatchObject([{ verified: false }]);
      await a.verify("logic", "a", own);
      expect(await a.lease("logic", "a", 1)).toMatchObject([{ verified: true }]);
      await a.release("logic", "a", own);
      const taken = (await b.lease("logic", "b", 4)).find((l) => l.partition === own.partition);
      expect(taken).toMatchObject({ verified: true, last: { epoch: own.epoch, turn: 5 } });
    });

    test("a node that was listed learns that it is not any more, and everybody when it was noticed", async () => {
      expect((await a.heartbeat(record("a"))).known).toBe(false);
      const before = await a.heartbeat(record("a"));
      expect(before).toMatchObject({ known: true, lossAt: 0 });
      await backend.flush();
      expect((await a.heartbeat(record("a"))).known).toBe(false);
      await a.reportLoss();
      const { lossAt } = await b.heartbeat(record("b"));
      expect(lossAt).toBeGreaterThan(0);
      await b.reportLoss();
      expect((await a.heartbeat(record("a"))).lossAt).toBe(lossAt);
    });
  });
});
