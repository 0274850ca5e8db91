/**
 * What ends a process of a cluster while people chat: a rolling restart, role by role, and kill -9.
 * Nothing that was accepted is lost, and after dedup it arrives in order. KILLS=n in the environment
 * kills each role n times, for figures that mean something; the test itself kills each once.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Cluster, type Node } from "./cluster.ts";
import { Chat, percentile } from "./process_chat.ts";

const KILLS = Number(process.env.KILLS ?? 1);
setDefaultTimeout(60_000 + KILLS * 60_000);

/** The promise of the design: everything accepted is there 10 s after the last fault. */
const RECOVERED_MS = 10_000;
/** Slower than any message of an undisturbed chat on a busy machine. */
const SLOW_MS = 150;
const PAIRS = 8;
const EVERY_MS = 40;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ layout: "split" });
}, 60_000);
afterAll(async () => {
  await cluster?.stop();
}, 60_000);

const startChat = () =>
  Chat.start({ gateways: () => cluster.gateways(), pairs: PAIRS, everyMs: EVERY_MS });
const nodesOf = (role: string) => cluster.nodes.filter((node) => node.roles === role);

/** Under its name, so that it finds the data directory of the one that it replaces. */
const replace = (node: Node) => cluster.add(node.name, node.roles);

/** Waits until every direction has received something that was sent from now on. */
async function flowing(chat: Chat): Promise<void> {
  const now = performance.now();
  await chat.until(
    () =>
      chat.directions.every((direction) => {
        const last = direction.received.at(-1);
        return last !== undefined && (direction.sentAt.get(last.content) ?? 0) > now;
      }),
    "messages to flow both ways in every pair",
  );
}

test("a rolling restart of every process of every role loses nothing and keeps order", async () => {
  const chat = await startChat();
  for (const role of ["gateway", "access", "logic", "push", "offline"]) {
    for (const node of nodesOf(role)) {
      const start = performance.now();
      expect(await cluster.kill(node, "SIGTERM")).toBe(0);
      expect(performance.now() - start).toBeLessThan(RECOVERED_MS);
      await replace(node);
    }
    await flowing(chat);
  }
  await chat.finish();
  expect(chat.faults()).toEqual([]);
  expect(chat.missing()).toEqual([]);
  await chat.close();
});

for (const role of ["logic", "push", "access", "gateway"]) {
  test(`kill -9 of one ${role} while people chat loses nothing and keeps order`, async () => {
    const chat = await startChat();
    const heldUp: number[] = [];
    for (let i = 0; i < KILLS; i++) {
      await flowing(chat);
      const [victim] = nodesOf(role);
      if (victim === undefined) throw new Error(`no node runs ${role}`);
      const faultAt = performance.now();
      await cluster.kill(victim, "SIGKILL");
      await flowing(chat);
      // Whoever does not get it by now gets it late, and that is in the figure.
      await chat.until(
        () => performance.now() - faultAt > SLOW_MS && chat.missing().length < PAIRS * 4,
        "the backlog to be gone",
      );
      heldUp.push(...chat.heldUpMs(faultAt, SLOW_MS));
      await replace(victim);
    }
    await chat.finish();
    expect(chat.faults()).toEqual([]);
    expect(chat.missing()).toEqual([]);
    await chat.close();
    const [p50, p99, max] = [0.5, 0.99, 1].map((share) => Math.round(percentile(heldUp, share)));
    const felt = `${heldUp.length} of ${KILLS * PAIRS * 2} directions felt it`;
    process.stderr.write(`${role}: ${KILLS} kills, ${felt}, p50/p99/max ${p50}/${p99}/${max} ms\n`);
    expect(max).toBeLessThan(RECOVERED_MS);
  });
}
