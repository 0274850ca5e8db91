/**
 * A primary with one replica, which follows it through a fault proxy, and three Sentinels that watch
 * them. What the primary has and the replica has not can so be lost for certain: it waits in the
 * proxy, and is thrown away there.
 */
import { freePorts } from "../../integration/process_program.ts";
import { RedisNode } from "../../integration/redis_node.ts";
import { FaultProxy } from "../network/fault_proxy.ts";

const NAME = "chatify";
const HOST = "127.0.0.1";
const WAIT_MS = 20_000;

export class ReplicatedRedis {
  private constructor(
    readonly primary: RedisNode,
    readonly replica: RedisNode,
    private readonly link: FaultProxy,
    private readonly sentinels: readonly RedisNode[],
  ) {}

  static async start(): Promise<ReplicatedRedis> {
    const primary = new RedisNode();
    await primary.start();
    const [port = 0] = freePorts(1);
    const listen = { host: HOST, port };
    const link = new FaultProxy({
      name: "replication",
      listen,
      target: { host: HOST, port: primary.port },
    });
    const replica = new RedisNode([`replicaof ${HOST} ${port}`]);
    await replica.start();
    const watch = [
      `sentinel monitor ${NAME} ${HOST} ${primary.port} 2`,
      `sentinel down-after-milliseconds ${NAME} 1000`,
      `sentinel failover-timeout ${NAME} 5000`,
    ];
    const sentinels = [1, 2, 3].map(() => new RedisNode(watch, true));
    await Promise.all(sentinels.map((node) => node.start()));
    const redis = new ReplicatedRedis(primary, replica, link, sentinels);
    await redis.settled();
    return redis;
  }

  get url(): string {
    return `redis+sentinel://${this.sentinels.map(({ port }) => `${HOST}:${port}`).join()}/${NAME}`;
  }

  /** The replica hangs, and nothing more reaches it. */
  stallReplica(): void {
    this.link.set({ kind: "stall" });
    this.replica.stall();
  }

  /** The primary dies with what the replica has not got; the replica goes on and is promoted. */
  async promoteReplica(): Promise<void> {
    await this.primary.kill();
    this.link.set({ kind: "cut" });
    this.replica.goOn();
    await until("the replica is promoted", async () => {
      const info = await this.replica.admin.info("replication");
      return info.includes("role:master");
    });
  }

  /** A fresh replica of the new primary, without which nothing is accepted. */
  async addReplica(): Promise<RedisNode> {
    const replica = new RedisNode([`replicaof ${HOST} ${this.replica.port}`]);
    await replica.start();
    this.others.push(replica);
    return replica;
  }

  private readonly others: RedisNode[] = [];

  async stop(): Promise<void> {
    this.replica.goOn();
    this.link.stop();
    const nodes = [...this.sentinels, ...this.others, this.replica, this.primary];
    await Promise.all(nodes.map((node) => node.stop()));
  }

  private settled(): Promise<void> {
    return until("the replica follows and three Sentinels watch", async () => {
      const info = await this.primary.admin.info("replication");
      const views = await Promise.all(this.sentinels.map(({ admin }) => viewOf(admin)));
      const agreed = views.every(
        (v) => v["num-other-sentinels"] === "2" && v["num-slaves"] === "1",
      );
      return /^slave0:.*state=online/m.test(info) && agreed;
    });
  }
}

async function viewOf(sentinel: RedisNode["admin"]): Promise<Record<string, string>> {
  const flat = (await sentinel.call("SENTINEL", ["master", NAME])) as string[];
  const view: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) view[flat[i] ?? ""] = flat[i + 1] ?? "";
  return view;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${WAIT_MS} ms, and not yet: ${what}`);
    await Bun.sleep(20);
  }
}
