/**
 * One process per data directory. The lock is SQLite's own file lock, so the kernel gives it back
 * however the holder ends; a pid file would have to guess.
 */
import { Database } from "bun:sqlite";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface DataDirLock {
  /** Gives the lock back; the end of the process does so too. */
  release(): void;
}

/** Throws at once, naming the holder, when another process works in `dataDir`. */
export function lockDataDir(dataDir: string): DataDirLock {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const pidPath = join(dataDir, "chatify.pid");
  const db = new Database(join(dataDir, "lock.db"));
  try {
    db.run("PRAGMA busy_timeout = 0");
    db.run("BEGIN EXCLUSIVE");
  } catch (cause) {
    db.close();
    if ((cause as { code?: unknown }).code !== "SQLITE_BUSY") throw cause;
    const holder = readPid(pidPath);
    throw new Error(
      `another Chatify process (pid ${holder ?? "unknown"}) works in ${dataDir}; ` +
        "stop it, or give this one a DATA_DIR of its own",
      { cause },
    );
  }
  writeFileSync(pidPath, `${process.pid}\n`);
  return { release: () => db.close() };
}

/** The pid that a file holds; null when there is no such file or it is being written. */
export function readPid(path: string): number | null {
  try {
    const pid = Number.parseInt(readFileSync(path, "utf8"), 10);
    return pid > 1 ? pid : null;
  } catch {
    return null;
  }
}
