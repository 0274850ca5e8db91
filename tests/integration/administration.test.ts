/** What an administrator may do, and nobody else, on a cluster that believes tokens and keys only. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { signToken } from "../../src/core/auth/tokens.ts";
import { systemClock } from "../../src/core/clock.ts";
import { Cluster } from "./cluster.ts";
import { PROJECT } from "./process_program.ts";
import { RawClient } from "./raw_client.ts";

setDefaultTimeout(60_000);
const SECRET = "a JWT secret of more than 32 characters";
const CONFIGURED = "a-configured-key-of-16-or-more";

let cluster: Cluster;
beforeAll(async () => {
  const env = { AUTH_MODE: "jwt", HOST: "127.0.0.1", JWT_SECRET: SECRET, API_KEYS: CONFIGURED };
  cluster = await Cluster.start({ layout: "split", env });
}, 60_000);
afterAll(() => cluster.stop(), 30_000);

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function call(key: string, method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(`http://${cluster.gateways()[0]}/chatify/${path}`, {
    method,
    headers: { "x-api-key": key },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Answer["body"] };
}

async function chatify(...args: string[]): Promise<Record<string, unknown>> {
  const env = { PATH: process.env.PATH ?? "", REDIS_URL: cluster.redis?.url ?? "" };
  const command = ["bun", "scripts/chatify.ts", ...args, "--json"];
  const child = Bun.spawn(command, { cwd: PROJECT, env, stdout: "pipe", stderr: "pipe" });
  const [out, code] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  expect([args[1] ?? "", code]).toEqual([args[1] ?? "", 0]);
  return JSON.parse(out.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;
}

/** A token that was issued `ageS` seconds ago. */
const tokenOf = (userId: string, ageS = 0) => {
  const clock = { ...systemClock, now: () => systemClock.now() - ageS * 1_000 };
  return signToken({ secret: SECRET, userId, ttlSeconds: 3_600 + ageS, clock });
};

async function connect(gateway: number, user: string, device: string, ageS = 0) {
  const at = cluster.gateways()[gateway] ?? "";
  const client = RawClient.open(at, await tokenOf(user, ageS), device);
  await client.frame("welcome");
  return client;
}

const push = (user: string) => ({ content: "aGk=", to_user_ids: [user] });

test("a key does what its scopes say, and nothing a second after it was revoked", async () => {
  const pusher = await chatify("api-key", "create", "--name", "news", "--scopes", "push");
  const reader = await chatify("api-key", "create", "--name", "board", "--scopes", "read");
  const [pushKey, readKey] = [String(pusher.key), String(reader.key)];
  const system = "logic/v1/sendSystemPush";
  expect((await call(pushKey, "POST", system, push("k-ann"))).status).toBe(200);
  expect((await call(CONFIGURED, "POST", system, push("k-ann"))).status).toBe(200);
  expect(await call(readKey, "POST", system, push("k-ann"))).toMatchObject({
    status: 403,
    body: { code: "forbidden" },
  });
  const stored = "offline/v1/RetrieveOfflineMessages?user_id=k-ann";
  // A push is answered when it is durable; into the store it goes a moment later.
  const rows = async () => (await call(readKey, "GET", stored)).body.messages as unknown[];
  const until = performance.now() + 10_000;
  while ((await rows()).length < 2 && performance.now() < until) await Bun.sleep(20);
  expect(await rows()).toHaveLength(2);
  expect((await call(pushKey, "GET", stored)).status).toBe(403);
  for (const key of [pushKey, readKey]) {
    expect((await call(key, "POST", "push/v1/users/k-ann/kick")).status).toBe(403);
  }

  await chatify("api-key", "revoke", String(pusher.id));
  const deadline = performance.now() + 5_000;
  let answer = await call(pushKey, "POST", system, push("k-bob"));
  while (answer.status === 200 && performance.now() < deadline) {
    await Bun.sleep(50);
    answer = await call(pushKey, "POST", system, push("k-bob"));
  }
  expect(answer).toMatchObject({ status: 401, body: { code: "unauthorized" } });
  const { keys } = (await chatify("api-key", "list")) as { keys: Record<string, unknown>[] };
  expect(keys.map(({ name, state }) => `${name} ${state}`).sort()).toEqual([
    "board active",
    "news revoked",
  ]);
  // What was shown once is nowhere to be seen again, neither in the list nor in Redis.
  expect(JSON.stringify(keys)).not.toContain(pushKey.slice(14));
});

test("the sessions of a user are listed with their devices", async () => {
  const phone = await connect(0, "s-ann", "phone");
  const laptop = await connect(1, "s-ann", "laptop");
  const { body } = await call(CONFIGURED, "GET", "push/v1/users/s-ann/sessions");
  const sessions = body.sessions as { device_id: string; gateway: string; since: number }[];
  expect(body).toMatchObject({ user_id: "s-ann", online: true });
  expect(sessions.map(({ device_id }) => device_id).sort()).toEqual(["laptop", "phone"]);
  expect(new Set(sessions.map(({ gateway }) => gateway)).size).toBe(2);
  expect(Math.abs(systemClock.now() - (sessions[0]?.since ?? 0))).toBeLessThan(60_000);
  phone.close();
  laptop.close();
  expect((await call(CONFIGURED, "GET", "push/v1/users/s-nobody/sessions")).body).toEqual({
    user_id: "s-nobody",
    online: false,
    sessions: [],
  });
});

test("a kicked device is closed with 4101 and gets nothing more; others of the user stay", async () => {
  const phone = await connect(0, "t-ann", "phone");
  const laptop = await connect(1, "t-ann", "laptop");
  const kick = await call(CONFIGURED, "POST", "push/v1/users/t-ann/kick", { device_id: "phone" });
  expect(kick).toMatchObject({ status: 200, body: { ended: [{ device_id: "phone" }] } });
  expect(await phone.closed).toBe(4101);
  await call(CONFIGURED, "POST", "logic/v1/sendSystemPush", push("t-ann"));
  await laptop.received(1);
  expect(phone.messages).toEqual([]);
  // A person who signs in again is welcome.
  const again = await connect(0, "t-ann", "phone");
  await call(CONFIGURED, "POST", "logic/v1/sendSystemPush", push("t-ann"));
  expect(await again.received(1)).toHaveLength(1);
  expect((await call(CONFIGURED, "POST", "push/v1/users/t-ann/kick")).body.ended).toHaveLength(2);
  expect(await Promise.all([again.closed, laptop.closed])).toEqual([4101, 4101]);
});

test("tokens issued before a revocation end at once and open nothing more; newer ones do", async () => {
  const old = await connect(0, "r-ann", "phone", 100);
  const path = "push/v1/users/r-ann/revokeTokens";
  const before = Math.floor(systemClock.now() / 1_000) - 50;
  expect((await call(CONFIGURED, "POST", path, { before })).body).toMatchObject({
    tokens_before: before,
    ended: [{ device_id: "phone" }],
  });
  expect(await old.closed).toBe(4001);
  const back = RawClient.open(cluster.gateways()[1] ?? "", await tokenOf("r-ann", 100), "phone");
  expect(await back.closed).toBe(4106);
  await call(CONFIGURED, "POST", "logic/v1/sendSystemPush", push("r-ann"));
  expect([...old.messages, ...back.messages]).toEqual([]);
  const fresh = await connect(0, "r-ann", "phone");
  expect(await fresh.received(1)).toHaveLength(1);
  fresh.close();
});

test("a revoked token opens no route either", async () => {
  const clock = { ...systemClock, now: () => systemClock.now() - 100_000 };
  const claims = { secret: SECRET, userId: "r-admin", scopes: ["admin"], clock };
  const token = await signToken({ ...claims, ttlSeconds: 3_600 });
  const groups = () => call(token, "GET", "logic/v1/groups/none");
  expect((await groups()).status).toBe(404);
  await call(CONFIGURED, "POST", "push/v1/users/r-admin/revokeTokens");
  expect(await groups()).toMatchObject({ status: 401, body: { code: "unauthorized" } });
});
