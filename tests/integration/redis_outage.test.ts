/**
 * Redis goes away under people who chat, on the layout where every role runs by itself: killed and
 * started again on its data, and frozen for longer than a lease lasts.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chatThrough } from "./chat_through.ts";
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

test(
  "killing Redis and starting it again on its data loses nothing and keeps the order",
  async () => {
    await chatThrough({ cluster, seed: 21 }, () => redis().crash());
  },
  RUN_MS,
);

test(
  "while Redis is frozen connections stay and nothing is accepted; then everything goes on",
  async () => {
    const [gateway] = cluster.gateways();
    const alice = await RawClient.connect(gateway as string, "alice-frozen");
    const bob = await RawClient.connect(gateway as string, "bob-frozen");
    await chatThrough({ cluster, seed: 22 }, async () => {
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
