/** What Streams promises, held against Redis and against the double that the simulator uses. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { sleep } from "../../src/core/clock.ts";
import { FencedError, StreamLostError } from "../../src/core/streams/contract.ts";
import type { ConsumerGroup } from "../../src/core/topology.ts";
import type { Backend, TestNode } from "./backends.ts";
import { clock, eventually, Recorder } from "./backends.ts";
import { contractBackends } from "./contract_backends.ts";

const implementations = contractBackends();

describe.each(implementations)("streams %s", (_, make) => {
  let backend: Backend;
  let a: TestNode;
  let b: TestNode;
  const recorders: Recorder[] = [];

  beforeEach(async () => {
    backend = make();
    [a, b] = await Promise.all([backend.node("a"), backend.node("b")]);
  });

  afterEach(async () => {
    await Promise.all(recorders.splice(0).map(({ reader }) => reader.stop()));
    backend.close();
  });

  function record(node: TestNode, group: ConsumerGroup): Recorder {
    const recorder = new Recorder(node, group);
    recorders.push(recorder);
    return recorder;
  }

  /** Makes `node` the owner of partition 0 of `group`, whoever owned it, and returns its fence. */
  async function own(node: TestNode, name: string, group: ConsumerGroup) {
    let epoch = 0;
    await eventually(`${name} owns ${group}:0`, async () => {
      const owned = await node.registry.lease(group, name, 4);
      epoch = owned.find(({ partition }) => partition === 0)?.epoch ?? 0;
      return epoch > 0;
    });
    return { group, partition: 0, epoch };
  }

  const chat = (body: string) => ({ topic: "chat_input" as const, partition: 0, body });
  const task = (body: string) => ({ topic: "push_task" as const, partition: 0, body });
  const numbers = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => String(from + i));

  test("appends are read in the order in which they were given, with ids in that order", async () => {
    const recorder = record(a, "logic");
    await recorder.reader.assign(0);
    const calls = [numbers(1, 300), numbers(301, 302)].map((bodies) =>
      a.streams.append(bodies.map(chat)),
    );
    const ids = (await Promise.all(calls)).flat();
    await eventually("all are read", () => recorder.bodies("chat_input").length === 302);
    expect(recorder.bodies("chat_input")).toEqual(numbers(1, 302));
    expect(recorder.entries("chat_input").map(({ id }) => id)).toEqual(ids as string[]);
    expect(recorder.entries("chat_input").every(({ ordinal }) => ordinal === 0)).toBe(true);
  });

  test("a body is read as it was written, whatever characters it has", async () => {
    const body = 'héllo 👋 \u0000 \r\n "{}"';
    await a.streams.append([chat(body)]);
    const recorder = record(a, "logic");
    await recorder.reader.assign(0);
    await eventually("it is read", () => recorder.bodies("chat_input").length === 1);
    expect(recorder.bodies("chat_input")).toEqual([body]);
  });

  test("a commit numbers what it appends from 1 without gaps, per topic partition", async () => {
    const fence = await own(a, "a", "logic");
    const recorder = record(a, "push");
    await Promise.all([recorder.reader.assign(0), recorder.reader.assign(1)]);
    const elsewhere = { ...task("x"), partition: 1 };
    await Promise.all([
      a.streams.commit({ fence, appends: [task("1"), elsewhere, task("2")] }),
      a.streams.commit({ fence, appends: [task("3")] }),
    ]);
    await eventually("all are read", () => recorder.bodies("push_task").length === 4);
    const of = (partition: number) =>
      recorder.batches.filter((batch) => batch.partition === partition).flatMap((x) => x.entries);
    expect(of(0).map(({ body, ordinal }) => [body, ordinal])).toEqual([
      ["1", 1],
      ["2", 2],
      ["3", 3],
    ]);
    expect(of(1).map(({ ordinal }) => ordinal)).toEqual([1]);
  });

  test("a commit puts, deletes, appends and settles in one step", async () => {
    const fence = await own(a, "a", "logic");
    const [id] = (await a.streams.append([chat("1")])) as string[];
    const many = numbers(1, 9_000).map((n): [string, string] => [`f${n}`, n]);
    await a.streams.commit({ fence, puts: [{ map: "seq", entries: [["old", "1"], ...many] }] });
    await a.streams.commit({
      fence,
      puts: [{ map: "seq", entries: [["new", "2"]] }],
      deletes: [{ map: "seq", fields: ["old"] }],
      appends: [task("t"), { topic: "dead_letter", partition: 0, body: "d" }],
      settles: [{ topic: "chat_input", ids: [id as string] }],
    });
    const fields = ["old", "new", "f1", "f9000"];
    const values = [undefined, "2", "1", "9000"];
    expect(await a.streams.mapGet("seq", "logic", 0, fields)).toEqual(values);
    expect(await backend.length("chat_input", 0)).toBe(0);
    expect(await backend.length("push_task", 0)).toBe(1);
    expect(await backend.length("dead_letter", 0)).toBe(1);
  });

  test("slices are listed with their fields until they expire", async () => {
    const fence = await own(a, "a", "logic");
    const now = Math.floor(clock.now() / 1_000);
    const put = (slice: string, expireAt: number, value: string) => {
      return {
        map: "dedup" as const,
        slice,
        expireAt,
        entries: [["k", value]] as [string, string][],
      };
    };
    await a.streams.commit({ fence, puts: [put("1", now - 5, "gone"), put("2", now + 60, "x")] });
    await a.streams.commit({ fence, puts: [put("3", now + 90, "y"), put("1", now - 5, "gone")] });
    const found = new Map<string, unknown>();
    for await (const { slice, entries } of a.streams.mapSlices("dedup", "logic", 0)) {
      found.set(slice, entries);
    }
    expect([...found].sort()).toEqual([
      ["2", [["k", "x"]]],
      ["3", [["k", "y"]]],
    ]);
    expect(await a.streams.mapGet("dedup", "logic", 0, ["k", "l"])).toEqual(["y", undefined]);
  });

  test("a slice that is dropped is gone with all its fields, and the others are not", async () => {
    const fence = await own(a, "a", "logic");
    const expireAt = Math.floor(clock.now() / 1_000) + 60;
    const put = (slice: string) => {
      return {
        map: "dedup" as const,
        slice,
        expireAt,
        entries: [["k", slice]] as [string, string][],
      };
    };
    await a.streams.commit({ fence, puts: [put("1"), put("2"), put("3")] });
    const drop = { fence, drops: [{ map: "dedup" as const, slices: ["1", "3", "never there"] }] };
    await a.streams.commit(drop);
    await a.streams.commit(drop);
    const found: unknown[] = [];
    for await (const slice of a.streams.mapSlices("dedup", "logic", 0)) found.push(slice);
    expect(found).toEqual([{ slice: "2", entries: [["k", "2"]] }]);
    const late = { ...drop, fence: { ...fence, epoch: fence.epoch - 1 } };
    expect(await a.streams.commit(late).catch((error) => error)).toBeInstanceOf(FencedError);
  });

  test("a commit of an earlier owner is refused as a whole", async () => {
    const late = await own(a, "a", "logic");
    const [id] = (await a.streams.append([chat("1")])) as string[];
    const fence = await own(b, "b", "logic");
    expect(fence.epoch).toBeGreaterThan(late.epoch);
    const commit = {
      puts: [{ map: "seq" as const, entries: [["c", "1"]] as [string, string][] }],
      appends: [task("t")],
      settles: [{ topic: "chat_input" as const, ids: [id as string] }],
    };
    const refused = await a.streams.commit({ ...commit, fence: late }).catch((error) => error);
    expect(refused).toBeInstanceOf(FencedError);
    expect(refused).toMatchObject({ fence: late });
    expect(await backend.length("push_task", 0)).toBe(0);
    expect(await backend.length("chat_input", 0)).toBe(1);
    expect(await b.streams.mapGet("seq", "logic", 0, ["c"])).toEqual([undefined]);
    await b.streams.commit({ ...commit, fence });
    expect(await backend.length("push_task", 0)).toBe(1);
  });

  test("whoever takes a partition over reads what is unsettled, in order, and nothing else", async () => {
    const fence = await own(a, "a", "logic");
    const before = record(a, "logic");
    await before.reader.assign(0);
    const ids = (await a.streams.append(numbers(1, 6).map(chat))) as string[];
    await eventually("a has read them", () => before.bodies("chat_input").length === 6);
    const done = [ids[1] as string, ids[4] as string];
    await a.streams.commit({ fence, settles: [{ topic: "chat_input", ids: done }] });
    before.reader.revoke(0);
    const after = record(b, "logic");
    await after.reader.assign(0);
    await b.streams.append([chat("7")]);
    await eventually("b has read them", () => after.bodies("chat_input").length === 5);
    expect(after.bodies("chat_input")).toEqual(["1", "3", "4", "6", "7"]);
    expect(before.bodies("chat_input")).toEqual(numbers(1, 6));
  });

  test("assigning again hands over once more what is unsettled", async () => {
    const recorder = record(a, "logic");
    await recorder.reader.assign(0);
    await a.streams.append(numbers(1, 3).map(chat));
    await eventually("they are read", () => recorder.bodies("chat_input").length === 3);
    await recorder.reader.assign(0);
    await eventually("they are read again", () => recorder.bodies("chat_input").length === 6);
    expect(recorder.bodies("chat_input")).toEqual([...numbers(1, 3), ...numbers(1, 3)]);
  });

  test("a revoked partition is not handed over any more", async () => {
    const recorder = record(a, "logic");
    await recorder.reader.assign(0);
    recorder.reader.revoke(0);
    await a.streams.append([chat("1")]);
    await sleep(clock, 50);
    expect(recorder.batches).toEqual([]);
  });

  test("an owner that does not know it lost a partition keeps no entry from the new one", async () => {
    const late = record(a, "logic");
    await late.reader.assign(0);
    const fresh = record(b, "logic");
    await fresh.reader.assign(0);
    for (const body of numbers(1, 20)) await a.streams.append([chat(body)]);
    late.reader.revoke(0);
    await eventually("b has all", () => fresh.firsts("chat_input").length === 20, 1_000);
    expect(fresh.firsts("chat_input")).toEqual(numbers(1, 20));
  });

  test("an ordinal that went to somebody else is noticed at once, and read in its place", async () => {
    const fence = await own(a, "a", "logic");
    const recorder = record(b, "push");
    await recorder.reader.assign(0);
    await a.streams.commit({ fence, appends: [task("1")] });
    await eventually("1 is read", () => recorder.bodies("push_task").length === 1);
    recorder.reader.pause(0);
    await sleep(clock, 30);
    await a.streams.commit({ fence, appends: [task("2")] });
    expect(await backend.steal("push_task", 0)).toBe(1);
    recorder.reader.resume(0);
    await a.streams.commit({ fence, appends: [task("3")] });
    await eventually("3 is read", () => recorder.bodies("push_task").includes("3"), 1_000);
    expect(recorder.firsts("push_task")).toEqual(["1", "2", "3"]);
    const gaps = await b.metrics.gaps.get();
    expect(gaps.values).toMatchObject([{ value: 1, labels: { topic: "push_task" } }]);
  });

  test("an ordinal that is gone for good does not keep the partition from advancing", async () => {
    const fence = await own(a, "a", "logic");
    const recorder = record(b, "push");
    await recorder.reader.assign(0);
    recorder.reader.pause(0);
    await sleep(clock, 30);
    const other = record(a, "push");
    await a.streams.commit({ fence, appends: numbers(1, 4).map(task) });
    await other.reader.assign(0);
    await eventually("ids are known", () => other.entries("push_task").length === 4);
    other.reader.revoke(0);
    for (const entry of other.entries("push_task")) {
      if (entry.ordinal % 2 === 0) await backend.vanish("push_task", 0, entry.id);
    }
    recorder.reader.resume(0);
    await eventually("3 is read", () => recorder.bodies("push_task").includes("3"), 8_000);
    expect(recorder.firsts("push_task")).toEqual(["1", "3"]);
  }, 10_000);

  test("an entry without ordinal that went to somebody else is found within seconds", async () => {
    const recorder = record(a, "logic");
    await recorder.reader.assign(0);
    recorder.reader.pause(0);
    await sleep(clock, 30);
    await a.streams.append([chat("1")]);
    expect(await backend.steal("chat_input", 0)).toBe(1);
    recorder.reader.resume(0);
    await eventually("1 is read", () => recorder.bodies("chat_input").length === 1, 8_000);
  }, 10_000);

  test("a paused partition waits, others go on, and nothing is lost or swapped", async () => {
    const recorder = record(a, "logic");
    await Promise.all([recorder.reader.assign(0), recorder.reader.assign(1)]);
    recorder.reader.pause(0);
    await a.streams.append([chat("1"), { ...chat("other"), partition: 1 }, chat("2")]);
    await eventually("the other is read", () => recorder.bodies("chat_input").length === 1);
    await sleep(clock, 30);
    expect(recorder.bodies("chat_input")).toEqual(["other"]);
    await a.streams.append([chat("3")]);
    recorder.reader.resume(0);
    await eventually("all are read", () => recorder.bodies("chat_input").length === 4);
    expect(recorder.bodies("chat_input")).toEqual(["other", "1", "2", "3"]);
  });

  test("after all data is lost a reader goes on with what comes then", async () => {
    const recorder = record(a, "logic");
    await recorder.reader.assign(0);
    await a.streams.append([chat("1")]);
    await eventually("1 is read", () => recorder.bodies("chat_input").length === 1);
    await backend.flush();
    await a.streams.append([chat("2")]);
    await eventually("2 is read", () => recorder.bodies("chat_input").includes("2"), 2_000);
    expect(recorder.firsts("chat_input")).toEqual(["1", "2"]);
  });

  test("a stream that is gone is reported, counted, and read anew", async () => {
    const recorder = record(a, "push");
    await recorder.reader.assign(0);
    const fence = await own(a, "a", "logic");
    await a.streams.commit({ fence, appends: [task("1")] });
    await eventually("1 is read", () => recorder.bodies("push_task").length === 1);
    await backend.drop("push_task", 0);
    const isLost = (error: Error) => error instanceof StreamLostError;
    await eventually("the loss is reported", () => recorder.errors.some(isLost), 2_000);
    await a.streams.commit({ fence, appends: [task("2")] });
    await eventually("2 is read", () => recorder.bodies("push_task").includes("2"), 2_000);
    const { values } = await a.metrics.dataLost.get();
    expect(values.find(({ labels }) => labels.what === "stream")?.value).toBe(1);
  });

  test("nothing is read while the reader may not, and everything once it may", async () => {
    const recorder = record(a, "logic");
    await recorder.reader.assign(0);
    await a.streams.append([chat("1")]);
    await eventually("1 is read", () => recorder.bodies("chat_input").length === 1);
    recorder.mayRead = false;
    // The read that is under way is the last one.
    await sleep(clock, 1_100);
    await a.streams.append([chat("2")]);
    await sleep(clock, 200);
    const taken = recorder.bodies("chat_input").length;
    expect(await backend.steal("chat_input", 0)).toBe(taken === 1 ? 1 : 0);
    recorder.mayRead = true;
    await eventually("2 is read", () => recorder.bodies("chat_input").includes("2"), 8_000);
  }, 12_000);

  test("an assignment takes effect at once although the reader is waiting", async () => {
    const recorder = record(a, "logic");
    await recorder.reader.assign(1);
    await sleep(clock, 30);
    const before = clock.monotonic();
    await recorder.reader.assign(0);
    expect(clock.monotonic() - before).toBeLessThan(300);
  });
});
