import type { DialectName } from "../job.ts";

/** Something under load: where it listens, which processes it is, and how to end it. */
export interface Target {
  readonly wsPorts: readonly number[];
  readonly path: string;
  readonly dialect: DialectName;
  /** Where system pushes go; empty for what takes none. */
  readonly httpPorts: readonly number[];
  /** What to count: these processes and all that they started. */
  readonly pids: ReadonlyMap<number, string>;
  /** What ioredis takes; null when there is no Redis in it. */
  readonly redisUrl: string | null;
  /** What it writes when it ends badly. */
  stop(): Promise<void>;
}

/** Signs the users' tokens; known to the product's processes and the load generator. */
export const JWT_SECRET = "a secret for the benchmark, 32 characters or more";
export const API_KEY = "the-key-of-the-benchmark";
export const WS_PATH = "/chatify/access/v1/ws";

/** Waits for `process` to end, and kills it when it takes its time. */
export async function ended(process: Bun.Subprocess, waitMs: number): Promise<void> {
  const timer = setTimeout(() => process.kill("SIGKILL"), waitMs);
  await process.exited;
  clearTimeout(timer);
}

export function freePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = server;
  server.stop(true);
  return port;
}
