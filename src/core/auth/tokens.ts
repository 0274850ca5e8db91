/**
 * Tokens: who somebody is. A JSON Web Token whose `sub` is the user id, checked with one secret
 * (HS256) or with the keys of a JWKS URL (RS, ES, EdDSA), never with both: a verifier that would take
 * HS256 beside a JWKS could be given a public key as the secret (RFC 8725, 2.1). In dev mode also
 * tokens that anybody can write, which is why that mode listens on loopback only.
 */
import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify, SignJWT } from "jose";
import type { Clock } from "../clock.ts";
import { ChatifyError } from "../protocol/errors.ts";
import { DeviceId, UserId } from "../protocol/message.ts";
import { readDevToken } from "./dev_tokens.ts";
import { hmacCheck } from "./hmac_tokens.ts";
import { PUBLIC_KEY_ALGORITHMS, pinnedKeys } from "./pinned_keys.ts";

export interface TokenClaims {
  readonly userId: string;
  /** From the claim `device_id`. */
  readonly deviceId?: string;
  /** Unix ms; null when the token never expires. */
  readonly expiresAt: number | null;
  readonly issuedAt: number | null;
  /** From the claim `scope` (RFC 8693, 4.2: parted by spaces) or a list in `scope` or `scopes`. */
  readonly scopes: readonly string[];
}

export interface TokenVerifier {
  /** Rejects with `unauthorized`, `token_expired`, or `unavailable` when no key can be had now. */
  verify(token: string): Promise<TokenClaims>;
}

export interface TokenVerifierOptions {
  readonly mode: "dev" | "jwt";
  /** The HS256 secret; ignored when `jwksUrl` is given. */
  readonly secret?: string | null | undefined;
  readonly jwksUrl?: string | null | undefined;
  readonly audience?: string | null | undefined;
  readonly issuer?: string | null | undefined;
  readonly clock: Pick<Clock, "now" | "monotonic">;
}

/** Tokens that are remembered as good; more: the oldest is checked again at its next use. */
export const TOKENS_REMEMBERED_MAX = 4_096;
/** A remembered token is checked again after this time, so that a withdrawn key stops counting. */
const REMEMBERED_MS = 60_000;
/** A longer one is refused unread. */
const TOKEN_CHARS_MAX = 8_192;
const KEYS_RETRY_MS = 1_000;

type Check = (token: string) => Promise<JWTPayload>;

/** Throws at once when the options leave nothing to check tokens with. */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const check = signatureCheck(options);
  if (check === null && options.mode === "jwt") {
    throw new Error("mode jwt needs a secret or a JWKS URL to check tokens with");
  }
  const { clock, mode } = options;
  const unexpired = (claims: TokenClaims): TokenClaims => {
    if (claims.expiresAt === null || clock.now() < claims.expiresAt) return claims;
    throw new ChatifyError("token_expired", "the token has expired");
  };
  return {
    async verify(token) {
      if (token.length > TOKEN_CHARS_MAX) throw unauthorized("the token is too long");
      const dev = mode === "dev" ? readDevToken(token) : null;
      if (dev !== null) return identity(dev.userId, dev.deviceId, null, null, []);
      if (check === null) throw unauthorized("the token is not one of the dev mode");
      // Checked here once more, because a remembered token may have expired since.
      return unexpired(claimsOf(await checked(check, token)));
    },
  };
}

/** What verifies a signature and the registered claims; null when there is no key. */
function signatureCheck(options: TokenVerifierOptions): Check | null {
  const { audience, clock, issuer, jwksUrl, secret } = options;
  const expected = () => ({
    ...(audience ? { audience } : {}),
    ...(issuer ? { issuer } : {}),
    currentDate: new Date(clock.now()),
  });
  if (jwksUrl) {
    const keys = pinnedKeys(createRemoteJWKSet(new URL(jwksUrl)));
    const algorithms = [...PUBLIC_KEY_ALGORITHMS];
    return remembered(clock, async (token) => {
      return (await jwtVerify(token, keys, { ...expected(), algorithms })).payload;
    });
  }
  if (!secret) return null;
  const check = hmacCheck(secret);
  return async (token) => check(token, expected());
}

/** Remembers good tokens: checking a public-key signature again costs a hundred times more. */
function remembered(clock: TokenVerifierOptions["clock"], check: Check): Check {
  const known = new Map<string, { readonly payload: JWTPayload; readonly at: number }>();
  return async (token) => {
    const found = known.get(token);
    if (found !== undefined && clock.monotonic() - found.at < REMEMBERED_MS) return found.payload;
    const payload = await check(token);
    known.delete(token);
    if (known.size >= TOKENS_REMEMBERED_MAX) known.delete(known.keys().next().value ?? "");
    known.set(token, { payload, at: clock.monotonic() });
    return payload;
  };
}

async function checked(check: Check, token: string): Promise<JWTPayload> {
  try {
    return await check(token);
  } catch (error) {
    if (error instanceof errors.JWTExpired) {
      throw new ChatifyError("token_expired", "the token has expired");
    }
    if (error instanceof errors.JWTClaimValidationFailed) {
      throw unauthorized(`the claim ${error.claim} is missing or not the one that is wanted`);
    }
    // jose tells a bad token by its own classes, and a JWKS that cannot be had by the general one.
    const keysGone = error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid;
    const ofToken = error instanceof errors.JOSEError && error.code !== "ERR_JOSE_GENERIC";
    if (ofToken && !keysGone) throw unauthorized("the token's signature or form is not valid");
    throw new ChatifyError("unavailable", "the keys cannot be fetched", KEYS_RETRY_MS);
  }
}

function claimsOf(payload: JWTPayload): TokenClaims {
  const { exp, iat, sub } = payload;
  const { device_id: device, scope, scopes } = payload;
  const ms = (seconds: number | undefined) => (seconds === undefined ? null : seconds * 1_000);
  return identity(sub, device, ms(exp), ms(iat), scopeList(scope ?? scopes));
}

function identity(
  user: unknown,
  device: unknown,
  expiresAt: number | null,
  issuedAt: number | null,
  scopes: readonly string[],
): TokenClaims {
  if (!isId(UserId, user)) throw unauthorized("the claim sub is no valid user id");
  const dates = { expiresAt, issuedAt, scopes };
  if (device === undefined) return { userId: user, ...dates };
  if (!isId(DeviceId, device)) throw unauthorized("the claim device_id is no valid device id");
  return { userId: user, deviceId: device, ...dates };
}

function isId(schema: typeof UserId, value: unknown): value is string {
  return typeof value === "string" && value.isWellFormed() && schema.safeParse(value).success;
}

function scopeList(claim: unknown): readonly string[] {
  if (typeof claim === "string") return claim.split(" ").filter((scope) => scope !== "");
  if (!Array.isArray(claim)) return [];
  return claim.filter((scope): scope is string => typeof scope === "string");
}

function unauthorized(message: string): ChatifyError {
  return new ChatifyError("unauthorized", message);
}

export interface SignTokenOptions {
  readonly secret: string;
  readonly userId: string;
  readonly deviceId?: string | undefined;
  /** Seconds from now on; a token without it never expires. */
  readonly ttlSeconds?: number | undefined;
  readonly audience?: string | null | undefined;
  readonly issuer?: string | null | undefined;
  readonly scopes?: readonly string[] | undefined;
  readonly clock: Pick<Clock, "now">;
}

/** An HS256 token as `createTokenVerifier` takes it: for the CLI, tests and the dev mode's page. */
export async function signToken(options: SignTokenOptions): Promise<string> {
  const { audience, clock, deviceId, issuer, scopes, secret, ttlSeconds, userId } = options;
  const now = Math.floor(clock.now() / 1_000);
  const token = new SignJWT({
    ...(deviceId === undefined ? {} : { device_id: deviceId }),
    ...(scopes === undefined || scopes.length === 0 ? {} : { scope: scopes.join(" ") }),
  });
  token.setProtectedHeader({ alg: "HS256" }).setSubject(userId).setIssuedAt(now);
  if (ttlSeconds !== undefined) token.setExpirationTime(now + ttlSeconds);
  if (audience) token.setAudience(audience);
  if (issuer) token.setIssuer(issuer);
  return token.sign(new TextEncoder().encode(secret));
}
