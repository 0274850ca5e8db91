/**
 * Processes come and go under load, on the layout where every role runs by itself: a rolling restart
 * of everything, and then one process of each role killed without a word.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { churn, type PairResult } from "./churn.ts";
import { Cluster } from "./cluster.ts";

const START_MS = 90_000;
const RUN_MS = 150_000;
const PAIRS = 8;
const ROLES = ["gateway", "access", "logic", "push", "offline"];

let cluster: Cluster;
let names = 0;

beforeAll(async () => {
  cluster = await Cluster.start({ layout: "split" });
}, START_MS);
afterAll(async () => {
  await cluster?.stop();
}, START_MS);

function checkAll(results: readonly PairResult[]): void {
  for (const { sent, received } of results) {
    const contents = received.map((message) => message.content);
    expect(contents.toSorted()).toEqual(sent.toSorted());
    for (let i = 1; i < received.length; i++) {
      const [before, after] = [received[i - 1]?.seq ?? 0, received[i]?.seq ?? 0];
      if (after <= before) throw new Error(`seq ${after} came after seq ${before}`);
    }
  }
}

/** Ends one process of each role with `signal` and starts another in its place. */
async function replaceEach(signal: NodeJS.Signals): Promise<number[]> {
  const codes: number[] = [];
  for (const role of ROLES) {
    const old = cluster.nodes.find((node) => node.roles === role);
    if (old === undefined) throw new Error(`no node runs ${role}`);
    // SQLite is one process's, and clients know a gateway by its port: these places must be free first.
    const first = role === "offline" || role === "gateway";
    if (first) codes.push(await cluster.kill(old, signal));
    await cluster.add(`${role}-again-${++names}`, role, first ? old.ports : {});
    if (!first) codes.push(await cluster.kill(old, signal));
    await Bun.sleep(500);
  }
  return codes;
}

async function underLoad(seed: number, work: () => Promise<number[]>): Promise<number[]> {
  const load = churn({
    gateways: cluster.gateways(),
    pairs: PAIRS,
    messagesPerPair: 600,
    seed,
    paceMs: 250,
  });
  const [results, codes] = await Promise.all([load, work()]);
  checkAll(results);
  return codes;
}

test(
  "a rolling restart of every role loses nothing and keeps the order",
  async () => {
    const codes = await underLoad(7, () => replaceEach("SIGTERM"));
    expect(codes).toEqual([0, 0, 0, 0, 0]);
  },
  RUN_MS,
);

test(
  "killing a process of each role without a word loses nothing and keeps the order",
  async () => {
    await underLoad(8, () => replaceEach("SIGKILL"));
  },
  RUN_MS,
);
