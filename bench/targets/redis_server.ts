/** A Redis of our own on a unix socket, as durable as it is told to be. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { ended, freePort } from "./target.ts";

/**
 * `fsync`: on disk before the answer; `everysec`: on disk within a second; `memory`: no log at all;
 * `replicated`: as `everysec`, and each write waits for the replica.
 */
export const DURABILITIES = ["fsync", "everysec", "memory", "replicated"] as const;
export type Durability = (typeof DURABILITIES)[number];

export interface RedisServer {
  /** The server, and its replica if it has one. */
  readonly children: readonly Bun.Subprocess[];
  /** What ioredis takes. */
  readonly url: string;
  stop(): Promise<void>;
}

const STOP_MS = 12_000;

export function startRedis(dir: string, durability: Durability): RedisServer {
  const url = join(dir, "redis", "redis.sock");
  const port = durability === "replicated" ? freePort() : 0;
  const children = [spawn(join(dir, "redis"), url, durability, port)];
  if (port !== 0) {
    const own = join(dir, "replica");
    const follow = ["--replicaof", "127.0.0.1", `${port}`];
    children.push(spawn(own, join(own, "redis.sock"), durability, 0, follow));
  }
  const stop = async () => {
    for (const child of children) child.kill("SIGTERM");
    await Promise.all(children.map((child) => ended(child, STOP_MS)));
  };
  return { children, url, stop };
}

function spawn(
  dir: string,
  socket: string,
  durability: Durability,
  port: number,
  more: readonly string[] = [],
): Bun.Subprocess {
  mkdirSync(dir);
  const log = ["--appendonly", durability === "memory" ? "no" : "yes"];
  const sync = ["--appendfsync", durability === "fsync" ? "always" : "everysec"];
  const rewrites = ["--auto-aof-rewrite-min-size", "128mb", "--rdbcompression", "no"];
  const place = ["--bind", "127.0.0.1", "--port", `${port}`, "--unixsocket", socket, "--dir", dir];
  return Bun.spawn(
    ["redis-server", ...place, "--save", "", ...log, ...sync, ...rewrites, ...more],
    {
      stdout: "ignore",
      stderr: "inherit",
    },
  );
}
