/**
 * Peers doing the work of the chat bench. They are never dependencies: Socket.IO and Centrifuge are
 * installed into .tools/ at first use, Mosquitto must be on the machine.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DialectName } from "../job.ts";
import { builtCentrifuge } from "./centrifuge.ts";
import { type RedisServer, startRedis } from "./redis_server.ts";
import { ended, freePort, type Target, WS_PATH } from "./target.ts";

export const PEERS = ["socketio", "mosquitto", "centrifuge"] as const;
export type PeerName = (typeof PEERS)[number];

const SOCKETIO = ["socket.io@4.8.4", "@socket.io/redis-streams-adapter@0.3.1", "ioredis@6.0.0"];
const LISTEN_MS = 10_000;
const STOP_MS = 2_000;

/** Throws with what to install when the peer is not there. */
export async function startPeer(name: PeerName): Promise<Target> {
  const dir = mkdtempSync(join(tmpdir(), `chatify-bench-${name}-`));
  try {
    if (name === "socketio") return await startSocketIo(dir);
    return name === "mosquitto" ? await startMosquitto(dir) : await startCentrifuge(dir);
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
}

const PATHS: Readonly<Record<DialectName, string>> = {
  chatify: WS_PATH,
  socketio: "/socket.io/?EIO=4&transport=websocket",
  centrifuge: "/connection/websocket",
  mqtt: "",
};

function target(
  dir: string,
  port: number,
  dialect: DialectName,
  children: ReadonlyMap<string, Bun.Subprocess>,
): Target {
  return {
    wsPorts: [port],
    path: PATHS[dialect],
    dialect,
    httpPorts: [],
    pids: new Map([...children].map(([name, child]) => [child.pid, name])),
    redisUrl: null,
    stop: async () => {
      for (const child of children.values()) {
        child.kill("SIGTERM");
        await ended(child, STOP_MS);
      }
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Its Redis writes to disk once a second: each of its events is lost in a crash anyway. */
async function startSocketIo(dir: string): Promise<Target> {
  const home = join(import.meta.dir, "../../.tools/bench-socketio");
  if (!existsSync(join(home, "node_modules/socket.io"))) {
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, "package.json"), '{"private":true,"type":"module"}\n');
    const install = Bun.spawnSync(["bun", "add", ...SOCKETIO], { cwd: home, stderr: "inherit" });
    if (install.exitCode !== 0) throw new Error("Socket.IO could not be installed");
  }
  cpSync(join(import.meta.dir, "../peers/socketio_server.js"), join(home, "server.js"));
  const redis = startRedis(dir, "everysec");
  const runtime = Bun.which("node") ?? "bun";
  const server = Bun.spawn([runtime, "server.js", redis.url], {
    cwd: home,
    stdout: "pipe",
    stderr: "inherit",
  });
  return target(dir, await portOf(server), "socketio", withRedis("socketio", server, redis));
}

/** Its history is in a Redis of the same durability. */
async function startCentrifuge(dir: string): Promise<Target> {
  const binary = builtCentrifuge();
  const redis = startRedis(dir, "everysec");
  await redisAnswers(redis.url);
  const server = Bun.spawn([binary, redis.url], { stdout: "pipe", stderr: "inherit" });
  return target(dir, await portOf(server), "centrifuge", withRedis("centrifuge", server, redis));
}

function withRedis(name: string, server: Bun.Subprocess, redis: RedisServer) {
  const others = redis.children.map((child): [string, Bun.Subprocess] => ["redis-server", child]);
  return new Map<string, Bun.Subprocess>([[name, server], ...others]);
}

async function portOf(server: Bun.Subprocess<"ignore", "pipe", "inherit">): Promise<number> {
  const { value } = await server.stdout.getReader().read();
  if (value === undefined) throw new Error("the peer ended before it listened");
  return (JSON.parse(new TextDecoder().decode(value)) as { port: number }).port;
}

async function redisAnswers(path: string): Promise<void> {
  const until = performance.now() + LISTEN_MS;
  while (!existsSync(path) && performance.now() < until) await Bun.sleep(20);
}

async function startMosquitto(dir: string): Promise<Target> {
  const path = Bun.which("mosquitto") ?? Bun.which("/usr/sbin/mosquitto");
  if (path === null) throw new Error("mosquitto is missing: apt-get install mosquitto");
  const port = freePort();
  const lines = [
    `listener ${port} 127.0.0.1`,
    "allow_anonymous true",
    "persistence true",
    `persistence_location ${dir}/`,
    "max_inflight_messages 0",
    "max_queued_messages 100000",
    "set_tcp_nodelay true",
    "user root",
  ];
  writeFileSync(join(dir, "mosquitto.conf"), `${lines.join("\n")}\n`);
  const child = Bun.spawn([path, "-c", join(dir, "mosquitto.conf")], {
    stdout: "ignore",
    stderr: "ignore",
  });
  await listening(port);
  return target(dir, port, "mqtt", new Map([["mosquitto", child]]));
}

async function listening(port: number): Promise<void> {
  const until = performance.now() + LISTEN_MS;
  while (performance.now() < until) {
    const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } }).catch(
      () => null,
    );
    socket?.end();
    if (socket !== null) return;
    await Bun.sleep(50);
  }
  throw new Error(`nothing listens at ${port}`);
}
