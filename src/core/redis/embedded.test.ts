import { afterAll, afterEach, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { pino } from "pino";
import { systemClock, systemRandom } from "../clock.ts";
import { type EmbeddedRedis, startEmbeddedRedis } from "./embedded.ts";

const root = mkdtempSync(join(tmpdir(), "chatify-embedded-"));
const running: EmbeddedRedis[] = [];
const parents: Bun.Subprocess[] = [];
afterEach(async () => {
  for (const parent of parents.splice(0)) parent.kill("SIGKILL");
  await Promise.all(running.splice(0).map((redis) => redis.stop()));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const newDir = () => mkdtempSync(join(root, "d"));

async function start(dataDir: string, redisServerPath = "redis-server") {
  const exits: string[] = [];
  const redis = await startEmbeddedRedis({
    config: { dataDir, redisServerPath },
    clock: systemClock,
    random: systemRandom,
    log: pino({ level: "silent" }),
    onExit: (reason) => exits.push(reason),
  });
  running.push(redis);
  const stop = async () => {
    running.splice(running.indexOf(redis), 1);
    await redis.stop();
  };
  return { ...redis, stop, exits };
}

/** Another Chatify process on `dataDir`; resolves when its Redis is ready. */
async function startParent(dataDir: string) {
  const fixture = join(import.meta.dir, "embedded_parent.fixture.ts");
  const parent = Bun.spawn([process.execPath, fixture, dataDir], { stdout: "pipe" });
  parents.push(parent);
  const reader = parent.stdout.getReader();
  const line = new TextDecoder().decode((await reader.read()).value);
  return { parent, reader, ...(JSON.parse(line) as { pid: number; url: string }) };
}

async function withRedis<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 0 });
  redis.on("error", () => {});
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch (error) {
    return process.platform !== "linux" && (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 250 && !condition(); i++) await Bun.sleep(20);
  expect(condition()).toBe(true);
}

test("it answers, keeps every write on disk, refuses to evict, and ends with stop", async () => {
  const redis = await start(newDir());
  const settings = await withRedis(redis.url, (client) =>
    client.config("GET", "append*", "maxmemory-policy", "save", "port"),
  );
  const text = (settings as string[]).join(" ");
  expect(text).toContain("appendonly yes");
  expect(text).toContain("appendfsync always");
  expect(text).toContain("maxmemory-policy noeviction");
  expect(text).toContain("port 0");
  await redis.stop();
  expect(isAlive(redis.pid)).toBe(false);
  expect(redis.exits).toEqual([]);
});

test("a second start finds the data of the first", async () => {
  const dir = newDir();
  const first = await start(dir);
  await withRedis(first.url, (client) => client.set("k", "kept"));
  await first.stop();
  const second = await start(dir);
  expect(await withRedis(second.url, (client) => client.get("k"))).toBe("kept");
});

test("a long path gets a port on loopback and a password", async () => {
  const dir = join(newDir(), "x".repeat(90));
  const redis = await start(dir);
  expect(redis.url).toMatch(/^redis:\/\/:\w{32}@127\.0\.0\.1:\d+$/);
  const { port } = new URL(redis.url);
  const stranger = withRedis(`redis://127.0.0.1:${port}`, (client) => client.get("k"));
  expect(stranger).rejects.toThrow("NOAUTH");
  await stranger.catch(() => {});
});

test("a second process on the same directory refuses, and names the first", async () => {
  const dir = newDir();
  const { parent } = await startParent(dir);
  const refused = start(dir);
  expect(refused).rejects.toThrow(`another Chatify process (pid ${parent.pid}) works in ${dir}`);
  await refused.catch(() => {});
});

test("kill -9 of the parent ends the server too, and the next start has its data", async () => {
  const dir = newDir();
  const { parent, pid, url } = await startParent(dir);
  await withRedis(url, (client) => client.set("k", "kept"));
  parent.kill("SIGKILL");
  await until(() => !isAlive(pid));
  const next = await start(dir);
  expect(await withRedis(next.url, (client) => client.get("k"))).toBe("kept");
});

test("a frozen orphan is ended by the next start, which has its data", async () => {
  const dir = newDir();
  const { parent, pid, url } = await startParent(dir);
  await withRedis(url, (client) => client.set("k", "kept"));
  process.kill(pid, "SIGSTOP");
  parent.kill("SIGKILL");
  await parent.exited;
  const next = await start(dir);
  expect(isAlive(pid)).toBe(false);
  expect(await withRedis(next.url, (client) => client.get("k"))).toBe("kept");
}, 15_000);

test("a pid file that names a stranger harms nobody", async () => {
  const dir = newDir();
  const stranger = Bun.spawn(["sleep", "60"]);
  mkdirSync(join(dir, "redis"));
  writeFileSync(join(dir, "redis", "server.pid"), `${stranger.pid}\n`);
  await start(dir);
  expect(isAlive(stranger.pid)).toBe(true);
  stranger.kill();
});

test("the parent learns that the server died, and why", async () => {
  const redis = await start(newDir());
  process.kill(redis.pid, "SIGKILL");
  await until(() => redis.exits.length > 0);
  expect(redis.exits[0]).toContain("redis-server ended with SIGKILL");
});

test("SIGTERM to the parent leaves neither server nor lock", async () => {
  const dir = newDir();
  const { parent, pid } = await startParent(dir);
  parent.kill("SIGTERM");
  expect(await parent.exited).toBe(0);
  expect(isAlive(pid)).toBe(false);
  await start(dir);
});

test("a missing server is named with the command that installs it", async () => {
  const missing = start(newDir(), "no-such-redis");
  expect(missing).rejects.toThrow(/REDIS_SERVER_PATH=no-such-redis: no such program.* run `.+`/s);
  await missing.catch(() => {});
});

test("an old server is refused with its version", async () => {
  const path = join(newDir(), "old-redis");
  writeFileSync(path, "#!/bin/sh\necho Redis server v=6.0.16 sha=0\n");
  chmodSync(path, 0o755);
  const old = start(newDir(), path);
  expect(old).rejects.toThrow("v=6.0.16; Chatify needs Redis 7.0 or later");
  await old.catch(() => {});
});

test("a server that cannot start tells what it said, and leaves the directory usable", async () => {
  const dir = newDir();
  const path = join(newDir(), "sick-redis");
  const script = 'case "$1" in --version) echo v=7.0.0;; *) echo "disk is gone"; exit 7;; esac';
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  const sick = start(dir, path);
  expect(sick).rejects.toThrow(/exit code 7\ndisk is gone/);
  await sick.catch(() => {});
  await start(dir);
});
