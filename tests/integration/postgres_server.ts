/**
 * A private Postgres for tests: its own cluster in a temporary directory, on a free port, with
 * Debian's binaries. Postgres refuses to run as root, so then it runs as the system user `postgres`.
 */

import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SQL } from "bun";

export interface PostgresServer {
  /** Makes an empty database and returns its URL. */
  createDatabase(): Promise<string>;
  readonly port: number;
  /** Ends it as a crash would, and starts it again on the same data. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  /** Stops the processes without ending them, as a machine that hangs; and lets them go on. */
  freeze(frozen: boolean): void;
  /** True when it ended by itself, as it does when its disk is full. */
  hasEnded(): boolean;
  /** Ends it at once, without waiting and without clearing up. */
  abort(): void;
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** Where its directory is made; default: the system's temporary directory. */
  readonly parent?: string;
  /** Further settings, each `name=value`. */
  readonly settings?: readonly string[];
}

const READY_MS_MAX = 20_000;
const debianBinaries = "/usr/lib/postgresql";

/** The directory of `initdb`; throws with what to install when there is none. */
function binaries(): string {
  const versions = existsSync(debianBinaries) ? readdirSync(debianBinaries) : [];
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  if (newest !== undefined) return join(debianBinaries, newest, "bin");
  const initdb = Bun.which("initdb");
  if (initdb !== null) return join(initdb, "..");
  throw new Error("this test needs Postgres: apt-get install postgresql (scripts/test does it)");
}

/** How to run a command as somebody Postgres agrees to be. */
function asServer(command: string[]): string[] {
  if (process.getuid?.() !== 0) return command;
  return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", ...command];
}

function idOf(flag: "-u" | "-g"): number {
  return Number(Bun.spawnSync(["id", flag, "postgres"]).stdout.toString());
}

function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = probe;
  probe.stop(true);
  return port;
}

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const bin = binaries();
  const directory = mkdtempSync(join(options.parent ?? tmpdir(), "chatify-postgres-"));
  if (process.getuid?.() === 0) chownSync(directory, idOf("-u"), idOf("-g"));
  const data = join(directory, "data");
  const init = [join(bin, "initdb"), "-D", data, "-U", "test", "--auth=trust", "-E", "UTF8"];
  const made = Bun.spawnSync(asServer([...init, "--no-sync", "--locale=C"]), { cwd: directory });
  if (!made.success) throw new Error(`initdb failed: ${made.stderr.toString()}`);
  const port = freePort();
  const url = (database: string) => `postgres://test@127.0.0.1:${port}/${database}`;
  const own = ["listen_addresses=127.0.0.1", `unix_socket_directories=${directory}`];
  const settings = [...own, ...(options.settings ?? [])];
  const server = [join(bin, "postgres"), "-D", data, "-p", String(port)];
  for (const setting of settings) server.push("-c", setting);
  const start = () =>
    Bun.spawn(asServer(server), { cwd: directory, stdout: "ignore", stderr: "ignore" });
  let child = start();
  await ready(url("postgres"));
  let databases = 0;
  return {
    port,
    async createDatabase() {
      const name = `test_${databases++}`;
      const admin = new SQL(url("postgres"), { max: 1 });
      await admin.unsafe(`CREATE DATABASE ${name}`);
      await admin.close();
      return url(name);
    },
    async kill() {
      // SIGQUIT is Postgres' own crash: no checkpoint, connections cut, recovery at the next start.
      child.kill("SIGQUIT");
      await child.exited;
    },
    async restart() {
      child = start();
      await ready(url("postgres"));
    },
    freeze(frozen) {
      const listed = Bun.spawnSync(["ps", "-o", "pid=", "--ppid", String(child.pid)]);
      const backends = listed.stdout.toString().trim().split(/\s+/).map(Number);
      for (const pid of [child.pid, ...backends]) process.kill(pid, frozen ? "SIGSTOP" : "SIGCONT");
    },
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
    abort: () => child.kill("SIGQUIT"),
    async stop() {
      child.kill("SIGQUIT");
      await child.exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function ready(url: string): Promise<void> {
  const deadline = performance.now() + READY_MS_MAX;
  for (;;) {
    const client = new SQL(url, { max: 1 });
    try {
      await client`SELECT 1`;
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await Bun.sleep(50);
    } finally {
      await client.close({ timeout: 0 });
    }
  }
}
