/**
 * Makes sure that one process at most serves a SQLite file: two offline nodes on one file would each
 * count and sweep it, and wait for each other's locks inside the event loop. The lock is an
 * exclusive transaction on an empty database beside it, which the kernel drops with the process,
 * kill -9 included; the store's own file stays readable for `sqlite3` meanwhile.
 */
import { Database } from "bun:sqlite";

export interface SqliteLock {
  release(): void;
}

/** Throws a sentence that names the file when another process, or this one, already serves it. */
export function lockSqliteFile(path: string): SqliteLock {
  const lock = new Database(`${path}-lock`, { create: true, readwrite: true });
  try {
    lock.run("PRAGMA busy_timeout = 0");
    lock.run("BEGIN EXCLUSIVE");
  } catch (cause) {
    lock.close();
    const why = `the offline store ${path} is in use by another process; a SQLite store serves one`;
    throw new Error(`${why} offline node, several need Postgres (OFFLINE_DATABASE_URL)`, { cause });
  }
  return { release: () => lock.close() };
}
