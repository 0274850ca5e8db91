import { expect, test } from "bun:test";
import { Hono } from "hono";
import { pino } from "pino";
import { createApiKey, type Scope } from "../auth/api_keys.ts";
import { systemRandom } from "../clock.ts";
import { ChatifyError } from "../protocol/errors.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { type ApiAuthOptions, apiAuth, type IssuedKeys, type TokenVerifier } from "./api_auth.ts";
import { answerErrors } from "./http_errors.ts";

const key = "an-api-key-0123456789";
const verifier: TokenVerifier = {
  async verify(token) {
    if (token === "old.old.old") throw new ChatifyError("token_expired", "the token has expired");
    if (token === "a.d.m") return { scope: "read admin" };
    if (token === "l.i.s") return { scope: ["admin"] };
    if (token === "u.s.r") return { scope: "administrator read" };
    if (token === "n.o.s") return {};
    throw new ChatifyError("unauthorized", "the token is not valid");
  },
};

async function ask(headers: Record<string, string>, options: Partial<ApiAuthOptions> = {}) {
  const app = new Hono();
  answerErrors(app, { random: systemRandom, telemetry: { log: pino({ level: "silent" }) } });
  const apiKeys = ["another-api-key-98765", key];
  app.use(apiAuth({ authMode: "jwt", apiKeys, verifier, ...options }));
  app.get("/", (c) => c.json({ code: "ok" }));
  const response = await app.request("/", { headers });
  const { code } = (await response.json()) as { code: string };
  return `${response.status} ${code}`;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test("dev mode asks for nothing", async () => {
  expect(await ask({}, { authMode: "dev", apiKeys: [] })).toBe("200 ok");
});

test("an API key opens, in either header", async () => {
  expect(await ask({ "x-api-key": key })).toBe("200 ok");
  expect(await ask(bearer(key))).toBe("200 ok");
  expect(await ask({ authorization: `bearer ${key}` })).toBe("200 ok");
});

test("anything but a whole known key is unauthorized", async () => {
  for (const headers of [
    {},
    { "x-api-key": "" },
    { "x-api-key": key.slice(1) },
    { "x-api-key": `${key}x` },
    bearer(key.toUpperCase()),
    { authorization: key },
    { authorization: `Basic ${key}` },
    { authorization: "Bearer" },
    bearer("bad.bad.bad"),
  ]) {
    expect(await ask(headers)).toBe("401 unauthorized");
  }
});

test("a token opens with the scope admin, as text or as a list, and only with it", async () => {
  expect(await ask(bearer("a.d.m"))).toBe("200 ok");
  expect(await ask(bearer("l.i.s"))).toBe("200 ok");
  expect(await ask(bearer("u.s.r"))).toBe("403 forbidden");
  expect(await ask(bearer("n.o.s"))).toBe("403 forbidden");
  expect(await ask(bearer("old.old.old"))).toBe("401 token_expired");
});

test("an issued key opens what its scopes allow, until it expires or is revoked", async () => {
  const make = (scopes: Scope[], expiresAt = 0) => {
    return createApiKey({ name: "k", scopes, expiresAt }, systemRandom, 1_000);
  };
  const [push, read, admin, old] = [
    make(["push"]),
    make(["read"]),
    make(["admin"]),
    make(["admin"], 2_000),
  ];
  const gone = make(["admin"]);
  const keys = [push.key, read.key, admin.key, old.key, { ...gone.key, revokedAt: 1_500 }];
  const issuedKeys: IssuedKeys = {
    clock: { now: () => 2_000_000 },
    find: (id) => keys.find((key) => key.id === id) ?? null,
  };
  const later: IssuedKeys = { ...issuedKeys, find: async (id) => issuedKeys.find(id) };
  const metrics = createMetrics();
  for (const source of [issuedKeys, later]) {
    const options = { issuedKeys: source, telemetry: { metrics } };
    const status = (text: string) => ask({ "x-api-key": text }, options);
    expect(await status(push.text)).toBe("403 forbidden");
    expect(await status(admin.text)).toBe("200 ok");
    expect(await status(old.text)).toBe("401 unauthorized");
    expect(await status(gone.text)).toBe("401 unauthorized");
    expect(await status(`${admin.text.slice(0, -1)}!`)).toBe("401 unauthorized");
    const other = admin.text.slice(0, -1) + (admin.text.endsWith("0") ? "1" : "0");
    expect(await status(other)).toBe("401 unauthorized");
    expect(await status(make(["admin"]).text)).toBe("401 unauthorized");
  }
  const text = await metrics.registry.getSingleMetricAsString("chatify_auth_failures_total");
  expect(text).toContain('{reason="revoked_api_key"} 2');
  expect(text).toContain('{reason="expired_api_key"} 2');
  expect(text).toContain('{reason="no_scope"} 2');
});

test("without a verifier a token is nothing, and without keys neither is a key", async () => {
  expect(await ask(bearer("a.d.m"), { verifier: undefined })).toBe("401 unauthorized");
  expect(await ask({ "x-api-key": key }, { apiKeys: [] })).toBe("401 unauthorized");
});

test("refusals are counted by reason", async () => {
  const metrics = createMetrics();
  await ask({}, { telemetry: { metrics } });
  await ask({ "x-api-key": "wrong" }, { telemetry: { metrics } });
  const text = await metrics.registry.getSingleMetricAsString("chatify_auth_failures_total");
  expect(text).toContain('{reason="no_credential"} 1');
  expect(text).toContain('{reason="unknown_api_key"} 1');
});
