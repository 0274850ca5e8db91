/** A Redis for one test file: on a unix socket in a directory of its own, every write on disk. */
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import type { RedisTopology } from "./redis_topology.ts";

export interface RedisServerOptions {
  /** Further lines of redis.conf, as command line options. */
  readonly args?: readonly string[];
}

export class RedisServer implements RedisTopology {
  readonly kind = "single";
  private readonly dir = mkdtempSync(join(tmpdir(), "chatify-redis-"));
  /** What createRedis takes: the absolute path of the socket. */
  readonly url = join(this.dir, "redis.sock");
  /** For what a test does to the server behind the program's back. */
  readonly admin: Redis;
  private process: Bun.Subprocess;

  constructor(private readonly options: RedisServerOptions) {
    this.process = this.spawn();
    this.admin = new Redis(this.url, {
      retryStrategy: () => 20,
      maxRetriesPerRequest: null,
      disableClientInfo: true,
    });
    this.admin.on("error", () => {});
  }

  /** Stops the server as it is, connections open: SIGCONT lets it go on. */
  stall(): void {
    this.process.kill("SIGSTOP");
  }

  goOn(): void {
    this.process.kill("SIGCONT");
  }

  /** Bytes of the append-only file so far. */
  fileSize(): number {
    return statSync(this.file()).size;
  }

  /** Kills the server without warning and starts it again on its data, or on so much of it. */
  async crash(bytes?: number): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.exited;
    if (bytes !== undefined) truncateSync(this.file(), bytes);
    this.process = this.spawn();
    await this.admin.ping();
  }

  async serving(): Promise<Redis> {
    return this.admin;
  }

  async flush(): Promise<void> {
    await this.admin.flushall();
  }

  failOver(): Promise<void> {
    return this.crash();
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    this.process.kill("SIGKILL");
    await this.process.exited;
    rmSync(this.dir, { recursive: true, force: true });
  }

  private file(): string {
    const directory = join(this.dir, "appendonlydir");
    const name = readdirSync(directory).find((each) => each.endsWith(".incr.aof"));
    if (name === undefined) throw new Error("Redis writes no append-only file");
    return join(directory, name);
  }

  private spawn(): Bun.Subprocess {
    const place = ["--port", "0", "--unixsocket", this.url, "--dir", this.dir];
    const durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    const args = [...place, ...durable, ...(this.options.args ?? [])];
    return Bun.spawn(["redis-server", ...args], { stdout: "ignore", stderr: "ignore" });
  }
}

/** Resolves when the server answers; throws when redis-server is not installed. */
export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = new RedisServer(options);
  await server.admin.ping();
  return server;
}
