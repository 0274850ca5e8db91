/**
 * The embedded Redis: a `redis-server` child with its data under DATA_DIR, every write on disk
 * before it is answered. It lives exactly as long as this process: `stop` ends it, and when this
 * process dies without a word, a watcher that holds the other end of a pipe ends it.
 */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import type { Logger } from "pino";
import { type Clock, type Random, sleep } from "../clock.ts";
import type { Config } from "../config.ts";
import { lockDataDir } from "./data_dir_lock.ts";
import { endOrphan } from "./orphan.ts";

/** A socket's path has 104 bytes on macOS and 108 on Linux, the final zero included. */
const SOCKET_PATH_BYTES_MAX = 100;
/** Streams as used here, and an append-only file in parts, need this version. */
const MAJOR_VERSION_MIN = 7;
const STOP_MS = 5_000;
const LAST_WORDS_MS = 100;
const LINES_KEPT = 20;

export interface EmbeddedRedisDeps {
  readonly config: Pick<Config, "dataDir" | "redisServerPath">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Called once if the server ends without `stop`: what it says is why. The process must end. */
  readonly onExit: (reason: string) => void;
}

export interface EmbeddedRedis {
  /** What ioredis takes as its first argument: a socket's path, or a URL with a password. */
  readonly url: string;
  readonly pid: number;
  /** Ends the server, its data on disk, and gives the data directory back. */
  stop(): Promise<void>;
}

interface Place {
  readonly url: string;
  /** Lines of redis.conf that say where to listen. */
  readonly lines: readonly string[];
}

/**
 * Resolves when the server answers and has loaded its data, however long that takes. Rejects when
 * it is not installed, cannot run, or when another process works in the data directory.
 */
export async function startEmbeddedRedis(deps: EmbeddedRedisDeps): Promise<EmbeddedRedis> {
  const { config, clock, log } = deps;
  const serverPath = findServer(config.redisServerPath);
  const lock = lockDataDir(config.dataDir);
  try {
    const dir = join(config.dataDir, "redis");
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const pidPath = join(dir, "server.pid");
    const orphan = await endOrphan(clock, pidPath, dir);
    if (orphan !== null) log.warn({ pid: orphan }, "ended the Redis of an earlier start");
    const place = choosePlace(dir, deps.random);
    writeConf(dir, place);
    const child = new Child(deps, serverPath, dir);
    await child.untilReady(place.url);
    log.info({ pid: child.pid, dir }, "embedded Redis is ready");
    return {
      url: place.url,
      pid: child.pid,
      stop: async () => {
        await child.stop();
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Also takes Valkey, under its own name, where Redis is not installed. */
function findServer(name: string): string {
  const names = name === "redis-server" ? [name, "valkey-server"] : [name];
  for (const candidate of names) {
    const path = Bun.which(candidate);
    if (path !== null) return supported(path);
  }
  throw new Error(
    `REDIS_SERVER_PATH=${name}: no such program, and REDIS_URL is not set; ` +
      `run \`${installCommand()}\`, or set REDIS_URL to a Redis that runs`,
  );
}

function supported(path: string): string {
  const said = Bun.spawnSync([path, "--version"]).stdout.toString();
  const version = /v=(\d+)[.\d]*/.exec(said);
  if (version && Number(version[1]) >= MAJOR_VERSION_MIN) return path;
  const found = version?.[0] ?? `no version but "${said.trim()}"`;
  throw new Error(
    `REDIS_SERVER_PATH: ${path} says ${found}; Chatify needs Redis ${MAJOR_VERSION_MIN}.0 or ` +
      "later, or Valkey; install one, or set REDIS_URL to one that runs",
  );
}

function installCommand(): string {
  const commands = {
    "apt-get": "sudo apt-get install -y redis-server",
    brew: "brew install redis",
    dnf: "sudo dnf install -y valkey",
    apk: "sudo apk add redis",
    pacman: "sudo pacman -S --noconfirm valkey",
  };
  const [, command] = Object.entries(commands).find(([tool]) => Bun.which(tool)) ?? [];
  return command ?? "scripts/up";
}

function choosePlace(dir: string, random: Random): Place {
  const socket = join(dir, "redis.sock");
  if (Buffer.byteLength(socket) <= SOCKET_PATH_BYTES_MAX) {
    rmSync(socket, { force: true });
    return {
      url: socket,
      lines: ["port 0", `unixsocket ${quoted(socket)}`, "unixsocketperm 700"],
    };
  }
  // Whoever else has an account here can reach a port, so it gets a password.
  const password = random.token(32);
  const port = freePort();
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    lines: [`port ${port}`, "bind 127.0.0.1", `requirepass ${password}`],
  };
}

function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  probe.stop(true);
  return probe.port;
}

function writeConf(dir: string, place: Place): void {
  const path = join(dir, "redis.conf");
  const lines = [
    "# Written at every start; changes are lost.",
    ...place.lines,
    `dir ${quoted(dir)}`,
    "protected-mode yes",
    "daemonize no",
    // The directory in its title is how a later start recognises it.
    'proc-title-template "{title} {listen-addr} {config-file}"',
    'logfile ""',
    "appendonly yes",
    "appendfsync always",
    // The append-only file is the data; a snapshot beside it would only cost.
    'save ""',
    "maxmemory-policy noeviction",
    // A rewrite of the file forks and reads everything: less often, and without compressing it.
    "auto-aof-rewrite-min-size 128mb",
    "rdbcompression no",
  ];
  writeFileSync(path, `${lines.join("\n")}\n`, { mode: 0o600 });
  chmodSync(path, 0o600);
}

function quoted(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/**
 * The shell becomes the server, so the child's pid is the server's. Before that it starts the
 * watcher, which waits on the pipe from this process: a line means that there is nothing left to
 * watch, its end means that this process died.
 */
const launcher = `
exec 3<&0 </dev/null 2>&1
( read -r line <&3 || kill -TERM $$ ) >/dev/null 2>&1 &
echo $$ >"$2/server.pid"
exec 3<&-
cd "$2" && exec "$1" "$2/redis.conf"
`;

class Child {
  private readonly process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  private readonly lastLines: string[] = [];
  private stopping = false;
  private ready = false;
  /** Resolves with why the server ended. */
  private readonly ended: Promise<string>;

  constructor(
    private readonly deps: EmbeddedRedisDeps,
    serverPath: string,
    dir: string,
  ) {
    this.process = Bun.spawn(["sh", "-c", launcher, "chatify-redis", serverPath, dir], {
      stdin: "pipe",
      stdout: "pipe",
      // A process group of its own: Ctrl-C is for Chatify, which stops Redis when it is done.
      detached: true,
    });
    this.ended = this.watch();
  }

  get pid(): number {
    return this.process.pid;
  }

  async untilReady(url: string): Promise<void> {
    const probe = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
    // Refused connections are what waiting looks like.
    probe.on("error", () => {});
    const early = this.ended.then((reason) => {
      throw new Error(`redis-server did not start: ${reason}`);
    });
    try {
      // ioredis sends a command only after Redis has loaded its data.
      await Promise.race([probe.ping(), early]);
      this.ready = true;
    } finally {
      probe.disconnect();
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.process.kill("SIGTERM");
    const timer = this.deps.clock.after(STOP_MS, () => {
      this.deps.log.error({ pid: this.pid }, "Redis does not stop; it gets SIGKILL");
      this.process.kill("SIGKILL");
    });
    await this.ended;
    timer.cancel();
  }

  private async watch(): Promise<string> {
    const lines = this.readLines();
    const code = await this.process.exited;
    // A rewrite of the append-only file, which Redis forked, may hold its end of the pipe for long.
    await Promise.race([lines, sleep(this.deps.clock, LAST_WORDS_MS)]);
    // The pid is free for others from here on, so the watcher must not signal it.
    this.process.stdin.write("ended\n");
    await Promise.resolve(this.process.stdin.end()).catch(() => {});
    const how = this.process.signalCode ?? `exit code ${code}`;
    const reason = [`redis-server ended with ${how}`, ...this.lastLines].join("\n");
    if (this.ready && !this.stopping) this.deps.onExit(reason);
    return reason;
  }

  private async readLines(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of this.process.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines.filter((text) => text !== "")) {
        this.deps.log.debug({ pid: this.pid }, line);
        this.lastLines.push(line);
      }
      this.lastLines.splice(0, this.lastLines.length - LINES_KEPT);
    }
  }
}
