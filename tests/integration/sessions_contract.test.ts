/** What SessionDirectory promises, held against Redis and against the simulator's double. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type {
  NewSession,
  Registered,
  Session,
  UserStateEvent,
} from "../../src/core/sessions/contract.ts";
import { partitionOf } from "../../src/core/topology.ts";
import type { Backend, TestNode } from "./backends.ts";
import { eventually, limits, partitions, Recorder } from "./backends.ts";
import { contractBackends } from "./contract_backends.ts";

const implementations = contractBackends();

describe.each(implementations)("sessions %s", (_, make) => {
  let backend: Backend;
  let node: TestNode;
  let recorder: Recorder | null = null;

  beforeEach(async () => {
    backend = make();
    node = await backend.node("a");
  });

  afterEach(async () => {
    await recorder?.reader.stop();
    recorder = null;
    backend.close();
  });

  const session = (user: string, conn: number, device = "phone"): NewSession => {
    const since = 1_700_000_000_123;
    return { user, device, access: "acc", gateway: "gw", conn, since, issuedAt: 0 };
  };

  /** What the directory keeps of it. */
  function stored({ issuedAt: _, ...one }: NewSession, result: Registered | undefined): Session {
    return { ...one, epoch: result?.epoch ?? 0 };
  }

  async function register(one: NewSession): Promise<Session> {
    const [result] = await node.sessions.register([one]);
    return stored(one, result);
  }

  /** The events of all partitions so far, and at least `count` of them. */
  async function events(count: number): Promise<UserStateEvent[]> {
    const recording = new Recorder(node, "push");
    recorder = recording;
    const all = [...Array(partitions.user).keys()];
    await Promise.all(all.map((partition) => recording.reader.assign(partition)));
    const found = () =>
      recording.bodies("user_state").flatMap((body) => JSON.parse(body) as UserStateEvent[]);
    await eventually(`there are ${count} events`, () => found().length >= count);
    return found();
  }

  test("a registered session is found with all that was said about it", async () => {
    const ann = await register(session("ann", 1));
    expect(ann.epoch).toBeGreaterThan(0);
    expect(await node.sessions.lookup(["ann", "bob"])).toEqual([
      { sessions: [ann], stored: false },
      { sessions: [], stored: false },
    ]);
    expect(await events(1)).toEqual([
      ["online", "ann", "phone", "acc", "gw", 1, ann.epoch, 1_700_000_000_123],
    ]);
  });

  test("a large batch comes back in its order, over all partitions", async () => {
    const batch = Array.from({ length: 3_000 }, (_, i) => session(`user-${i}`, i));
    const results = await node.sessions.register(batch);
    const users = batch.map(({ user }) => user);
    const found = await node.sessions.lookup(users);
    for (const [i, one] of batch.entries()) {
      expect(found[i]?.sessions).toEqual([stored(one, results[i])]);
    }
    expect(await node.sessions.onlineCount()).toBe(3_000);
    expect(await events(3_000)).toHaveLength(3_000);
  });

  test("ids may hold any character", async () => {
    const odd = { ...session('u"\\{é👋', 1), device: "d\n\"'", gateway: "g:1/2", access: "ä" };
    const registered = await register(odd);
    expect((await node.sessions.lookup([odd.user]))[0]?.sessions).toEqual([registered]);
  });

  test("a device that connects again replaces its session and says which", async () => {
    const old = await register(session("ann", 1));
    const [result] = await node.sessions.register([session("ann", 2)]);
    expect(result?.replaced).toEqual(old);
    expect(result?.epoch).toBeGreaterThan(old.epoch);
    expect((await node.sessions.lookup(["ann"]))[0]?.sessions).toHaveLength(1);
  });

  test("the same connection through another access node replaces nobody, with a new epoch", async () => {
    const old = await register(session("ann", 1));
    const moved = { ...session("ann", 1), access: "other" };
    const [result] = await node.sessions.register([moved]);
    expect(result?.replaced).toBeNull();
    expect(result?.epoch).toBeGreaterThan(old.epoch);
    expect((await node.sessions.lookup(["ann"]))[0]?.sessions).toEqual([stored(moved, result)]);
  });

  test("a stale unregister does not clear a newer session, and says nothing", async () => {
    const old = await register(session("ann", 1));
    const again = await register({ ...session("ann", 1), access: "other" });
    const next = await register(session("ann", 2, "laptop"));
    await node.sessions.unregister([old]);
    expect((await node.sessions.lookup(["ann"]))[0]?.sessions).toEqual([again, next]);
    const replaced = await register(session("ann", 3));
    await node.sessions.unregister([again]);
    expect((await node.sessions.lookup(["ann"]))[0]?.sessions).toEqual([replaced, next]);
    expect((await events(4)).map(([kind]) => kind)).toEqual(Array(4).fill("online"));
  });

  test("unregistering the current session removes it and says so, other devices stay", async () => {
    const phone = await register(session("ann", 1));
    const laptop = await register(session("ann", 2, "laptop"));
    await node.sessions.unregister([phone, phone, { ...phone, user: "nobody" }]);
    expect((await node.sessions.lookup(["ann"]))[0]?.sessions).toEqual([laptop]);
    expect(await node.sessions.onlineCount()).toBe(1);
    await node.sessions.unregister([laptop]);
    expect(await node.sessions.onlineCount()).toBe(0);
    expect((await events(4)).slice(2)).toEqual([
      ["offline", "ann", "phone", "acc", "gw", 1, phone.epoch, phone.since],
      ["offline", "ann", "laptop", "acc", "gw", 2, laptop.epoch, laptop.since],
    ]);
  });

  test("one device too many is refused without an event, a known device is not", async () => {
    const max = limits.DEVICES_PER_USER_MAX;
    const devices = Array.from({ length: max + 1 }, (_, i) => session("ann", i, `device-${i}`));
    const results = await node.sessions.register(devices);
    expect(results.slice(0, max).every(({ epoch }) => epoch > 0)).toBe(true);
    expect(results[max]).toEqual({ epoch: 0, replaced: null, barred: null });
    expect((await register(session("ann", 99, "device-3"))).epoch).toBeGreaterThan(0);
    expect((await node.sessions.lookup(["ann"]))[0]?.sessions).toHaveLength(max);
    expect(await events(max + 1)).toHaveLength(max + 1);
  });

  test("a kick refuses connections made before it, of one device or of all, and no later one", async () => {
    const refused = { epoch: 0, replaced: null, barred: "kicked" as const };
    const later = { since: 32_000_000_000_000 };
    await node.sessions.bar("ann", { kick: "phone" });
    expect(await node.sessions.register([session("ann", 1)])).toEqual([refused]);
    expect((await register(session("ann", 2, "laptop"))).epoch).toBeGreaterThan(0);
    expect((await register({ ...session("ann", 3), ...later })).epoch).toBeGreaterThan(0);
    await node.sessions.bar("bob", { kick: null });
    expect(await node.sessions.register([session("bob", 4), session("cat", 5)])).toMatchObject([
      refused,
      { barred: null },
    ]);
    // Only those that were let in became known.
    expect((await events(3)).map(([, user, device]) => `${user}/${device}`).sort()).toEqual([
      "ann/laptop",
      "ann/phone",
      "cat/phone",
    ]);
  });

  test("a token issued before the bar is refused, as is one that does not say; the bar never moves back", async () => {
    const barred = async (issuedAt: number) => {
      const [result] = await node.sessions.register([{ ...session("ann", 1), issuedAt }]);
      return result?.barred;
    };
    expect(await node.sessions.tokensBefore("ann")).toBe(0);
    await node.sessions.bar("ann", { tokensBefore: 2_000 });
    await node.sessions.bar("ann", { tokensBefore: 1_000 });
    expect(await node.sessions.tokensBefore("ann")).toBe(2_000);
    expect(await barred(1_999)).toBe("token_revoked");
    expect(await barred(0)).toBe("token_revoked");
    expect(await barred(2_000)).toBeNull();
    await node.sessions.bar("ann", { kick: "laptop" });
    expect(await node.sessions.tokensBefore("ann")).toBe(2_000);
  });

  test("the stored mark that a push owner commits is seen in a lookup", async () => {
    const partition = partitionOf("ann", partitions.user);
    const owned = await node.registry.lease("push", "a", partitions.user);
    const epoch = owned.find((one) => one.partition === partition)?.epoch ?? 0;
    const fence = { group: "push" as const, partition, epoch };
    await node.streams.commit({ fence, puts: [{ map: "stored", entries: [["ann", "1"]] }] });
    expect(await node.sessions.lookup(["ann"])).toEqual([{ sessions: [], stored: true }]);
    await node.streams.commit({ fence, deletes: [{ map: "stored", fields: ["ann"] }] });
    expect(await node.sessions.lookup(["ann"])).toEqual([{ sessions: [], stored: false }]);
  });

  test("a scan walks every session of a partition", async () => {
    const batch = Array.from({ length: 2_000 }, (_, i) => session(`user-${i}`, i));
    await node.sessions.register(batch);
    const seen = new Set<string>();
    for (let partition = 0; partition < partitions.user; partition++) {
      for await (const page of node.sessions.scan(partition)) {
        for (const { user } of page) {
          expect(partitionOf(user, partitions.user)).toBe(partition);
          seen.add(user);
        }
      }
    }
    expect(seen.size).toBe(2_000);
  });
});
