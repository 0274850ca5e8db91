/**
 * The product under load: real processes of src/main.ts. One process with its embedded Redis, or
 * each role by itself, several times if need be, with a Redis that is started the same way.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { present } from "../present.ts";
import { type Durability, startRedis } from "./redis_server.ts";
import { API_KEY, ended, freePort, JWT_SECRET, type Target, WS_PATH } from "./target.ts";

export interface OursOptions {
  readonly processes: 1 | 5;
  /** Of each role, the offline store on SQLite apart, which is one. */
  readonly replicas: number;
  readonly durability: Durability;
  /** Absent: it is kept, as by default. */
  readonly ledger?: boolean;
  /** Where each process leaves a CPU profile; null: none. */
  readonly profileDir: string | null;
}

const READY_MS = 30_000;
const STOP_MS = 12_000;
const ROLES = ["offline", "push", "logic", "access", "gateway"] as const;

export interface Started {
  readonly child: Bun.Subprocess;
  readonly name: string;
  readonly ports: Readonly<Record<string, number>>;
}

export async function startOurs(options: OursOptions): Promise<Target> {
  const dir = mkdtempSync(join(tmpdir(), "chatify-bench-"));
  const started: Started[] = [];
  const redis =
    options.processes === 1 && options.durability === "fsync"
      ? null
      : startRedis(dir, options.durability);
  const stop = async () => {
    for (const { child } of started) child.kill("SIGTERM");
    await Promise.all(started.map(({ child }) => ended(child, STOP_MS)));
    await redis?.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  const env = {
    ...baseEnv(options.durability),
    ...(options.ledger === false ? { LEDGER_RETENTION_HOURS: "0" } : {}),
    ...(redis === null ? {} : { REDIS_URL: redis.url }),
  };
  try {
    for (const [name, role] of plan(options))
      started.push(start(dir, name, role, env, options.profileDir));
    await Promise.all(started.map(untilReady));
  } catch (error) {
    await stop();
    throw error;
  }
  const names = started.map(({ child, name }): [number, string] => [child.pid, name]);
  for (const { pid } of redis?.children ?? []) names.push([pid, "redis-server"]);
  const portsOf = (role: string) =>
    started
      .filter(({ name }) => name === "all" || name.startsWith(role))
      .map(({ ports }) => present(ports[role]));
  return {
    wsPorts: portsOf("gateway"),
    path: WS_PATH,
    dialect: "chatify",
    httpPorts: portsOf("logic"),
    pids: new Map(names),
    redisUrl: redis?.url ?? join(dir, "all", "redis", "redis.sock"),
    stop,
  };
}

function plan({ processes, replicas }: OursOptions): [name: string, role: string][] {
  if (processes === 1) return [["all", "all"]];
  return ROLES.flatMap((role) =>
    Array.from({ length: role === "offline" ? 1 : replicas }, (_, i): [string, string] => [
      `${role}-${i}`,
      role,
    ]),
  );
}

/** Nothing is inherited, so that a developer's environment does not change the figures. */
export function baseEnv(durability: Durability): Record<string, string> {
  return {
    PATH: process.env.PATH ?? "",
    AUTH_MODE: "jwt",
    JWT_SECRET,
    API_KEYS: API_KEY,
    CLUSTER_SECRET: "a secret for the benchmark",
    // What it can take is what is measured.
    ADMISSION_RATE: "1000000",
    HOST: "127.0.0.1",
    ADVERTISE_HOST: "127.0.0.1",
    LOG_LEVEL: "warn",
    // As the image and scripts/up set it.
    MIMALLOC_PURGE_DELAY: "10000",
    // What the product calls memory is whatever Redis does by itself.
    DURABILITY: durability === "fsync" || durability === "replicated" ? durability : "memory",
  };
}

/** Ports are free ones, unless `given` names them. */
export function start(
  dir: string,
  name: string,
  role: string,
  base: Record<string, string>,
  profileDir: string | null,
  given: Readonly<Record<string, number>> = {},
): Started {
  const ports: Record<string, number> = {};
  const env: Record<string, string> = { ...base, ROLE: role, DATA_DIR: join(dir, name) };
  for (const port of ["gateway", "access", "logic", "push", "offline", "trunk", "admin"]) {
    ports[port] = given[port] ?? freePort();
    env[`${port.toUpperCase()}_PORT`] = `${ports[port]}`;
  }
  const profile = [
    "--cpu-prof",
    `--cpu-prof-dir=${profileDir}`,
    `--cpu-prof-name=${name}.cpuprofile`,
  ];
  const child = Bun.spawn(["bun", ...(profileDir === null ? [] : profile), "src/main.ts"], {
    cwd: join(import.meta.dir, "../.."),
    env,
    stdout: "inherit",
    stderr: "inherit",
  });
  return { child, name, ports };
}

export async function untilReady({ child, name, ports }: Started): Promise<void> {
  const until = performance.now() + READY_MS;
  while (performance.now() < until && child.exitCode === null) {
    const answer = await fetch(`http://127.0.0.1:${ports.admin}/readyz`).catch(() => null);
    if (answer?.status === 200) return;
    await Bun.sleep(50);
  }
  throw new Error(`${name} did not become ready`);
}
