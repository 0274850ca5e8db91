/**
 * A real cluster for tests: processes of src/main.ts on free loopback ports, one of everything in one
 * process (`all`), or each role by itself with two of all that may be several (`split`).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { RedisServer } from "./redis_server.ts";
import { startRedis } from "./redis_topologies.ts";
import type { RedisTopology, TopologyKind } from "./redis_topology.ts";

export type Layout = "all" | "split";

export interface ClusterOptions {
  readonly layout: Layout;
  /** Where offline messages go; SQLite in a temporary directory when absent. */
  readonly databaseUrl?: string;
  readonly env?: Record<string, string>;
  /** How the Redis of layout `split` is run; with replicas, writes wait for one. */
  readonly redis?: TopologyKind;
}

export interface Node {
  readonly name: string;
  readonly roles: string;
  readonly process: Subprocess;
  readonly ports: Record<string, number>;
  /** Everything it wrote to stdout and stderr so far. */
  readonly output: () => string;
}

const READY_MS = 30_000;
const SECRET = "a secret for tests only";

export class Cluster {
  readonly dir = mkdtempSync(join(tmpdir(), "chatify-"));
  readonly nodes: Node[] = [];
  /** The Redis of layout `split`. */
  topology: RedisTopology | null = null;
  private env: Record<string, string> = {};

  private constructor(private readonly options: ClusterOptions) {}

  static async start(options: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(options);
    try {
      await cluster.boot();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** The Redis of layout `split` where it is a single server. */
  get redis(): RedisServer | null {
    return this.topology instanceof RedisServer ? this.topology : null;
  }

  /** `ws://host:port` of each gateway. */
  gateways(): string[] {
    return this.withPort("gateway").map((node) => `127.0.0.1:${node.ports.gateway}`);
  }

  http(role: string): string {
    const node = this.withPort(role)[0];
    if (node === undefined) throw new Error(`no node runs ${role}`);
    return `http://127.0.0.1:${node.ports[role]}`;
  }

  /** Starts one more process of `roles` and waits until it is ready; on given ports to follow another. */
  async add(name: string, roles: string, ports: Record<string, number> = {}): Promise<Node> {
    const node = await this.spawn(name, roles, ports);
    await this.ready(node);
    return node;
  }

  async kill(node: Node, signal: NodeJS.Signals): Promise<number> {
    node.process.kill(signal);
    const code = await node.process.exited;
    this.nodes.splice(this.nodes.indexOf(node), 1);
    return code;
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) node.process.kill("SIGTERM");
    await Promise.all(this.nodes.map((node) => node.process.exited));
    await this.topology?.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  private async boot(): Promise<void> {
    if (this.options.layout === "all") {
      this.env = { ROLE: "all" };
      await this.add("all", "all");
      return;
    }
    this.topology = await startRedis(this.options.redis ?? "single");
    const { kind, url } = this.topology;
    this.env = { REDIS_URL: url, CLUSTER_SECRET: SECRET, AUTH_MODE: "dev" };
    if (kind !== "single") this.env.DURABILITY = "replicated";
    const plan = ["offline", "logic", "logic", "push", "push", "access", "access"];
    const nodes = await Promise.all(
      [...plan, "gateway", "gateway"].map((role, i) => this.spawn(`${role}-${i}`, role)),
    );
    await Promise.all(nodes.map((node) => this.ready(node)));
  }

  private withPort(role: string): Node[] {
    return this.nodes.filter((node) => node.roles === role || node.roles === "all");
  }

  private async spawn(
    name: string,
    roles: string,
    given: Record<string, number> = {},
  ): Promise<Node> {
    const ports: Record<string, number> = {};
    // The store is one database, whoever opens it.
    const directory = roles === "offline" ? "offline" : name;
    const env: Record<string, string> = {
      PATH: process.env.PATH ?? "",
      HOME: this.dir,
      DATA_DIR: this.options.layout === "all" ? this.dir : join(this.dir, directory),
      LOG_LEVEL: "info",
      TRUNK_PORT: "0",
      ...this.env,
      ROLE: roles,
      ...(this.options.databaseUrl ? { OFFLINE_DATABASE_URL: this.options.databaseUrl } : {}),
      ...this.options.env,
    };
    for (const role of ["gateway", "access", "logic", "push", "offline", "admin"]) {
      ports[role] = given[role] ?? freePort();
      env[`${role.toUpperCase()}_PORT`] = `${ports[role]}`;
    }
    const child = Bun.spawn(["bun", "src/main.ts"], {
      cwd: join(import.meta.dir, "../.."),
      env,
      stdout: "pipe",
      stderr: "pipe",
    });
    let output = "";
    const collect = async (stream: ReadableStream<Uint8Array>) => {
      const decoder = new TextDecoder();
      for await (const chunk of stream) {
        output = (output + decoder.decode(chunk)).slice(-200_000);
      }
    };
    void collect(child.stdout);
    void collect(child.stderr);
    const node = { name, roles, process: child, ports, output: () => output };
    this.nodes.push(node);
    return node;
  }

  private async ready(node: Node): Promise<void> {
    const until = performance.now() + READY_MS;
    while (performance.now() < until && node.process.exitCode === null) {
      const answer = await fetch(`http://127.0.0.1:${node.ports.admin}/readyz`).catch(() => null);
      if (answer?.status === 200) return;
      await Bun.sleep(50);
    }
    throw new Error(`${node.name} did not become ready:\n${node.output()}`);
  }
}

/**
 * Below 32768, where the kernel takes no port for an outgoing connection before it is used; each
 * once, and from a place of this process's own, so that test runs beside it take others.
 */
let nextPort = (process.pid * 64) % 22_000;
function freePort(): number {
  for (;;) {
    const port = 10_000 + (nextPort++ % 22_000);
    try {
      const probe = Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
      probe.stop(true);
      return port;
    } catch {
      // Somebody has it.
    }
  }
}
