/**
 * Who may call what sends or administrates: the holder of an API key, or of a token with the scope
 * `admin`. In dev mode everybody, which is why that mode listens on loopback only.
 */
import { timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { ChatifyError } from "../protocol/errors.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";

/** What a checked token says about its holder's rights. */
export interface VerifiedToken {
  /** Scopes, parted by spaces as in OAuth 2 (RFC 8693, 4.2) or as a list. */
  readonly scope?: string | readonly string[] | undefined;
}

export interface TokenVerifier {
  /** Rejects with `unauthorized` or `token_expired`. */
  verify(token: string): Promise<VerifiedToken>;
}

export interface ApiAuthOptions {
  readonly authMode: "dev" | "jwt";
  readonly apiKeys: readonly string[];
  /** Without one, only API keys count. */
  readonly verifier?: TokenVerifier | undefined;
  readonly telemetry?: Pick<Telemetry, "metrics"> | undefined;
}

export const ADMIN_SCOPE = "admin";

export function apiAuth(options: ApiAuthOptions): MiddlewareHandler {
  if (options.authMode === "dev") return (_, next) => next();
  const authorize = callerCheck(options);
  return async (c, next) => {
    const checking = authorize(c.req.raw.headers);
    if (checking !== undefined) await checking;
    await next();
  };
}

/**
 * The check by itself: returns, or resolves, when the caller may; otherwise throws, or rejects
 * with, `unauthorized`, `token_expired` or `forbidden`. A key is checked at once, a token later.
 */
export function callerCheck(
  options: ApiAuthOptions,
): (headers: Headers) => Promise<void> | undefined {
  const keys = options.apiKeys.map(digest);
  const refuse = (code: "unauthorized" | "forbidden", reason: string, message: string) => {
    options.telemetry?.metrics.authFailures.inc({ reason });
    return new ChatifyError(code, message);
  };
  const checkToken = async (token: string, verifier: TokenVerifier) => {
    const { scope } = await verifier.verify(token);
    const scopes = typeof scope === "string" ? scope.split(" ") : (scope ?? []);
    if (scopes.includes(ADMIN_SCOPE)) return;
    throw refuse("forbidden", "no_admin_scope", `this needs a token with scope ${ADMIN_SCOPE}`);
  };
  return (headers) => {
    const credential = credentialOf(headers);
    if (credential === null) {
      throw refuse("unauthorized", "no_credential", "this needs an API key or an admin token");
    }
    if (holds(keys, credential)) return undefined;
    // Three parts: a JSON Web Token. Anything else was meant to be a key.
    const { verifier } = options;
    if (verifier !== undefined && credential.split(".").length === 3) {
      return checkToken(credential, verifier);
    }
    throw refuse("unauthorized", "unknown_api_key", "this API key is not known");
  };
}

function credentialOf(headers: Headers): string | null {
  const key = headers.get("x-api-key");
  if (key !== null && key !== "") return key;
  const [, bearer] = /^Bearer +(\S+) *$/i.exec(headers.get("authorization") ?? "") ?? [];
  return bearer ?? null;
}

/** Compares with every key, all of them whole, so that the time tells nothing about any. */
function holds(keys: readonly Uint8Array[], credential: string): boolean {
  const presented = digest(credential);
  let found = false;
  for (const key of keys) if (timingSafeEqual(key, presented)) found = true;
  return found;
}

function digest(text: string): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(text).digest();
}
