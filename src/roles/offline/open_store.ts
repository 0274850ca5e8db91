/** Opens the offline store that a URL names; the only place that knows both engines. */
import { resolve } from "node:path";
import type { Clock } from "../../core/clock.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { OfflineEngine } from "./engine.ts";
import { openPostgresStore } from "./postgres_store.ts";
import { openSqliteStore } from "./sqlite_store.ts";

export interface OpenStoreOptions {
  /** `sqlite:///absolute/path`, `sqlite:path`, or `postgres://user:password@host:port/database`. */
  readonly url: string;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}

/** Rejects with the reason when the URL names no store or the store cannot be opened. */
export async function openOfflineStore(options: OpenStoreOptions): Promise<OfflineEngine> {
  const { url, clock } = options;
  if (/^postgres(ql)?:\/\//.test(url)) return openPostgresStore(options);
  const path = sqlitePath(url);
  if (path !== null) return openSqliteStore({ path, clock });
  // The URL may hold a password, so it is not repeated.
  throw new Error("the offline database URL must be sqlite:path/to/file.db or postgres://…");
}

/** The absolute path in a SQLite URL; null when it is none. */
export function sqlitePath(url: string): string | null {
  // `sqlite://name` would be a host, which SQLite does not have.
  const [, path = ""] = /^sqlite:(?:\/\/(?=\/))?(\/?[^/].*)$/.exec(url) ?? [];
  return path === "" ? null : resolve(path);
}
