/** One redis-server on a loopback port, in a directory of its own, every write on disk. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";

const START_MS = 10_000;

export class RedisNode {
  readonly dir = mkdtempSync(join(tmpdir(), "chatify-redis-"));
  readonly port = freeRedisPort();
  /** For what a test does to the server behind the program's back. */
  readonly admin: Redis;
  private process: Bun.Subprocess | null = null;

  /** `lines`: further lines of its configuration; `sentinel`: it is one, not a server of data. */
  constructor(
    private readonly lines: readonly string[] = [],
    private readonly sentinel = false,
    admin: { readonly username?: string; readonly password?: string } = {},
  ) {
    const place = [`port ${this.port}`, "bind 127.0.0.1", `dir ${this.dir}`];
    const durable = ['save ""', "appendonly yes", "appendfsync always"];
    const data = [...durable, "repl-diskless-sync-delay 0", "repl-ping-replica-period 1"];
    // It writes what it learns into its file, so the file is written once and kept at a restart.
    writeFileSync(this.conf, [...place, ...(sentinel ? [] : data), ...lines, ""].join("\n"));
    this.admin = new Redis({
      ...admin,
      host: "127.0.0.1",
      port: this.port,
      lazyConnect: true,
      retryStrategy: () => 20,
      maxRetriesPerRequest: null,
      disableClientInfo: true,
    });
    this.admin.on("error", () => {});
  }

  get isRunning(): boolean {
    return this.process !== null;
  }

  async start(): Promise<void> {
    const mode = this.sentinel ? ["--sentinel"] : [];
    this.process = Bun.spawn(["redis-server", this.conf, ...mode], {
      stdout: "ignore",
      stderr: "ignore",
    });
    const until = performance.now() + START_MS;
    while (performance.now() < until) {
      const answer = await Promise.race([this.admin.ping().catch(() => ""), Bun.sleep(1_000)]);
      if (answer === "PONG") return;
      await Bun.sleep(20);
    }
    throw new Error(`redis-server on port ${this.port} did not start: ${this.lines.join("; ")}`);
  }

  /** Stops the server as it is, connections open: SIGCONT lets it go on. */
  stall(): void {
    this.process?.kill("SIGSTOP");
  }

  goOn(): void {
    this.process?.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    const { process } = this;
    this.process = null;
    process?.kill("SIGKILL");
    await process?.exited;
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  private get conf(): string {
    return join(this.dir, "redis.conf");
  }
}

/** Below 22 000, because a node of a Redis Cluster also takes the port 10 000 above its own. */
let nextPort = (process.pid * 64) % 12_000;
function freeRedisPort(): number {
  for (;;) {
    const port = 10_000 + (nextPort++ % 12_000);
    if (isFree(port) && isFree(port + 10_000)) return port;
  }
}

function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}
