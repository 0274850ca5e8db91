/**
 * A whole cluster of real processes whose every link goes through a fault proxy. Each process listens
 * on 127.0.0.1 and tells the others that it is at an address of its own in 127.0.0.0/8, where a proxy
 * answers on the same port; its Redis and its database it also reaches through proxies of its own.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../../integration/process_program.ts";
import { Network } from "../network/network.ts";
import { type Database, PostgresDatabase, SqliteDatabase } from "./database.ts";
import { RedisNode } from "./redis_node.ts";
import { RoleProcess } from "./role_process.ts";

export interface StageOptions {
  readonly backend: "sqlite" | "postgres";
  readonly now: () => number;
  /** How many processes of each role; offline is one on SQLite. */
  readonly replicas?: number;
  /** Without proxies between clients and gateways: for more connections than a proxy can hold. */
  readonly directClients?: boolean;
}

const ROLES = ["offline", "logic", "push", "access", "gateway"] as const;
const PORTS = ["gateway", "access", "logic", "push", "offline", "trunk", "admin"] as const;
const SECRET = "a secret for fault runs only";
export const PARTITIONS = 8;

/** A link and which two parties it joins. */
export interface StageLink {
  readonly name: string;
  readonly between:
    | "client-gateway"
    | "role-access"
    | "role-redis"
    | "push-offline"
    | "gateway-api"
    | "offline-postgres";
}

export class Stage {
  readonly dir = mkdtempSync(join(tmpdir(), "chatify-faults-"));
  readonly network = new Network();
  readonly processes: RoleProcess[] = [];
  readonly links: StageLink[] = [];
  /** Where clients find the gateways: the proxies before them. */
  readonly gateways: string[] = [];
  private readonly octets = `127.${64 + (process.pid % 128)}.${(process.pid >> 7) % 256}`;

  private constructor(
    readonly options: StageOptions,
    readonly redis: RedisNode,
    readonly database: Database,
  ) {}

  static async start(options: StageOptions): Promise<Stage> {
    const dir = mkdtempSync(join(tmpdir(), "chatify-faults-data-"));
    // Postgres runs as somebody else where this is root.
    chmodSync(dir, 0o755);
    const [port = 0] = freePorts(1);
    const redis = new RedisNode({ host: "127.0.0.1", port }, join(dir, "redis"));
    let database: Database;
    try {
      database =
        options.backend === "sqlite" ? new SqliteDatabase(dir) : await PostgresDatabase.start(dir);
    } catch (error) {
      await redis.stop();
      throw error;
    }
    const stage = new Stage(options, redis, database);
    stage.dataDir = dir;
    try {
      await redis.ready();
      for (const role of ROLES) {
        const count = role === "offline" && options.backend === "sqlite" ? 1 : stage.replicas;
        for (let i = 1; i <= count; i++) await stage.add(role, i);
      }
      for (const process of stage.processes) process.start();
      await Promise.all(stage.processes.map((process) => process.ready()));
    } catch (error) {
      await stage.stop(true);
      throw error;
    }
    return stage;
  }

  private dataDir = "";

  private get replicas(): number {
    return this.options.replicas ?? 2;
  }

  of(role: string): RoleProcess[] {
    return this.processes.filter((process) => process.role === role);
  }

  linksBetween(between: StageLink["between"]): StageLink[] {
    return this.links.filter((link) => link.between === between);
  }

  /** `keepLogs`: the logs stay where they are. */
  async stop(keepLogs: boolean): Promise<void> {
    await Promise.all(this.processes.map((process) => process.stop()));
    await this.network.stop();
    await this.redis.stop();
    await this.database.stop();
    rmSync(this.dataDir, { recursive: true, force: true });
    if (!keepLogs) rmSync(this.dir, { recursive: true, force: true });
  }

  /** Ends everything at once, synchronously: for when this process itself is told to end. */
  abort(): void {
    for (const process of this.processes) process.abort();
    this.redis.abort();
    this.database.abort();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  /** A process of `role` with its ports and the proxies around it; not started yet. */
  private async add(role: string, number: number): Promise<void> {
    const name = `${role}-${number}`;
    const ports = new Map<string, number>();
    for (const [i, port] of freePorts(PORTS.length).entries()) ports.set(PORTS[i] ?? "", port);
    const host = `${this.octets}.${this.processes.length + 1}`;
    const [redisPort = 0] = freePorts(1);
    const redisAt = { host, port: redisPort };
    await this.link(`redis ${name}`, "role-redis", redisAt, this.redis.address);
    const env: Record<string, string> = {
      PATH: process.env.PATH ?? "",
      HOME: this.dir,
      DATA_DIR: join(this.dir, name),
      NODE_ID: name,
      ROLE: role,
      AUTH_MODE: "dev",
      HOST: "127.0.0.1",
      ADVERTISE_HOST: host,
      REDIS_URL: `redis://${host}:${redisPort}`,
      CLUSTER_SECRET: SECRET,
      CHAT_PARTITIONS: `${PARTITIONS}`,
      USER_PARTITIONS: `${PARTITIONS}`,
      TRACE_SAMPLE_RATIO: "0",
      LOG_LEVEL: process.env.FAULTS_LOG_LEVEL ?? "info",
    };
    for (const [port, value] of ports) env[`${port.toUpperCase()}_PORT`] = `${value}`;
    if (role === "offline") env.OFFLINE_DATABASE_URL = await this.databaseUrl(name, host);
    await this.expose(role, name, host, ports);
    const logs = join(this.dir, "logs");
    mkdirSync(logs, { recursive: true });
    const logPath = join(logs, `${name}.log`);
    const adminPort = ports.get("admin") ?? 0;
    this.processes.push(
      new RoleProcess({ name, role, env, adminPort, logPath, now: this.options.now }),
    );
  }

  private async databaseUrl(name: string, host: string): Promise<string> {
    const { database } = this;
    if (!(database instanceof PostgresDatabase)) return database.url();
    const [port = 0] = freePorts(1);
    const target = { host: "127.0.0.1", port: database.port };
    await this.link(`postgres ${name}`, "offline-postgres", { host, port }, target);
    return database.url({ host, port });
  }

  /** What others reach of this process. */
  private async expose(
    role: string,
    name: string,
    host: string,
    ports: ReadonlyMap<string, number>,
  ): Promise<void> {
    const open = async (kind: StageLink["between"], port: number) => {
      await this.link(`${kind} ${name}`, kind, { host, port }, { host: "127.0.0.1", port });
    };
    const port = ports.get(role) ?? 0;
    if (role === "access") await open("role-access", ports.get("trunk") ?? 0);
    if (role === "offline") await open("push-offline", port);
    // The gateway forwards the HTTP API to these by the addresses that they advertise.
    if (role === "logic" || role === "push") await open("gateway-api", port);
    if (role !== "gateway") return;
    if (this.options.directClients !== true) await open("client-gateway", port);
    this.gateways.push(
      this.options.directClients === true ? `127.0.0.1:${port}` : `${host}:${port}`,
    );
  }

  private async link(
    name: string,
    between: StageLink["between"],
    listen: { host: string; port: number },
    target: { host: string; port: number },
  ): Promise<void> {
    await this.network.link(name, listen, target);
    this.links.push({ name, between });
  }
}
