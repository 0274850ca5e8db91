/**
 * A disk that can be full. As root it is a small tmpfs, filled up to the last byte; elsewhere files
 * of a process are kept from growing (RLIMIT_FSIZE, set from outside), which the process sees as a
 * failed write as well.
 */
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const CHUNK = Buffer.alloc(262_144);

export interface Disk {
  readonly dir: string;
  /** How it gets full, for the report. */
  readonly means: "tmpfs" | "RLIMIT_FSIZE";
  /** Fills it, or frees it again; `pids` are the processes that write to it. */
  full(isFull: boolean, pids: readonly number[]): void;
  remove(): void;
}

export function openDisk(dir: string, mebibytes: number): Disk {
  mkdirSync(dir, { recursive: true });
  const mount = ["mount", "-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", dir];
  if (process.getuid?.() === 0 && Bun.spawnSync(mount).success) return new SmallDisk(dir);
  return new LimitedDisk(dir);
}

class SmallDisk implements Disk {
  readonly means = "tmpfs";

  constructor(readonly dir: string) {}

  full(isFull: boolean): void {
    const ballast = join(this.dir, "ballast");
    if (!isFull) {
      rmSync(ballast, { force: true });
      return;
    }
    const file = openSync(ballast, "a");
    try {
      for (const size of [CHUNK.length, 4_096]) while (writes(file, size));
    } finally {
      closeSync(file);
    }
  }

  remove(): void {
    Bun.spawnSync(["umount", "-l", this.dir]);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function writes(file: number, size: number): boolean {
  try {
    return writeSync(file, CHUNK, 0, size) === size;
  } catch {
    return false;
  }
}

class LimitedDisk implements Disk {
  readonly means = "RLIMIT_FSIZE";

  constructor(readonly dir: string) {}

  full(isFull: boolean, pids: readonly number[]): void {
    const limit = isFull ? "4096:unlimited" : "unlimited";
    for (const pid of pids) Bun.spawnSync(["prlimit", "--pid", `${pid}`, `--fsize=${limit}`]);
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
