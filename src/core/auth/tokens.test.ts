import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { CompactSign, exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { systemClock } from "../clock.ts";
import { ChatifyError } from "../protocol/errors.ts";
import { readDevToken, writeDevToken } from "./dev_tokens.ts";
import { createTokenVerifier, signToken, TOKENS_REMEMBERED_MAX } from "./tokens.ts";

const clock = systemClock;
const secret = "s".repeat(32);
const signed = (more: Partial<Parameters<typeof signToken>[0]> = {}) =>
  signToken({ secret, userId: "alice", clock, ttlSeconds: 60, audience: "chat", ...more });
const hmac = createTokenVerifier({ mode: "jwt", secret, audience: "chat", issuer: null, clock });

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "ok",
    (error: unknown) => (error instanceof ChatifyError ? error.code : `bug: ${error}`),
  );
}

const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const claims = { sub: "alice", aud: "chat", exp: 4_000_000_000 };

describe("a token with a secret", () => {
  test("says who it is, on which device, until when and with which scopes", async () => {
    const token = await signed({ deviceId: "phone", scopes: ["admin", "push"] });
    const identity = await hmac.verify(token);
    expect(identity).toMatchObject({
      userId: "alice",
      deviceId: "phone",
      scopes: ["admin", "push"],
    });
    expect(Math.abs((identity.expiresAt ?? 0) - clock.now() - 60_000)).toBeLessThan(1_500);
    expect(Math.abs((identity.issuedAt ?? 0) - clock.now())).toBeLessThan(1_500);
  });

  const refused: [what: string, token: () => string | Promise<string>, code: string][] = [
    ["has expired", () => signed({ ttlSeconds: -1 }), "token_expired"],
    ["names another audience", () => signed({ audience: "shop" }), "unauthorized"],
    ["names no audience", () => signed({ audience: null }), "unauthorized"],
    ["is signed with another secret", () => signed({ secret: "t".repeat(32) }), "unauthorized"],
    ["has no valid user id", () => signed({ userId: "a b" }), "unauthorized"],
    ["has a user id of half a character", () => signed({ userId: "a\ud800" }), "unauthorized"],
    ["has no valid device id", () => signed({ deviceId: "a:b" }), "unauthorized"],
    ["says none", () => `${base64({ alg: "none" })}.${base64(claims)}.`, "unauthorized"],
    ["says None", () => `${base64({ alg: "None" })}.${base64(claims)}.`, "unauthorized"],
    ["is HS512", () => other("HS512"), "unauthorized"],
    ["is empty", () => "", "unauthorized"],
    ["has a fourth part", async () => `${await signed()}.x`, "unauthorized"],
    ["wants an extension understood", () => critical(), "unauthorized"],
    ["has a payload that is none", () => raw("[1]"), "unauthorized"],
    ["is one of the dev mode", () => "dev:alice", "unauthorized"],
    ["is very long", () => "x".repeat(10_000), "unauthorized"],
    ["is not yet valid", () => later(), "unauthorized"],
  ];
  const other = (alg: string) =>
    new SignJWT(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode("s".repeat(64)));
  const later = () =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256" })
      .setNotBefore("1h")
      .sign(new TextEncoder().encode(secret));
  const critical = () =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", crit: ["b64"], b64: true })
      .sign(new TextEncoder().encode(secret));
  const raw = (payload: string) =>
    new CompactSign(new TextEncoder().encode(payload))
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(secret));
  for (const [what, token, code] of refused) {
    test(`is refused with ${code} when it ${what}`, async () => {
      expect(await codeOf(hmac.verify(await token()))).toBe(code);
    });
  }

  test("is refused when its issuer is not the one that is wanted", async () => {
    const verifier = createTokenVerifier({ mode: "jwt", secret, issuer: "us", clock });
    expect(await codeOf(verifier.verify(await signed({ issuer: "us" })))).toBe("ok");
    expect(await codeOf(verifier.verify(await signed({ issuer: "them" })))).toBe("unauthorized");
  });

  test("that was changed anywhere is refused", async () => {
    const token = await signed();
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), fc.string({ maxLength: 1 }), async (at, char) => {
        const changed = token.slice(0, at) + char + token.slice(at + 1);
        if (changed === token) return;
        expect(await codeOf(hmac.verify(changed))).not.toStartWith("bug");
        expect(await codeOf(hmac.verify(changed))).not.toBe("ok");
      }),
    );
  });
});

describe("a token with a JWKS", () => {
  const keys: JWK[] = [];
  const signers = new Map<string, CryptoKey>();
  let server: Bun.Server<undefined>;
  let url = "";
  beforeAll(async () => {
    for (const alg of ["RS256", "RS512", "ES256", "ES384", "EdDSA"]) {
      const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
      const named = alg === "RS512" ? { alg } : {};
      keys.push({ ...(await exportJWK(publicKey)), kid: alg, use: "sig", ...named });
      signers.set(alg, privateKey);
    }
    server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => Response.json({ keys }) });
    url = `http://127.0.0.1:${server.port}/`;
  });
  afterAll(() => server.stop(true));

  const by = async (kid: string, alg = kid) => {
    const key = signers.get(kid);
    if (key === undefined) throw new Error(`no key ${kid}`);
    // WebCrypto pins RSA keys to one hash, so a confused signer has to import its key again.
    const jwk = { ...(await exportJWK(key)), alg };
    const signer =
      alg === kid ? key : await crypto.subtle.importKey("jwk", jwk, rsa(alg), false, ["sign"]);
    return new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(signer);
  };
  const rsa = (alg: string) => ({ name: "RSASSA-PKCS1-v1_5", hash: `SHA-${alg.slice(2)}` });
  const verifier = () =>
    createTokenVerifier({ mode: "jwt", secret, jwksUrl: url, clock, audience: "chat" });

  test("is taken for each kind of key", async () => {
    const jwks = verifier();
    for (const alg of signers.keys()) {
      expect((await jwks.verify(await by(alg))).userId).toBe("alice");
    }
  });

  test("is refused when it uses a key with another algorithm than its own", async () => {
    expect(await codeOf(verifier().verify(await by("RS256", "RS512")))).toBe("unauthorized");
    expect(await codeOf(verifier().verify(await by("RS512", "RS256")))).toBe("unauthorized");
  });

  test("is refused with HS256, by the secret and by the public key as the secret", async () => {
    expect(await codeOf(verifier().verify(await signed()))).toBe("unauthorized");
    for (const key of keys) {
      const bytes = new TextEncoder().encode(JSON.stringify(key).padEnd(32));
      const header = { alg: "HS256", kid: String(key.kid) };
      const token = await new SignJWT(claims).setProtectedHeader(header).sign(bytes);
      expect(await codeOf(verifier().verify(token))).toBe("unauthorized");
    }
  });

  test("is refused when it says none or names an unknown key", async () => {
    const none = `${base64({ alg: "none", kid: "RS256" })}.${base64(claims)}.`;
    expect(await codeOf(verifier().verify(none))).toBe("unauthorized");
    const key = signers.get("ES256") as CryptoKey;
    const header = { alg: "ES256", kid: "nobody" };
    const unknown = await new SignJWT(claims).setProtectedHeader(header).sign(key);
    expect(await codeOf(verifier().verify(unknown))).toBe("unauthorized");
  });

  test("is refused as expired also when it is remembered", async () => {
    let now = clock.now();
    const moving = { now: () => now, monotonic: () => 0 };
    const jwks = createTokenVerifier({ mode: "jwt", jwksUrl: url, clock: moving });
    const token = await by("ES256");
    expect(await codeOf(jwks.verify(token))).toBe("ok");
    expect(await codeOf(jwks.verify(token))).toBe("ok");
    now = claims.exp * 1_000;
    expect(await codeOf(jwks.verify(token))).toBe("token_expired");
  });

  test("is never taken for another one, however many are remembered", async () => {
    const jwks = verifier();
    const header = { alg: "EdDSA", kid: "EdDSA" };
    const key = signers.get("EdDSA") as CryptoKey;
    const tokens = await Promise.all(
      Array.from({ length: TOKENS_REMEMBERED_MAX + 50 }, (_, i) =>
        new SignJWT({ ...claims, sub: `u${i}` }).setProtectedHeader(header).sign(key),
      ),
    );
    for (let round = 0; round < 2; round++) {
      const users = await Promise.all(tokens.map(async (t) => (await jwks.verify(t)).userId));
      expect(users.every((user, i) => user === `u${i}`)).toBe(true);
    }
  }, 30_000);

  test("cannot be told while the keys cannot be fetched", async () => {
    const token = await by("ES256");
    for (const fetch of [() => new Response("no", { status: 500 }), () => new Response("no")]) {
      const broken = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
      const jwksUrl = `http://127.0.0.1:${broken.port}/`;
      const unable = createTokenVerifier({ mode: "jwt", jwksUrl, clock });
      expect(await codeOf(unable.verify(token))).toBe("unavailable");
      await broken.stop(true);
      expect(await codeOf(unable.verify(token))).toBe("unavailable");
    }
  });
});

describe("in dev mode", () => {
  const dev = createTokenVerifier({ mode: "dev", clock });

  test("anybody is who he says, in either spelling", async () => {
    expect(await dev.verify("dev:alice")).toEqual({
      userId: "alice",
      expiresAt: null,
      issuedAt: null,
      scopes: [],
    });
    expect(await dev.verify("dev:alice:phone")).toMatchObject({ deviceId: "phone" });
    expect(await dev.verify(writeDevToken("älice@x", "a b".replace(" ", "-")))).toMatchObject({
      userId: "älice@x",
      deviceId: "a-b",
    });
  });

  test("the second spelling fits into a Sec-WebSocket-Protocol entry", async () => {
    await fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), (user, device) => {
        const token = writeDevToken(user, device);
        expect(token).toMatch(/^[\w.-]+$/);
        expect(readDevToken(token)).toEqual({ userId: user, deviceId: device });
      }),
    );
  });

  test("ids are checked all the same, and JSON Web Tokens need a key", async () => {
    for (const token of ["dev:", "dev:a b", "dev:a:b:c", "dev.", "dev.YQ.YQ.YQ", "alice"]) {
      expect(await codeOf(dev.verify(token))).toBe("unauthorized");
    }
    expect(await codeOf(dev.verify(await signed()))).toBe("unauthorized");
    const both = createTokenVerifier({ mode: "dev", secret, clock });
    expect(await codeOf(both.verify(await signed()))).toBe("ok");
    expect(await codeOf(both.verify(await signed({ secret: "t".repeat(32) })))).toBe(
      "unauthorized",
    );
  });
});

test("a verifier that could check nothing is refused at once", () => {
  expect(() => createTokenVerifier({ mode: "jwt", clock })).toThrow("needs a secret or a JWKS URL");
});
