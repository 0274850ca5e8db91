/**
 * Secrets and bodies are planted wherever something can hold one: tokens, keys, headers, URLs, frames,
 * stream entries, the environment, and what fails in Redis and in the database. Not one of them may be
 * in a line of a log, of any role, at the lowest level there is.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import Redis from "ioredis";
import { signToken } from "../../src/core/auth/tokens.ts";
import { systemClock } from "../../src/core/clock.ts";
import { type EnvFile, writeEnv } from "../deployment/compose_file.ts";
import { SERVICES } from "../deployment/deployment.ts";
import { ProcessDeployment } from "../deployment/process_deployment.ts";
import { ensureTools, TOOLS_MS } from "../deployment/tools.ts";

const START_MS = 120_000;
const WS_PATH = "/chatify/access/v1/ws";
const SEND_PATH = "/chatify/logic/v1/sendSystemPush";

const planted: Record<string, string> = {};
/** A secret that is recognised wherever it turns up. */
function plant(what: string): string {
  const mark = `planted${Bun.hash.wyhash(what).toString(36)}secret`;
  planted[what] = mark;
  return mark;
}

/** An app that is asked and told, and fails with what it should not say. */
const backend = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: () => {
    told++;
    return new Response(plant("what the app's backend says"), { status: 500 });
  },
});
let told = 0;
let env: EnvFile;
let deployment: ProcessDeployment;
let redis: Redis;

beforeAll(async () => {
  await ensureTools();
  env = await writeEnv();
  deployment = await ProcessDeployment.start(env, {
    LOG_LEVEL: "trace",
    WEBHOOK_SECRET: `whsec_${btoa(plant("the key of webhooks"))}`,
    WEBHOOK_URL: `http://127.0.0.1:${backend.port}/told?key=${plant("a webhook's URL")}`,
    WEBHOOK_GATE_URL: `http://127.0.0.1:${backend.port}/ask?key=${plant("the gate's URL")}`,
  });
  planted["the key of webhooks in base64"] = btoa(planted["the key of webhooks"] ?? "");
  redis = new Redis(deployment.environmentOf("push").REDIS_URL ?? "");
  for (const name of ["REDIS_PASSWORD", "CLUSTER_SECRET", "JWT_SECRET", "API_KEYS"]) {
    planted[name] = env.values[name] ?? "";
  }
}, START_MS + TOOLS_MS);

afterAll(async () => {
  redis?.disconnect();
  await deployment?.stop();
  await backend.stop(true);
}, START_MS);

async function token(userId: string, ttlSeconds = 600): Promise<string> {
  const secret = env.values.JWT_SECRET ?? "";
  const signed = await signToken({ clock: systemClock, secret, userId, ttlSeconds });
  // The parts before it are the same for everybody who is called the same.
  planted[`signature of ${userId}'s token`] = signed.split(".")[2] ?? "";
  return signed;
}

interface Connection {
  readonly socket: WebSocket;
  readonly texts: string[];
}

function connect(query: string, headers: Record<string, string> = {}, protocols = ["chatify.v1"]) {
  const url = `ws://${deployment.gateway}${WS_PATH}${query}`;
  const socket = new WebSocket(url, { headers, protocols } as never);
  const texts: string[] = [];
  socket.addEventListener("message", (event) => texts.push(String(event.data)));
  return { socket, texts };
}

async function said({ texts }: Connection, part: string): Promise<void> {
  for (let i = 0; i < 500 && !texts.join().includes(part); i++) await Bun.sleep(20);
  expect(texts.join()).toContain(part);
}

/** Resolves when it is closed or could not be opened. */
function ended({ socket }: Connection): Promise<void> {
  return new Promise((resolve) => {
    socket.addEventListener("close", () => resolve());
    socket.addEventListener("error", () => resolve());
  });
}

const chat = (to: string, content: string, id: string) =>
  JSON.stringify({ type: "send", to_user_id: to, content, client_msg_id: id });

async function allLogs(): Promise<string> {
  return (await Promise.all(SERVICES.map((name) => deployment.logs(name)))).join("\n");
}

async function logged(part: string): Promise<void> {
  let text = "";
  for (let i = 0; i < 500; i++) {
    text = await allLogs();
    if (text.includes(part)) return;
    await Bun.sleep(20);
  }
  throw new Error(`no line has ${part}; the last ones: ${text.slice(-3_000)}`);
}

test("tokens in every place that takes one, right and wrong ones", async () => {
  const [inQuery, inHeader, inProtocol] = [
    await token("ann"),
    await token("ben"),
    await token("cy"),
  ];
  const connections = [
    connect(`?token=${inQuery}`),
    connect("", { authorization: `Bearer ${inHeader}` }),
    connect("", {}, ["chatify.v1", inProtocol]),
  ];
  for (const each of connections) await said(each, '"welcome"');
  for (const { socket } of connections) socket.close();
  const expired = await token("old", -600);
  const [header, payload] = inQuery.split(".");
  const wrong = [
    connect(`?token=${plant("no token at all")}`),
    connect(`?token=${expired}`),
    connect(`?token=${header}.${payload}.${plant("a wrong signature")}`),
    connect(`?access_token=${plant("a token with another name")}`),
    connect("", { authorization: `Bearer ${plant("a wrong bearer")}` }),
    connect("", { authorization: `Basic ${plant("another scheme")}` }),
    connect("", { cookie: `session=${plant("a cookie")}`, traceparent: plant("no traceparent") }),
    connect("", {}, ["chatify.v1", plant("a wrong protocol entry")]),
  ];
  await Promise.all(wrong.map(ended));
  await logged("token_expired");
});

test("bodies of messages: live, away, replayed, malformed, too long", async () => {
  const dan = connect(`?token=${await token("dan")}`);
  const eve = connect(`?token=${await token("eve")}`);
  for (const each of [dan, eve]) await said(each, '"welcome"');
  dan.socket.send(chat("eve", plant("a live body"), "d1"));
  await said(eve, planted["a live body"] ?? "");
  dan.socket.send(chat("fay", plant("a body that waits"), "d2"));
  await said(dan, '"client_msg_id":"d2"');
  await Bun.sleep(500);
  const fay = connect(`?token=${await token("fay")}`);
  await said(fay, planted["a body that waits"] ?? "");
  const bad = [
    `{"type":"send","content":"${plant("a cut frame")}`,
    JSON.stringify({ type: plant("a type") }),
    JSON.stringify({ type: "send", content: { deep: plant("a body of the wrong type") } }),
    JSON.stringify({
      type: "send",
      to_user_id: plant("a target") + "x".repeat(5_000),
      content: "",
    }),
    JSON.stringify({ type: "ack", msg_ids: [[plant("a bad ack")]] }),
    chat("nobody there", plant("a body for a bad id"), "d3"),
    chat("eve", plant("a body that is too long") + "x".repeat(200_000), "d4"),
  ];
  for (const frame of bad) dan.socket.send(frame);
  await said(dan, '"bad_frame"');
  for (const { socket } of [dan, eve, fay]) socket.close();
}, 30_000);

test("keys, bodies and URLs of HTTP callers", async () => {
  const url = `http://${deployment.gateway}`;
  const key = { "x-api-key": env.values.API_KEYS ?? "" };
  const push = (content: string, to: string) =>
    JSON.stringify({ content_id: "1", content, push_type: 1, to_user_ids: [to] });
  const post = (path: string, headers: Record<string, string>, body: string) =>
    fetch(`${url}${path}`, { method: "POST", headers, body });
  const encoded = btoa(plant("a pushed body"));
  planted["a pushed body in base64"] = encoded.replace(/=+$/, "");
  const statuses = [
    await post(SEND_PATH, key, push(encoded, "gus")),
    await post(SEND_PATH, { "x-api-key": plant("a wrong key") }, push("bmV3cw==", "gus")),
    await post(SEND_PATH, { authorization: `Bearer ${plant("a wrong admin token")}` }, "{}"),
    await post(`${SEND_PATH}?api_key=${plant("a key in a URL")}`, {}, "{}"),
    await post(SEND_PATH, key, `{"content": "${plant("no JSON")}`),
    await post(SEND_PATH, key, push(`${plant("no base64")} !`, "gus")),
    await post(SEND_PATH, key, JSON.stringify({ to_user_ids: plant("a list that is none") })),
    await post(`/chatify/${plant("a path")}?token=${plant("a token in a URL")}`, key, "{}"),
  ].map(({ status }) => status);
  expect(statuses[0]).toBe(200);
  for (const status of statuses.slice(1, 5)) expect(status).toBeGreaterThanOrEqual(400);
  const internal = `http://127.0.0.1:${deployment.environmentOf("offline").OFFLINE_PORT}`;
  const secret = { "x-cluster-secret": plant("a wrong cluster secret") };
  await fetch(`${internal}/chatify/offline/v1/ArchiveMessages`, {
    method: "POST",
    headers: { ...secret, authorization: `Bearer ${plant("a wrong internal token")}` },
    body: JSON.stringify({ messages: [plant("a body to archive")] }),
  });
});

test("what is no peer on the trunk", async () => {
  const port = Number(deployment.environmentOf("access").TRUNK_PORT);
  const text = `${plant("trunk garbage")}\n`.repeat(50);
  const closed = Promise.withResolvers<void>();
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: { data() {}, open: (s) => void s.write(text), close: () => closed.resolve() },
  });
  await closed.promise;
});

test("entries that cannot be decoded, and a Redis that refuses and dies", async () => {
  const streams = (await redis.keys("*chat_input*")).concat(await redis.keys("*push_task*"));
  expect(streams.length).toBeGreaterThan(0);
  for (const stream of streams.slice(0, 20)) {
    if ((await redis.type(stream)) !== "stream") continue;
    await redis.xadd(stream, "*", "b", `["${plant("an entry of garbage")}`);
  }
  await logged("dead_letter");
  const hal = connect(`?token=${await token("hal")}`);
  await said(hal, '"welcome"');
  await redis.config("SET", "maxmemory", "1");
  hal.socket.send(chat("ida", plant("a body that Redis refuses"), "h1"));
  await logged("OOM");
  await redis.config("SET", "maxmemory", "1gb");
  redis.disconnect();
  for (let i = 0; i < 50; i++)
    hal.socket.send(chat("ida", plant("a body on its way"), `h${i + 9}`));
  await deployment.crash("redis");
  await logged("Redis connection");
  hal.socket.close();
}, 30_000);

test("a database that fails at a statement with bodies in it", async () => {
  const file = join(deployment.environmentOf("offline").DATA_DIR ?? "", "offline.db");
  const database = new Database(file, { readwrite: true });
  const tables = database
    .query<{ name: string }, []>("SELECT name FROM sqlite_master WHERE type = 'table'")
    .all()
    .map(({ name }) => name)
    .filter((name) => !/^sqlite_|migrations/.test(name));
  expect(tables.length).toBeGreaterThan(0);
  for (const name of tables) database.run(`ALTER TABLE ${name} RENAME TO ${name}_gone`);
  const jon = connect(`?token=${await token("jon")}`);
  await said(jon, '"welcome"');
  jon.socket.send(chat("kim", plant("a body that cannot be archived"), "j1"));
  await logged("no such table");
  for (const name of tables) database.run(`ALTER TABLE ${name}_gone RENAME TO ${name}`);
  database.close();
  jon.socket.close();
}, 30_000);

test("an environment that is wrong, and servers that cannot be reached", async () => {
  const good = deployment.environmentOf("offline");
  const [short, password] = [plant("a key that is too short"), plant("a database's password")];
  const outputs = await Promise.all([
    deployment.outputOf({ ...good, JWT_SECRET: short.slice(0, 20), API_KEYS: short.slice(0, 12) }),
    deployment.outputOf({ ...good, CLUSTER_SECRET: short.slice(0, 15) }),
    deployment.outputOf({ ...good, REDIS_URL: `redis://:${password}@127.0.0.1:1` }),
    deployment.outputOf({
      ...good,
      ADMIN_PORT: "0",
      OFFLINE_PORT: "0",
      OFFLINE_DATABASE_URL: `postgres://chatify:${password}@127.0.0.1:1/chatify`,
    }),
    deployment.outputOf({ ...good, OFFLINE_DATABASE_URL: `mysql://x:${password}@h/${password}` }),
  ]);
  for (const output of outputs) {
    expect(output.length).toBeGreaterThan(20);
    expect(output).not.toContain(password);
    expect(output).not.toContain(short.slice(0, 12));
  }
}, 60_000);

test("none of it is in any line, and every line is one JSON object", async () => {
  expect(Object.keys(planted).length).toBeGreaterThan(40);
  expect(told).toBeGreaterThan(5);
  for (const [what, secret] of Object.entries(planted)) {
    expect([what, secret.length > 10]).toEqual([what, true]);
  }
  for (const name of SERVICES) {
    const lines = (await deployment.logs(name)).split("\n").filter((line) => line !== "");
    expect([name, lines.length > 3]).toEqual([name, true]);
    for (const line of lines) expect(JSON.parse(line)).toHaveProperty(["service.name"]);
    const text = lines.join("\n");
    const found = Object.entries(planted).filter(([, secret]) => text.includes(secret));
    const where = found.map(([what, secret]) => [
      what,
      lines.find((line) => line.includes(secret))?.slice(0, 600),
    ]);
    expect([name, where]).toEqual([name, []]);
  }
});
