/**
 * Redis goes away under people who chat, on the layout where every role runs by itself: killed and
 * started again on its data, and frozen for longer than a lease lasts.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { churn } from "./churn.ts";
import { Cluster } from "./cluster.ts";
import { RawClient } from "./raw_client.ts";

const START_MS = 90_000;
const RUN_MS = 120_000;
const FROZEN_MS = 7_000;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ layout: "split" });
}, START_MS);
afterAll(async () => {
  await cluster?.stop();
}, START_MS);

function redis() {
  if (cluster.redis === null) throw new Error("the cluster has no Redis of its own");
  return cluster.redis;
}

async function chatThrough(seed: number, trouble: () => Promise<void>): Promise<void> {
  const load = churn({
    gateways: cluster.gateways(),
    pairs: 8,
    messagesPerPair: 400,
    seed,
    paceMs: 150,
  });
  await Bun.sleep(1_500);
  await trouble();
  for (const { sent, received } of await load) {
    expect(received.map(({ content }) => content).toSorted()).toEqual(sent.toSorted());
    for (let i = 1; i < received.length; i++) {
      const [before, after] = [received[i - 1]?.seq ?? 0, received[i]?.seq ?? 0];
      if (after <= before) throw new Error(`seq ${after} came after seq ${before}`);
    }
  }
}

test(
  "killing Redis and starting it again on its data loses nothing and keeps the order",
  async () => {
    await chatThrough(21, () => redis().crash());
  },
  RUN_MS,
);

test(
  "while Redis is frozen connections stay and nothing is accepted; then everything goes on",
  async () => {
    const [gateway] = cluster.gateways();
    const alice = await RawClient.connect(gateway as string, "alice-frozen");
    const bob = await RawClient.connect(gateway as string, "bob-frozen");
    await chatThrough(22, async () => {
      redis().stall();
      alice.chat("bob-frozen", "while frozen", "f1");
      await Bun.sleep(FROZEN_MS);
      expect(alice.frames.some((frame) => frame.type === "accepted")).toBe(false);
      alice.send({ type: "ping" });
      await alice.frame("pong");
      redis().goOn();
    });
    // Whether it was taken is not known, so the client repeats it under the same id.
    alice.chat("bob-frozen", "while frozen", "f1");
    await alice.frame("sent", (frame) => frame.client_msg_id === "f1");
    expect(await bob.received(1)).toMatchObject([{ content: "while frozen", seq: 1 }]);
    for (const client of [alice, bob]) client.close();
  },
  RUN_MS,
);
