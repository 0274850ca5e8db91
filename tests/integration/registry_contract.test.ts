/** What Registry promises, held against Redis and against the double that the simulator uses. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { sleep } from "../../src/core/clock.ts";
import type { NodeRecord, Registry } from "../../src/core/registry/contract.ts";
import { type Backend, clock, limits } from "./backends.ts";
import { contractBackends } from "./contract_backends.ts";

const implementations = contractBackends();

describe.each(implementations)("the registry %s", (_, make) => {
  let backend: Backend;
  let a: Registry;
  let b: Registry;

  beforeEach(async () => {
    backend = make();
    a = (await backend.node("a")).registry;
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
    expect(await a.heartbeat(record("a"))).toEqual([record("a")]);
    expect(ids(await b.heartbeat(record("b")))).toEqual(["a", "b"]);
    const draining = { ...record("a"), draining: true };
    const nodes = await a.heartbeat(draining);
    expect(nodes.find(({ id }) => id === "a")).toEqual(draining);
    expect(ids(await b.nodes())).toEqual(["a", "b"]);
  });

  test("a node that misses heartbeats is dead to the others, and may come back", async () => {
    await a.heartbeat(record("a"));
    await sleep(clock, limits.NODE_TTL_MS + 50);
    expect(ids(await b.nodes())).toEqual([]);
    expect(ids(await b.heartbeat(record("b")))).toEqual(["b"]);
    expect(ids(await a.heartbeat(record("a")))).toEqual(["a", "b"]);
  });

  test("a node that leaves is gone at once", async () => {
    await a.heartbeat(record("a"));
    await a.leave("a");
    expect(ids(await b.heartbeat(record("b")))).toEqual(["b"]);
  });

  test("no more partitions are taken than the quota, and none that another holds", async () => {
    const first = await a.lease("logic", "a", 3);
    expect(first).toHaveLength(3);
    const second = await b.lease("logic", "b", 4);
    expect(second).toHaveLength(1);
    expect([...partitionsOf(first), ...partitionsOf(second)].sort()).toEqual([0, 1, 2, 3]);
    expect([...first, ...second].every(({ epoch }) => epoch === 1)).toBe(true);
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

  test("a lease that is not renewed may be taken over, which raises its epoch by one", async () => {
    await a.lease("logic", "a", 4);
    await sleep(clock, limits.LEASE_TTL_MS + 50);
    expect((await b.leases("logic")).map(({ owner }) => owner)).toEqual([null, null, null, null]);
    const taken = await b.lease("logic", "b", 2);
    expect(taken.map(({ epoch }) => epoch)).toEqual([2, 2]);
    const rest = await a.lease("logic", "a", 0);
    expect(rest.map(({ epoch }) => epoch)).toEqual([1, 1]);
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
    expect(states[own.partition]).toEqual({ ...own, owner: null });
    const taken = await b.lease("logic", "b", 4);
    expect(taken).toContainEqual({ partition: own.partition, epoch: own.epoch + 1 });
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
});
