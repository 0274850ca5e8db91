/** A Redis Cluster of three masters with a replica each. */
import calculateSlot from "cluster-key-slot";
import type { Redis } from "ioredis";
import { RedisNode } from "./redis_node.ts";
import type { RedisTopology } from "./redis_topology.ts";

const SETTLED_MS = 40_000;
const SLOTS = 16_384;

interface Master {
  readonly node: RedisNode;
  readonly id: string;
  readonly from: number;
  readonly to: number;
  readonly replicas: number;
}

export class ClusterRedis implements RedisTopology {
  readonly kind = "cluster";

  private constructor(private readonly nodes: readonly RedisNode[]) {}

  static async start(lines: readonly string[] = []): Promise<ClusterRedis> {
    const own = ["cluster-enabled yes", "cluster-node-timeout 1500"];
    // What a dead master does not have goes on; what it has waits for its replica.
    const whole = ["cluster-require-full-coverage no", "cluster-replica-validity-factor 0"];
    const nodes = Array.from({ length: 6 }, () => new RedisNode([...own, ...whole, ...lines]));
    await Promise.all(nodes.map((node) => node.start()));
    const hosts = nodes.map(({ port }) => `127.0.0.1:${port}`);
    const create = ["--cluster", "create", ...hosts, "--cluster-replicas", "1", "--cluster-yes"];
    const made = Bun.spawn(["redis-cli", ...create], { stdout: "pipe", stderr: "pipe" });
    const said = await new Response(made.stdout).text();
    if ((await made.exited) !== 0) throw new Error(`no Redis Cluster was made:\n${said}`);
    const topology = new ClusterRedis(nodes);
    await topology.settled();
    return topology;
  }

  get url(): string {
    const hosts = this.nodes.slice(0, 3).map(({ port }) => `127.0.0.1:${port}`);
    return `redis+cluster://${hosts.join(",")}`;
  }

  async serving(key: string): Promise<Redis> {
    return (await this.masterOf(key)).node.admin;
  }

  async flush(): Promise<void> {
    await Promise.all((await this.masters()).map(({ node }) => node.admin.flushall()));
  }

  /** Kills the master of `key`, and starts it again once its replica has its slots. */
  async failOver(key = "{0}"): Promise<void> {
    const old = await this.masterOf(key);
    await old.node.kill();
    await until("a replica has taken over", async () => {
      const now = await this.masters().catch(() => []);
      return now.some(({ node, from }) => from === old.from && node !== old.node);
    });
    await old.node.start();
    await this.settled();
  }

  async masterOf(key: string): Promise<Master> {
    const slot = calculateSlot(key);
    const master = (await this.masters()).find(({ from, to }) => from <= slot && slot <= to);
    if (master === undefined) throw new Error(`nobody serves the slot of ${key}`);
    return master;
  }

  /** Moves the slot of `key` to another master, `pauseMs` between its keys; returns its new port. */
  async migrate(key: string, pauseMs = 0): Promise<number> {
    const slot = calculateSlot(key);
    const source = await this.masterOf(key);
    const target = (await this.masters()).find(({ node }) => node !== source.node) as Master;
    const [from, to] = [source.node.admin, target.node.admin];
    await to.cluster("SETSLOT", slot, "IMPORTING", source.id);
    await from.cluster("SETSLOT", slot, "MIGRATING", target.id);
    for (;;) {
      const keys = (await from.call("CLUSTER", ["GETKEYSINSLOT", String(slot), "1"])) as string[];
      if (keys.length === 0) break;
      const where = ["127.0.0.1", String(target.node.port), "", "0", "5000", "KEYS"];
      await from.call("MIGRATE", [...where, ...keys]);
      await Bun.sleep(pauseMs);
    }
    for (const { node } of [target, source, ...(await this.masters())]) {
      await node.admin.cluster("SETSLOT", slot, "NODE", target.id);
    }
    return target.node.port;
  }

  async masters(): Promise<Master[]> {
    const alive = this.nodes.find(({ isRunning }) => isRunning);
    const rows = (await alive?.admin.call("CLUSTER", ["SLOTS"])) as unknown[][];
    return rows.flatMap(([from, to, master, ...replicas]) => {
      const [, port, id] = master as [string, number, string];
      const node = this.nodes.find((candidate) => candidate.port === Number(port));
      const range = { from: Number(from), to: Number(to) };
      return node === undefined ? [] : [{ node, id, ...range, replicas: replicas.length }];
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  /** All slots are served, as all nodes see it, and each master has its replica in step. */
  private settled(): Promise<void> {
    return until("all slots are served, by masters with replicas", async () => {
      const infos = await Promise.all(this.nodes.map(({ admin }) => admin.cluster("INFO")));
      const well = infos.every(
        (info) => /cluster_state:ok/.test(info) && info.includes(`cluster_slots_ok:${SLOTS}`),
      );
      const masters = await this.masters();
      const replication = await Promise.all(
        [...new Set(masters.map(({ node }) => node))].map(({ admin }) => admin.info("replication")),
      );
      return well && replication.every((info) => /^slave\d+:.*state=online/m.test(info));
    });
  }
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + SETTLED_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${SETTLED_MS} ms, and not yet: ${what}`);
    await Bun.sleep(50);
  }
}
