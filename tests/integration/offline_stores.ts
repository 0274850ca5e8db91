/** The ways to an offline store that one contract suite runs against, each with real parts. */
import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { systemClock } from "../../src/core/clock.ts";
import { silentLedger } from "../../src/core/ledger/contract.ts";
import type { OfflineRow, OfflineStore } from "../../src/core/offline/contract.ts";
import { HttpOfflineStore } from "../../src/core/offline/http_store.ts";
import { createMetrics } from "../../src/core/telemetry/metrics.ts";
import type { Telemetry } from "../../src/core/telemetry/telemetry.ts";
import { silentTracer } from "../../src/core/telemetry/trace.ts";
import { openOfflineStore } from "../../src/roles/offline/open_store.ts";
import { createOfflineRole, type OfflineRole } from "../../src/roles/offline/role.ts";
import { allowAll } from "../../src/roles/offline/routes.ts";
import { type PostgresServer, startPostgres } from "./postgres_server.ts";

export const CLUSTER_SECRET = "the-secret-of-the-test-cluster";

export interface OpenedStore {
  readonly store: OfflineStore;
  /** Makes writes impossible, and possible again. */
  down(): Promise<void>;
  up(): Promise<void>;
  close(): Promise<void>;
}

export interface StoreHarness {
  readonly name: string;
  start(): Promise<void>;
  /** A new, empty store. */
  open(): Promise<OpenedStore>;
  stop(): Promise<void>;
}

export function silentTelemetry(): Telemetry {
  return {
    log: pino({ level: "silent" }),
    metrics: createMetrics(),
    tracer: silentTracer,
    ledger: silentLedger,
  };
}

export function temporaryDirectory(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "chatify-offline-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

let made = 0;

/** A row with an id of its own; its message is what clients would get. */
export function makeRow(userId: string, fields: Partial<OfflineRow> = {}): OfflineRow {
  const number = ++made;
  const row = {
    user_id: userId,
    msg_id: `m-${number}`,
    conversation_id: `u:${userId}:zoe`,
    seq: number,
    expire_time: 0,
    stored_at: 1_700_000_000_000 + number,
    ...fields,
  };
  const content = 'quotes " and \\ and line\nbreaks, ünïcode, 🙂, \u0000';
  return { ...row, message: JSON.stringify({ msg_id: row.msg_id, content }), ...fields };
}

const deps = () => ({ clock: systemClock, telemetry: silentTelemetry() });

/** Holds SQLite's write lock from outside, as an operator's tool does that was left open. */
function writeLock(path: string) {
  let other: Database | null = null;
  return {
    async down() {
      other = new Database(path);
      other.run("BEGIN IMMEDIATE");
    },
    async up() {
      other?.close();
      other = null;
    },
  };
}

export function sqliteHarness(): StoreHarness {
  return {
    name: "SQLite",
    start: async () => {},
    stop: async () => {},
    async open() {
      const directory = temporaryDirectory();
      const path = join(directory.path, "offline.db");
      const store = await openOfflineStore({ ...deps(), url: `sqlite://${path}` });
      const lock = writeLock(path);
      const close = async () => {
        await lock.up();
        await store.close();
        directory.remove();
      };
      return { store, ...lock, close };
    },
  };
}

export function postgresHarness(): StoreHarness {
  let server: PostgresServer;
  return {
    name: "Postgres",
    async start() {
      server = await startPostgres();
    },
    stop: () => server.stop(),
    async open() {
      const url = await server.createDatabase();
      const store = await openOfflineStore({ ...deps(), url });
      const down = () => server.kill();
      const up = () => server.restart();
      return { store, down, up, close: () => store.close() };
    },
  };
}

/** An offline role on a free port, with SQLite, as another process would reach it. */
export async function startRole(path: string): Promise<OfflineRole> {
  const clusterSecret = CLUSTER_SECRET;
  const config = { databaseUrl: `sqlite://${path}`, host: "127.0.0.1", port: 0, clusterSecret };
  const role = createOfflineRole({ ...deps(), config, authorize: allowAll });
  await role.start();
  return role;
}

export function httpHarness(): StoreHarness {
  return {
    name: "HTTP",
    start: async () => {},
    stop: async () => {},
    async open() {
      const directory = temporaryDirectory();
      const path = join(directory.path, "offline.db");
      let role = await startRole(path);
      const store = new HttpOfflineStore({
        endpoints: () => [{ host: "127.0.0.1", port: role.port }],
        clusterSecret: CLUSTER_SECRET,
        clock: systemClock,
      });
      const up = async () => {
        role = await startRole(path);
      };
      const close = async () => {
        await role.stop();
        directory.remove();
      };
      return { store, down: () => role.stop(), up, close };
    },
  };
}
