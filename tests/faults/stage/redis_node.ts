/** The Redis of a run: on a port, every write on disk, and open to whoever wants to hurt it. */
import { mkdirSync } from "node:fs";
import { Redis } from "ioredis";
import type { LinkAddress } from "../network/link_fault.ts";

export class RedisNode {
  /** Behind everybody's back: through no proxy. */
  readonly admin: Redis;
  /** For commands that block or stall, so that `admin` stays usable. */
  readonly second: Redis;
  private process: Bun.Subprocess;

  constructor(
    readonly address: LinkAddress,
    private readonly dir: string,
    private readonly args: readonly string[] = [],
  ) {
    mkdirSync(dir, { recursive: true });
    this.process = this.spawn();
    this.admin = connect(address);
    this.second = connect(address);
  }

  get pid(): number {
    return this.process.pid;
  }

  async ready(): Promise<void> {
    await this.admin.ping();
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.exited;
  }

  /** Starts it again on its data and waits until it has loaded them. */
  async restart(): Promise<void> {
    this.process = this.spawn();
    for (;;) {
      const pong = await this.admin.ping().catch(() => "");
      if (pong === "PONG") return;
      await Bun.sleep(20);
    }
  }

  freeze(frozen: boolean): void {
    this.process.kill(frozen ? "SIGSTOP" : "SIGCONT");
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    this.second.disconnect();
    this.process.kill("SIGKILL");
    await this.process.exited;
  }

  abort(): void {
    this.process.kill("SIGKILL");
  }

  private spawn(): Bun.Subprocess {
    const { host, port } = this.address;
    const place = ["--bind", host, "--port", `${port}`, "--dir", this.dir, "--save", ""];
    const durable = ["--appendonly", "yes", "--appendfsync", "always"];
    const open = ["--enable-debug-command", "local", "--maxmemory-policy", "noeviction"];
    return Bun.spawn(["redis-server", ...place, ...durable, ...open, ...this.args], {
      stdout: "ignore",
      stderr: "ignore",
    });
  }
}

function connect({ host, port }: LinkAddress): Redis {
  const redis = new Redis({
    host,
    port,
    retryStrategy: () => 20,
    maxRetriesPerRequest: null,
    disableClientInfo: true,
  });
  redis.on("error", () => {});
  return redis;
}
