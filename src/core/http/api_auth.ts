/**
 * Who may call what sends, reads or administrates: the holder of an API key or of a token with the
 * scope that the route needs (scopes.ts). Keys come from the configuration, with every scope, or from
 * the CLI, with those they were given. In dev mode everybody may, which is why that mode listens on
 * loopback only.
 */
import { timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import { type ApiKey, apiKeyId, isApiKey, keyState } from "../auth/api_keys.ts";
import type { Clock } from "../clock.ts";
import { ChatifyError } from "../protocol/errors.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { mayCall, scopesFor } from "./scopes.ts";

/** What a checked token says about its holder's rights. */
export interface VerifiedToken {
  readonly userId?: string;
  /** Scopes, parted by spaces as in OAuth 2 (RFC 8693, 4.2) or as a list. */
  readonly scope?: string | readonly string[] | undefined;
}

export interface TokenVerifier {
  /** Rejects with `unauthorized` or `token_expired`. */
  verify(token: string): Promise<VerifiedToken>;
}

export interface ApiAuthOptions {
  readonly authMode: "dev" | "jwt";
  /** Keys of the configuration; they have every scope. */
  readonly apiKeys: readonly string[];
  /** The keys that the CLI made; without it there are none. */
  readonly issuedKeys?: IssuedKeys | undefined;
  /** Without one, only API keys count. */
  readonly verifier?: TokenVerifier | undefined;
  readonly telemetry?: Pick<Telemetry, "metrics"> | undefined;
}

/** Finds keys, and knows what time it is where they expire. */
export interface IssuedKeys {
  readonly clock: Pick<Clock, "now">;
  find(id: string): ApiKey | null | Promise<ApiKey | null>;
}

/** Who called: the id of a key, `user:<id>` of a token, or what stands for them all. */
export type Caller = string;
const DEV_CALLER: Caller = "dev";
const CONFIGURED_CALLER: Caller = "configured";

type Refuse = (code: "unauthorized" | "forbidden", reason: string, message: string) => ChatifyError;

export function apiAuth(options: ApiAuthOptions): MiddlewareHandler {
  if (options.authMode === "dev") {
    return (c, next) => {
      c.set("caller", DEV_CALLER);
      return next();
    };
  }
  const check = callerCheck(options);
  return async (c, next) => {
    const checking = check(c.req.raw.headers, c.req.method, c.req.path);
    c.set("caller", typeof checking === "string" ? checking : await checking);
    await next();
  };
}

/** Who called, as `apiAuth` found out; for limits per caller. Never for a metric's label. */
export function callerOf(c: Context): Caller {
  return c.get("caller") ?? DEV_CALLER;
}

type Check = (headers: Headers, method: string, path: string) => Caller | Promise<Caller>;

/** Throws, or rejects with, `unauthorized`, `token_expired`, `forbidden` or `unavailable`. */
function callerCheck(options: ApiAuthOptions): Check {
  const configured = options.apiKeys.map(digest);
  const refuse: Refuse = (code, reason, message) => {
    options.telemetry?.metrics.authFailures.inc({ reason });
    return new ChatifyError(code, message);
  };
  const allow = (granted: readonly string[], method: string, path: string): void => {
    const wanted = scopesFor(method, path);
    if (mayCall(granted, wanted)) return;
    const names = [...wanted, "admin"].join(" or ");
    throw refuse("forbidden", "no_scope", `this needs the scope ${names}`);
  };
  return (headers, method, path) => {
    const credential = credentialOf(headers);
    if (credential === null) {
      throw refuse("unauthorized", "no_credential", "this needs an API key or an admin token");
    }
    if (holds(configured, credential)) return CONFIGURED_CALLER;
    const { issuedKeys, verifier } = options;
    const id = apiKeyId(credential);
    if (id !== null && issuedKeys !== undefined) {
      const admit = (key: ApiKey | null): Caller => {
        allow(scopesOf(key, credential, issuedKeys.clock, refuse), method, path);
        return id;
      };
      const found = issuedKeys.find(id);
      return found instanceof Promise ? found.then(admit) : admit(found);
    }
    // Three parts: a JSON Web Token. Anything else was meant to be a key.
    if (verifier !== undefined && credential.split(".").length === 3) {
      return verifier.verify(credential).then(({ scope, userId }) => {
        allow(typeof scope === "string" ? scope.split(" ") : (scope ?? []), method, path);
        return `user:${userId ?? ""}`;
      });
    }
    throw refuse("unauthorized", "unknown_api_key", "this API key is not known");
  };
}

function scopesOf(
  key: ApiKey | null,
  text: string,
  clock: IssuedKeys["clock"],
  refuse: Refuse,
): readonly string[] {
  if (key === null || !isApiKey(key, text)) {
    throw refuse("unauthorized", "unknown_api_key", "this API key is not known");
  }
  const state = keyState(key, Math.floor(clock.now() / 1_000));
  if (state === "active") return key.scopes;
  const problem = state === "revoked" ? "was revoked" : "has expired";
  throw refuse("unauthorized", `${state}_api_key`, `this API key ${problem}`);
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
