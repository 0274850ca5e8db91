/** One primary, two replicas, three Sentinels. */
import { Redis } from "ioredis";
import { RedisNode } from "./redis_node.ts";
import type { RedisTopology } from "./redis_topology.ts";

const NAME = "chatify";
const FAILOVER_MS = 30_000;
const DOWN_AFTER_MS = 1_000;

export class SentinelRedis implements RedisTopology {
  readonly kind = "sentinel";
  private readonly admin: Redis;

  private constructor(
    private readonly nodes: readonly RedisNode[],
    private readonly sentinels: readonly RedisNode[],
  ) {
    this.admin = new Redis({
      sentinels: sentinels.map(({ port }) => ({ host: "127.0.0.1", port })),
      name: NAME,
      sentinelRetryStrategy: () => 50,
      retryStrategy: () => 50,
      maxRetriesPerRequest: null,
      failoverDetector: true,
      disableClientInfo: true,
    });
    this.admin.on("error", () => {});
  }

  static async start(): Promise<SentinelRedis> {
    const primary = new RedisNode();
    await primary.start();
    const follow = [`replicaof 127.0.0.1 ${primary.port}`];
    const replicas = [new RedisNode(follow), new RedisNode(follow)];
    await Promise.all(replicas.map((node) => node.start()));
    const watch = [
      `sentinel monitor ${NAME} 127.0.0.1 ${primary.port} 2`,
      `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${NAME} 5000`,
      `sentinel parallel-syncs ${NAME} 2`,
    ];
    const sentinels = [1, 2, 3].map(() => new RedisNode(watch, true));
    await Promise.all(sentinels.map((node) => node.start()));
    const topology = new SentinelRedis([primary, ...replicas], sentinels);
    await topology.settled();
    return topology;
  }

  get url(): string {
    const hosts = this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",");
    return `redis+sentinel://${hosts}/${NAME}`;
  }

  async serving(): Promise<Redis> {
    return this.admin;
  }

  async flush(): Promise<void> {
    await this.admin.flushall();
  }

  async primary(): Promise<RedisNode> {
    const port = await this.primaryPort();
    const node = this.nodes.find((candidate) => candidate.port === port);
    if (node === undefined) throw new Error(`no node listens on the primary's port ${port}`);
    return node;
  }

  async failOver(): Promise<void> {
    const old = await this.primary();
    await old.kill();
    await until("another is primary", async () => (await this.primaryPort()) !== old.port);
    await old.start();
    await this.follow(old);
  }

  /** Lets the primary hang, its connections open, until another is primary; then it goes on. */
  async hang(): Promise<void> {
    const old = await this.primary();
    old.stall();
    try {
      await until("another is primary", async () => (await this.primaryPort()) !== old.port);
    } finally {
      old.goOn();
    }
    await this.follow(old);
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    await Promise.all([...this.sentinels, ...this.nodes].map((node) => node.stop()));
  }

  /** What the Sentinels do by themselves some ten seconds later. */
  private async follow(old: RedisNode): Promise<void> {
    await old.admin.replicaof("127.0.0.1", await this.primaryPort());
    await this.settled();
  }

  /** Two replicas follow the primary, and all Sentinels know one another: a failover can succeed. */
  private settled(): Promise<void> {
    return until("two replicas follow and three Sentinels watch", async () => {
      const primary = await this.primary();
      if (!primary.isRunning) return false;
      const info = await primary.admin.info("replication");
      const online = info.match(/^slave\d+:.*state=online/gm)?.length ?? 0;
      const views = await Promise.all(this.sentinels.map(({ admin }) => masterOf(admin)));
      return (
        info.includes("role:master") &&
        online === 2 &&
        views.every(
          (view) =>
            view["num-other-sentinels"] === "2" &&
            view["num-slaves"] === "2" &&
            view.port === String(primary.port) &&
            view.flags === "master",
        )
      );
    });
  }

  private async primaryPort(): Promise<number> {
    const reply = await this.sentinels[0]?.admin.call("SENTINEL", [
      "get-master-addr-by-name",
      NAME,
    ]);
    return Number((reply as string[])[1]);
  }
}

async function masterOf(sentinel: Redis): Promise<Record<string, string>> {
  const flat = (await sentinel.call("SENTINEL", ["master", NAME])) as string[];
  const view: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) view[flat[i] ?? ""] = flat[i + 1] ?? "";
  return view;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + FAILOVER_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${FAILOVER_MS} ms, and not yet: ${what}`);
    await Bun.sleep(50);
  }
}
