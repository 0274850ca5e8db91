/** The SQL side of a run, SQLite or Postgres: how to hurt it, and what is in it, seen from outside. */
import { Database as SqliteFile } from "bun:sqlite";
import { join } from "node:path";
import { SQL } from "bun";
import { type PostgresServer, startPostgres } from "../../integration/postgres_server.ts";
import { type Disk, openDisk } from "./disk.ts";

export interface StoredRow {
  readonly user_id: string;
  readonly msg_id: string;
  readonly expire_time: number;
}

export interface Database {
  readonly backend: "sqlite" | "postgres";
  readonly disk: Disk;
  /** What an offline process opens; `through` is where it reaches a server instead. */
  url(through?: { host: string; port: number }): string;
  /** Nobody can write for so long. */
  lock(ms: number): Promise<void>;
  rows(): Promise<StoredRow[]>;
  /** Deletes a row that was never delivered, as only a bug could. */
  steal(): Promise<StoredRow | null>;
  stop(): Promise<void>;
  /** The same at once, without waiting. */
  abort(): void;
}

const DISK_MIB = { sqlite: 96, postgres: 420 } as const;

export class SqliteDatabase implements Database {
  readonly backend = "sqlite";
  readonly disk: Disk;
  private readonly path: string;

  constructor(dir: string) {
    this.disk = openDisk(join(dir, "sql"), DISK_MIB.sqlite);
    this.path = join(this.disk.dir, "offline.db");
  }

  url(): string {
    return `sqlite:${this.path}`;
  }

  async lock(ms: number): Promise<void> {
    const file = this.open();
    try {
      file.run("PRAGMA busy_timeout = 2000");
      file.run("BEGIN IMMEDIATE");
      await Bun.sleep(ms);
      file.run("ROLLBACK");
    } finally {
      file.close();
    }
  }

  async rows(): Promise<StoredRow[]> {
    const file = this.open();
    try {
      const sql = "SELECT user_id, msg_id, expire_time FROM offline_messages";
      return file.query<StoredRow, []>(sql).all();
    } finally {
      file.close();
    }
  }

  async steal(): Promise<StoredRow | null> {
    const file = this.open();
    try {
      file.run("PRAGMA busy_timeout = 2000");
      const victim =
        "SELECT position FROM offline_messages WHERE expire_time = 0 ORDER BY position DESC LIMIT 1";
      const sql = `DELETE FROM offline_messages WHERE position = (${victim})
                   RETURNING user_id, msg_id, expire_time`;
      return file.query<StoredRow, []>(sql).get();
    } finally {
      file.close();
    }
  }

  async stop(): Promise<void> {
    this.disk.remove();
  }

  abort(): void {
    this.disk.remove();
  }

  private open(): SqliteFile {
    return new SqliteFile(this.path, { readwrite: true });
  }
}

export class PostgresDatabase implements Database {
  readonly backend = "postgres";

  private constructor(
    readonly server: PostgresServer,
    readonly disk: Disk,
    private readonly own: URL,
  ) {}

  static async start(dir: string): Promise<PostgresDatabase> {
    const disk = openDisk(join(dir, "sql"), DISK_MIB.postgres);
    const settings = ["max_wal_size=64MB", "min_wal_size=32MB", "wal_keep_size=0"];
    const server = await startPostgres({ parent: disk.dir, settings });
    return new PostgresDatabase(server, disk, new URL(await server.createDatabase()));
  }

  get port(): number {
    return this.server.port;
  }

  url(through?: { host: string; port: number }): string {
    const url = new URL(this.own);
    if (through !== undefined) url.host = `${through.host}:${through.port}`;
    return url.href;
  }

  lock(ms: number): Promise<void> {
    return this.query(async (sql) => {
      const text = "LOCK TABLE offline_messages IN ACCESS EXCLUSIVE MODE";
      await sql.begin(async (transaction) => {
        await transaction.unsafe(text);
        await Bun.sleep(ms);
      });
    });
  }

  rows(): Promise<StoredRow[]> {
    return this.query(async (sql) => {
      const rows = await sql.unsafe("SELECT user_id, msg_id, expire_time FROM offline_messages");
      return [...rows].map((row) => ({ ...row, expire_time: Number(row.expire_time) }));
    });
  }

  steal(): Promise<StoredRow | null> {
    const victim =
      "SELECT position FROM offline_messages WHERE expire_time = 0 ORDER BY position DESC LIMIT 1";
    const text = `DELETE FROM offline_messages WHERE position = (${victim})
                  RETURNING user_id, msg_id, expire_time`;
    return this.query(async (sql) => (await sql.unsafe(text))[0] ?? null);
  }

  /** A server that a full disk has ended is started again, as its supervisor would do. */
  async revive(): Promise<void> {
    if (!this.server.hasEnded()) return;
    await this.server.restart();
  }

  async stop(): Promise<void> {
    await this.server.stop();
    this.disk.remove();
  }

  abort(): void {
    this.server.abort();
    this.disk.remove();
  }

  private async query<T>(work: (sql: SQL) => Promise<T>): Promise<T> {
    const sql = new SQL(this.url(), { max: 1 });
    try {
      return await work(sql);
    } finally {
      await sql.close({ timeout: 0 });
    }
  }
}
