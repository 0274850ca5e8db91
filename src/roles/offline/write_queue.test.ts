import { expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import type { OfflineRow } from "../../core/offline/contract.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { type Outcome, type Write, WriteQueue } from "./write_queue.ts";

const row = (msg_id: string): OfflineRow => ({
  user_id: "ann",
  msg_id,
  conversation_id: "u:ann:bob",
  seq: 1,
  expire_time: 0,
  stored_at: 1,
  message: "{}",
});
const archive = (...ids: string[]): Write => ({
  kind: "archive",
  owner: { partition: 0, epoch: 1 },
  rows: ids.map(row),
});
const idsOf = (write: Write) => (write.kind === "archive" ? write.rows.map((r) => r.msg_id) : []);

function queue(answer: (write: Write) => Outcome = () => 1, bounds: object = {}) {
  const transactions: string[][] = [];
  const writes = new WriteQueue({
    clock: systemClock,
    async transact(batch) {
      transactions.push(batch.flatMap(idsOf));
      const outcomes = batch.map((write) => {
        const outcome = answer(write);
        if (outcome instanceof Error && !(outcome instanceof RangeError)) throw outcome;
        return outcome;
      });
      return outcomes;
    },
    ...bounds,
  });
  return { writes, transactions };
}

const fates = async (calls: Promise<number>[]) =>
  (await Promise.allSettled(calls)).map(({ status }) => status === "fulfilled");

test("writes of one turn share a transaction, later ones get their own", async () => {
  const { writes, transactions } = queue();
  await Promise.all([writes.submit(archive("a")), writes.submit(archive("b", "c"))]);
  await writes.submit(archive("d"));
  expect(transactions).toEqual([["a", "b", "c"], ["d"]]);
});

test("a transaction ends where its rows do, never within a call", async () => {
  const { writes, transactions } = queue(() => 1, { transactionRowsMax: 3 });
  const calls = [archive("a", "b"), archive("c", "d"), archive("e"), archive("f", "g", "h", "i")];
  await Promise.all(calls.map((write) => writes.submit(write)));
  expect(transactions).toEqual([
    ["a", "b"],
    ["c", "d", "e"],
    ["f", "g", "h", "i"],
  ]);
});

test("a refused call fails alone", async () => {
  const { writes } = queue((write) => (idsOf(write)[0] === "b" ? new RangeError("stale") : 1));
  const calls = ["a", "b", "c"].map((id) => writes.submit(archive(id)));
  expect(await fates(calls)).toEqual([true, false, true]);
});

test("a call that breaks the transaction fails alone too, because each is tried by itself", async () => {
  const broken = new ChatifyError("bad_request", "cannot be stored");
  const { writes, transactions } = queue((write) => (idsOf(write)[0] === "b" ? broken : 1));
  const calls = ["a", "b", "c"].map((id) => writes.submit(archive(id)));
  expect(await fates(calls)).toEqual([true, false, true]);
  expect(transactions).toEqual([["a", "b", "c"], ["a"], ["b"], ["c"]]);
});

test("a database that is away fails the whole transaction at once", async () => {
  const { writes, transactions } = queue(() => new ChatifyError("unavailable", "away"));
  const calls = ["a", "b"].map((id) => writes.submit(archive(id)));
  expect(await fates(calls)).toEqual([false, false]);
  expect(transactions).toHaveLength(1);
});

test("more rows than may wait are refused as overloaded, unless nothing waits", async () => {
  const { writes } = queue(() => 1, { pendingRowsMax: 3 });
  const large = writes.submit(archive("a", "b", "c", "d", "e"));
  expect(writes.submit(archive("f"))).rejects.toMatchObject({ code: "overloaded" });
  await large;
  expect(await writes.submit(archive("g"))).toBe(1);
});

test("after close every write is unavailable, and those before it are answered", async () => {
  const { writes } = queue();
  const before = writes.submit(archive("a"));
  await writes.close();
  expect(await before).toBe(1);
  expect(writes.submit(archive("b"))).rejects.toMatchObject({ code: "unavailable" });
});
