/** People who chat while something goes wrong: everything arrives, once, in the order of `seq`. */
import { expect } from "bun:test";
import { churn } from "./churn.ts";
import type { Cluster } from "./cluster.ts";

export interface ChatThroughOptions {
  readonly cluster: Cluster;
  readonly seed: number;
  readonly pairs?: number;
  readonly messagesPerPair?: number;
  readonly paceMs?: number;
}

export async function chatThrough(
  { cluster, seed, pairs = 8, messagesPerPair = 400, paceMs = 150 }: ChatThroughOptions,
  trouble: () => Promise<void>,
): Promise<void> {
  const load = churn({ gateways: cluster.gateways(), pairs, messagesPerPair, seed, paceMs });
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
