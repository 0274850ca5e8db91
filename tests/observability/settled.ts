/** Waits until a cluster is whole: every partition owned, everybody linked to every access node. */
import type { Cluster, Node } from "../integration/cluster.ts";

const PARTITIONS = 16;
const WAIT_MS = 20_000;

export async function metricsOf(node: Node): Promise<string> {
  return (await fetch(`http://127.0.0.1:${node.ports.admin}/metrics`)).text();
}

export async function untilSettled(cluster: Cluster): Promise<void> {
  const until = performance.now() + WAIT_MS;
  const access = cluster.nodes.filter((node) => node.roles === "access").length;
  let owned = 0;
  while (performance.now() < until) {
    const texts = await Promise.all(cluster.nodes.map(metricsOf));
    owned = texts.join("").match(/^chatify_partition_epoch\{/gm)?.length ?? 0;
    const linked = cluster.nodes.every((node, i) => {
      if (node.roles === "offline" || node.roles === "access") return true;
      return Number(/^chatify_trunk_links (\d+)$/m.exec(texts[i] ?? "")?.[1] ?? 0) >= access;
    });
    if (owned === PARTITIONS && linked) return Bun.sleep(300);
    await Bun.sleep(100);
  }
  throw new Error(`after ${WAIT_MS} ms ${owned} of ${PARTITIONS} partitions have an owner`);
}
