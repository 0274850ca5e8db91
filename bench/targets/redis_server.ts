/** A Redis of our own on a unix socket, durable as the product's embedded one. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";

export interface RedisServer {
  readonly child: Bun.Subprocess;
  /** What ioredis takes. */
  readonly url: string;
}

export function startRedis(dir: string, everysec: boolean): RedisServer {
  const own = join(dir, "redis");
  mkdirSync(own);
  const url = join(own, "redis.sock");
  const durable = ["--appendonly", "yes", "--appendfsync", everysec ? "everysec" : "always"];
  const place = ["--port", "0", "--unixsocket", url, "--dir", own, "--save", ""];
  const child = Bun.spawn(["redis-server", ...place, ...durable], {
    stdout: "ignore",
    stderr: "inherit",
  });
  return { child, url };
}
