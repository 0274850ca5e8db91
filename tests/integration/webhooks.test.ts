/** Webhooks, the gate and Web Push of a real process, met by receivers that do not always work. */
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { createPublicKey } from "node:crypto";
import { join } from "node:path";
import { Redis } from "ioredis";
import { jwtVerify } from "jose";
import webpush from "web-push";
import { Gate, HookReceiver, PushService } from "./hook_receiver.ts";
import { type Program, until, Workshop } from "./process_program.ts";
import { RawClient } from "./raw_client.ts";

setDefaultTimeout(60_000);
const SECRET = `whsec_${Buffer.from("the key of the webhooks of a test").toString("base64")}`;
const vapid = webpush.generateVAPIDKeys();

const workshop = new Workshop();
const dir = workshop.dir();
const app = new HookReceiver(SECRET);
const gate = new Gate(SECRET);
const service = new PushService();
const env = {
  WEBHOOK_URL: app.url,
  WEBHOOK_SECRET: SECRET,
  WEBHOOK_GATE_URL: gate.url,
  WEBHOOK_GATE_TIMEOUT_MS: "400",
  UNDELIVERED_AFTER_S: "2",
  VAPID_PUBLIC_KEY: vapid.publicKey,
  VAPID_PRIVATE_KEY: vapid.privateKey,
  VAPID_SUBJECT: "mailto:operator@example.org",
  WEB_PUSH_PRIVATE: "true",
};
let program: Program;
beforeAll(async () => {
  program = await workshop.startAll(dir, env).ready();
}, 60_000);
beforeEach(() => {
  app.mode = gate.mode = "ok";
});
afterAll(async () => {
  expect([app.forged, gate.forged]).toEqual([[], []]);
  await workshop.clear();
  for (const server of [app, gate, service]) server.stop();
}, 30_000);

async function send(from: RawClient, to: string, content: string, id: string): Promise<string> {
  from.chat(to, content, id);
  const sent = await from.frame("sent", ({ client_msg_id }) => client_msg_id === id);
  return String(sent.msg_id);
}

/** The event of this type about the message. */
const about = (type: string, msgId: string) =>
  app.of(type).filter(({ data }) => {
    const message = (data.message ?? data) as { msg_id?: string };
    return message.msg_id === msgId;
  });

test("a message that was sent is told of, signed; after failures once more under the same id", async () => {
  const alice = await RawClient.connect(program.gateway, "w-alice");
  const first = await send(alice, "w-bob", "hello", "1");
  await until(() => about("message.sent", first).length === 1, "the event");
  expect(about("message.sent", first)[0]?.data).toMatchObject({
    from_user_id: "w-alice",
    to_user_id: "w-bob",
    content: "hello",
    seq: 1,
    client_msg_id: "1",
  });
  app.mode = "fail";
  const second = await send(alice, "w-bob", "again", "2");
  const tries = () => app.attempts.filter(({ data }) => data.msg_id === second);
  await until(() => tries().length > 0, "an attempt");
  app.mode = "ok";
  await until(() => about("message.sent", second).length === 1, "the event");
  expect(tries().length).toBeGreaterThan(1);
  expect(new Set(tries().map(({ id }) => id)).size).toBe(1);
});

test("a receiver that hangs delays no message, and gets its events when it is back", async () => {
  app.mode = "hang";
  const alice = await RawClient.connect(program.gateway, "h-alice");
  const bob = await RawClient.connect(program.gateway, "h-bob");
  const ids: string[] = [];
  ids.push(await send(alice, "h-bob", "m0", "0"));
  await until(() => app.attempts.some(({ data }) => data.msg_id === ids[0]), "it to hang");
  const startedAt = performance.now();
  for (let i = 1; i <= 20; i++) ids.push(await send(alice, "h-bob", `m${i}`, `${i}`));
  await bob.received(21);
  expect(performance.now() - startedAt).toBeLessThan(4_000);
  app.mode = "ok";
  await until(
    () => ids.every((id) => about("message.sent", id).length === 1),
    "every event",
    30_000,
  );
});

test("a user comes with the first device and goes with the last", async () => {
  const of = (user: string) =>
    app.taken.filter(({ data, type }) => type.startsWith("user.") && data.user_id === user);
  const first = await RawClient.connect(program.gateway, "u-eve", "phone");
  await until(() => of("u-eve").length === 1, "user.online");
  expect(of("u-eve")[0]).toMatchObject({ type: "user.online", data: { devices: ["phone"] } });
  const second = await RawClient.connect(program.gateway, "u-eve", "laptop");
  first.close();
  await first.closed;
  second.close();
  await until(() => of("u-eve").length === 2, "user.offline");
  expect(of("u-eve").map(({ type }) => type)).toEqual(["user.online", "user.offline"]);
});

test("undelivered is told after its time, unless a device confirmed before", async () => {
  const alice = await RawClient.connect(program.gateway, "n-alice");
  const rescued = await send(alice, "n-quick", "in time", "1");
  const quick = await RawClient.connect(program.gateway, "n-quick");
  await quick.received(1);
  const lost = await send(alice, "n-away", "too late", "2");
  await until(() => about("message.undelivered", lost).length === 1, "the event");
  expect(about("message.undelivered", lost)[0]?.data).toMatchObject({
    user_id: "n-away",
    message: { content: "too late", from_user_id: "n-alice" },
  });
  const deaf = await RawClient.connect(program.gateway, "n-deaf");
  deaf.acking = false;
  const unheard = await send(alice, "n-deaf", "anybody?", "3");
  await until(() => about("message.undelivered", unheard).length === 1, "the event");
  expect(about("message.undelivered", rescued)).toEqual([]);
  const path = `/chatify/offline/v1/messages/${lost}/trace`;
  await until(async () => {
    const trace = (await (await fetch(`http://${program.gateway}${path}`)).json()) as {
      timeline: { what: string }[];
    };
    return trace.timeline.some(({ what }) => what === "notified");
  }, "the trail to say so");
});

test("the gate refuses with its reason; when it hangs, messages are sent all the same", async () => {
  const alice = await RawClient.connect(program.gateway, "g-alice");
  alice.chat("g-bob", "buy spam", "1");
  const rejected = await alice.frame("rejected");
  expect(rejected).toMatchObject({ code: "content_rejected", message: "no spam here" });
  gate.mode = "hang";
  const startedAt = performance.now();
  await send(alice, "g-bob", "spam that nobody looked at", "2");
  expect(performance.now() - startedAt).toBeGreaterThan(390);
  const asked = gate.attempts.length;
  alice.chat("g-bob", "spam that nobody looked at", "2");
  await alice.until(() => alice.frames.filter(({ type }) => type === "sent").length === 2, "sent");
  expect(gate.attempts.length).toBe(asked);
});

test("a gate that must answer: without it messages are refused, and may be sent again", async () => {
  const strict = { WEBHOOK_SECRET: SECRET, WEBHOOK_GATE_ON_FAILURE: "reject" };
  const closed = await workshop
    .startAll(workshop.dir(), { ...strict, WEBHOOK_GATE_URL: "http://127.0.0.1:1/check" })
    .ready();
  const alice = await RawClient.connect(closed.gateway, "c-alice");
  alice.chat("c-bob", "hello", "1");
  expect(await alice.frame("rejected")).toMatchObject({ code: "unavailable", retryable: true });
});

test("Web Push reaches the browser of a user who is away, and forgets one that is gone", async () => {
  const base = `http://${program.gateway}/chatify/offline/v1/webPush`;
  const key = (await (await fetch(`${base}/key`)).json()) as { public_key: string };
  expect(key.public_key).toBe(vapid.publicKey);
  const { subscription } = service;
  const call = (method: string, body: object) =>
    fetch(`${base}/subscriptions`, {
      method,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const added = await call("POST", { user_id: "p-bob", device_id: "b1", subscription });
  expect(added.status).toBe(200);
  const alice = await RawClient.connect(program.gateway, "p-alice");
  const msgId = await send(alice, "p-bob", "are you there?", "1");
  await until(() => service.pushed.length === 1, "the push");
  const { headers, payload } = service.pushed[0] ?? { headers: new Headers(), payload: {} };
  expect(payload).toMatchObject({
    type: "message.undelivered",
    msg_id: msgId,
    from_user_id: "p-alice",
    content: "are you there?",
  });
  expect(headers.get("content-encoding")).toBe("aes128gcm");
  const [, token = "", k = ""] =
    /^vapid t=([\w.-]+), k=([\w-]+)$/.exec(headers.get("authorization") ?? "") ?? [];
  expect(k).toBe(vapid.publicKey);
  const { payload: claims } = await jwtVerify(token, publicKeyOf(k), { audience: service.origin });
  expect(claims.sub).toBe("mailto:operator@example.org");

  const redis = new Redis(join(dir, "redis/redis.sock"), { disableClientInfo: true });
  expect(await redis.hlen("web_push:{p-bob}")).toBe(1);
  service.gone = true;
  const second = await send(alice, "p-bob", "still away", "2");
  await until(() => about("message.undelivered", second).length === 1, "the webhook");
  await until(async () => (await redis.hlen("web_push:{p-bob}")) === 0, "it to be forgotten");
  expect((await call("DELETE", { user_id: "p-bob", endpoint: subscription.endpoint })).status).toBe(
    200,
  );
  redis.disconnect();
});

/** An uncompressed point, as a JSON Web Key. */
function publicKeyOf(base64url: string) {
  const point = Buffer.from(base64url, "base64url");
  const x = point.subarray(1, 33).toString("base64url");
  const y = point.subarray(33).toString("base64url");
  return createPublicKey({ key: { kty: "EC", crv: "P-256", x, y }, format: "jwk" });
}

test("events survive the death of the node that tells them", async () => {
  app.mode = "fail";
  const alice = await RawClient.connect(program.gateway, "k-alice");
  const ids: string[] = [];
  for (let i = 1; i <= 30; i++) ids.push(await send(alice, "k-bob", `m${i}`, `${i}`));
  await until(() => app.attempts.some(({ data }) => ids.includes(String(data.msg_id))), "a try");
  await program.kill("SIGKILL");
  app.mode = "ok";
  program = await workshop.startAll(dir, env).ready();
  for (const type of ["message.sent", "message.undelivered"]) {
    await until(() => ids.every((id) => about(type, id).length > 0), `every ${type}`, 40_000);
  }
  const ofEach = ids.map((id) => new Set(about("message.sent", id).map((hook) => hook.id)).size);
  expect(ofEach).toEqual(ids.map(() => 1));
  const redis = new Redis(join(dir, "redis/redis.sock"), { disableClientInfo: true });
  await until(async () => (await redis.zcard("webhooks:{hooks}:due")) === 0, "an empty queue");
  expect([await redis.xlen("webhooks"), await redis.hlen("webhooks:{hooks}:events")]).toEqual([
    0, 0,
  ]);
  redis.disconnect();
});
