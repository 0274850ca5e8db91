/**
 * One process with its embedded Redis under load: what it answers while it ends, what is left when it
 * is killed, when it refuses to start, and that the compiled one does the same. lifecycle.test.ts has
 * the plain cases, process_split.test.ts the cluster.
 */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { isAlive, PROJECT, type Program, redisPid, until, Workshop } from "./process_program.ts";
import { RawClient } from "./raw_client.ts";
import { startRedisServer } from "./redis_server.ts";

setDefaultTimeout(60_000);

/** From SIGTERM to the end of the process, promised by the documentation. */
const EXIT_MS = 10_000;
const workshop = new Workshop();
afterEach(() => workshop.clear(), 30_000);

/** Contents of the sends that this client has an `accepted` for; its ids are its contents. */
const accepted = (client: RawClient) =>
  client.frames.filter((f) => f.type === "accepted").map((f) => String(f.client_msg_id));
const contents = (client: RawClient) => client.unique().map((m) => m.content);

/** Every accepted content arrived exactly once over all connections of a user, and in order. */
function expectAll(wanted: readonly string[], ...clients: RawClient[]): void {
  const first = new Map<string, number>();
  for (const message of clients.flatMap((client) => client.unique())) {
    if (!first.has(message.content)) first.set(message.content, message.seq);
  }
  expect([...wanted].filter((content) => !first.has(content))).toEqual([]);
  const seqs = [...first.values()];
  expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
}

test("SIGTERM says bye, answers what is in flight, ends with 0, and loses nothing", async () => {
  const dir = workshop.dir();
  const program = await workshop.startAll(dir).ready();
  const alice = await RawClient.connect(program.gateway, "alice");
  const bob = await RawClient.connect(program.gateway, "bob");
  const idle = await Promise.all(
    [...Array(20)].map((_, i) => RawClient.connect(program.gateway, `idle-${i}`)),
  );
  for (let i = 1; i <= 300; i++) alice.chat(i % 3 === 0 ? "carol" : "bob", `m${i}`, `m${i}`);
  await bob.received(10);
  const start = performance.now();
  const exited = program.kill("SIGTERM");
  for (let i = 301; i <= 400; i++) alice.chat("bob", `m${i}`, `m${i}`);
  await until(async () => (await program.readiness()) === 503, "/readyz to answer 503");
  for (const client of [alice, bob, ...idle]) {
    expect(await client.closed).toBe(4000);
    const bye = client.frames.at(-1);
    expect(bye).toMatchObject({ type: "bye", reason: "draining" });
    expect(bye?.reconnect_after_ms).toBeNumber();
  }
  expect(await exited).toBe(0);
  expect(performance.now() - start).toBeLessThan(EXIT_MS);
  const waits = idle.map((client) => Number(client.frames.at(-1)?.reconnect_after_ms));
  expect(new Set(waits).size).toBeGreaterThan(10);

  // Every send had an answer before the bye; what was refused was told so and may come again.
  const answered = alice.frames.filter((f) => f.type === "accepted" || f.type === "rejected");
  expect(answered.length).toBe(400);
  const again = await workshop.startAll(dir).ready();
  const ids = accepted(alice);
  const forCarol = ids.filter((id) => Number(id.slice(1)) % 3 === 0 && Number(id.slice(1)) <= 300);
  const forBob = ids.filter((id) => !forCarol.includes(id));
  const [bobAgain, carol] = [
    await RawClient.connect(again.gateway, "bob"),
    await RawClient.connect(again.gateway, "carol"),
  ];
  await bobAgain.until(
    () => new Set([...contents(bob), ...contents(bobAgain)]).size >= forBob.length,
    "all that bob had coming",
  );
  await carol.received(forCarol.length);
  expectAll(forBob, bob, bobAgain);
  expectAll(forCarol, carol);
});

test("kill -9 leaves no Redis behind, and the next start has all that was accepted", async () => {
  const dir = workshop.dir();
  const program = await workshop.startAll(dir).ready();
  const alice = await RawClient.connect(program.gateway, "alice");
  const deaf = await RawClient.connect(program.gateway, "bob");
  deaf.acking = false;
  for (let i = 1; i <= 50; i++) alice.chat("carol", `stored ${i}`, `s${i}`);
  for (let i = 1; i <= 50; i++) alice.chat("bob", `unsettled ${i}`, `u${i}`);
  await deaf.received(50);
  // These may be anywhere on their way when the process dies; whichever is accepted counts.
  for (let i = 51; i <= 250; i++) alice.chat("bob", `unsettled ${i}`, `u${i}`);
  await alice.until(() => accepted(alice).length > 120, "some of the last to be accepted");
  const redis = redisPid(dir);
  await program.kill("SIGKILL");
  await until(() => !isAlive(redis), "the Redis of the killed process to end");

  const again = await workshop.startAll(dir).ready();
  expect(redisPid(dir)).not.toBe(redis);
  const bob = await RawClient.connect(again.gateway, "bob");
  const carol = await RawClient.connect(again.gateway, "carol");
  const ids = accepted(alice);
  const text = (id: string) => `${id[0] === "s" ? "stored" : "unsettled"} ${id.slice(1)}`;
  const forBob = ids.filter((id) => id[0] === "u").map(text);
  await bob.received(forBob.length);
  await carol.received(50);
  expectAll(forBob, bob);
  expectAll(ids.filter((id) => id[0] === "s").map(text), carol);
});

test("a second offline node on SQLite refuses and says what several need", async () => {
  const redis = await startRedisServer();
  try {
    const env = { ROLE: "offline", REDIS_URL: redis.url, CLUSTER_SECRET: "a secret for tests" };
    const database = `sqlite:${join(workshop.dir(), "offline.db")}`;
    const start = (url: string) =>
      workshop.start({ env: { ...env, DATA_DIR: workshop.dir(), OFFLINE_DATABASE_URL: url } });
    await start(database).ready();
    const others = [database, `sqlite:${join(workshop.dir(), "other.db")}`].map(start);
    for (const { code, output } of await Promise.all(others.map((other) => other.refusal()))) {
      expect(code).toBe(1);
      expect(output).toMatch(/SQLite store serves one.*Postgres/s);
    }
    await workshop.clear();
  } finally {
    await redis.stop();
  }
});

test("a port that is taken ends the start with the variable's name, and frees the rest", async () => {
  const dir = workshop.dir();
  const first = await workshop.startAll(workshop.dir()).ready();
  const taken = { GATEWAY_PORT: `${first.ports.gateway}` };
  const { code, output } = await workshop.startAll(dir, taken).refusal();
  expect(code).toBe(1);
  expect(output).toContain(`GATEWAY_PORT=${first.ports.gateway}`);
  expect(isAlive(redisPid(dir))).toBe(false);
});

test("the compiled binary runs all roles and carries a chat", async () => {
  const built = Bun.spawnSync(["scripts/build"], { cwd: PROJECT, stdout: "ignore" });
  expect(built.exitCode).toBe(0);
  const binary = join(PROJECT, "dist/chatify");
  expect(existsSync(binary)).toBe(true);
  const dir = workshop.dir();
  // Away from the source, so that nothing of it can be needed.
  const env = { ROLE: "all", DATA_DIR: dir, HOME: dir };
  const program: Program = workshop.start({ command: [binary], env });
  await program.ready();
  const alice = await RawClient.connect(program.gateway, "alice");
  const bob = await RawClient.connect(program.gateway, "bob");
  alice.chat("bob", "live", "c1");
  alice.chat("carol", "stored", "c2");
  expect((await bob.received(1))[0]).toMatchObject({ content: "live", seq: 1 });
  await alice.frame("sent", (f) => f.client_msg_id === "c2");
  const carol = await RawClient.connect(program.gateway, "carol");
  expect((await carol.received(1))[0]).toMatchObject({ content: "stored", seq: 1 });
  const page = await fetch(program.url("gateway", "/"));
  expect(await page.text()).toContain("<title>Chatify");
  expect(await program.kill("SIGTERM")).toBe(0);
}, 120_000);
