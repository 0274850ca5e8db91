/**
 * Ends a redis-server that an earlier process left behind. Two of them on one data directory would
 * both write its files, so the next start waits until the old one is gone.
 */
import { readFileSync, rmSync } from "node:fs";
import { type Clock, sleep } from "../clock.ts";
import { readPid } from "./data_dir_lock.ts";

/** SIGTERM makes Redis write everything and leave; one that is frozen gets SIGKILL after this. */
const POLITE_MS = 3_000;
const FORCED_MS = 5_000;
const POLL_MS = 20;

/**
 * `mark` is a text that the orphan's command line holds, because a pid alone may by now belong to
 * anybody. Returns the pid of the orphan that was ended, or null when there was none.
 */
export async function endOrphan(
  clock: Clock,
  pidPath: string,
  mark: string,
): Promise<number | null> {
  const pid = readPid(pidPath);
  if (pid === null || !isOurs(pid, mark)) return null;
  for (const [signal, patience] of [
    ["SIGTERM", POLITE_MS],
    ["SIGKILL", FORCED_MS],
  ] as const) {
    signalIfAlive(pid, signal);
    const deadline = clock.monotonic() + patience;
    while (clock.monotonic() < deadline) {
      if (!isOurs(pid, mark)) {
        rmSync(pidPath, { force: true });
        return pid;
      }
      await sleep(clock, POLL_MS);
    }
  }
  throw new Error(`redis-server (pid ${pid}) of an earlier start does not end; kill it by hand`);
}

function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function isOurs(pid: number, mark: string): boolean {
  return commandLine(pid).includes(mark);
}

/** Empty for a process that has ended, also for one that nobody has waited for yet. */
function commandLine(pid: number): string {
  if (process.platform === "linux") {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
    } catch {
      return "";
    }
  }
  return Bun.spawnSync(["ps", "-o", "command=", "-p", String(pid)]).stdout.toString();
}
