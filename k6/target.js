/**
 * Where the scripts here send their load, and as whom. All of it comes from the environment:
 *   BASE_URL     http://host:port of the gateway, or of the logic role for system push
 *   API_KEY      for routes that need one; the dev mode needs none
 *   JWT_SECRET   mints users' tokens (HS256); without it they are those of the dev mode
 */
import crypto from "k6/crypto";
import encoding from "k6/encoding";

export const GATEWAY = "http://127.0.0.1:8080";

export function baseUrl(fallback) {
  return (__ENV.BASE_URL || fallback).replace(/\/+$/, "");
}

/** A whole number from the environment. */
export function number(name, fallback) {
  const value = Number(__ENV[name] || fallback);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} takes a whole number from 1`);
  return value;
}

export function jsonHeaders() {
  const key = __ENV.API_KEY ? { "X-API-Key": __ENV.API_KEY } : {};
  return { "Content-Type": "application/json", ...key };
}

export function socketUrl(base, user, device = "k6") {
  const address = base.replace(/^http/, "ws");
  const token = encodeURIComponent(tokenOf(user));
  return `${address}/chatify/access/v1/ws?token=${token}&device_id=${device}`;
}

function tokenOf(user) {
  const secret = __ENV.JWT_SECRET;
  if (!secret) return `dev:${user}`;
  const now = Math.floor(Date.now() / 1_000);
  const part = (value) => encoding.b64encode(JSON.stringify(value), "rawurl");
  const head = part({ alg: "HS256", typ: "JWT" });
  const signed = `${head}.${part({ sub: user, iat: now, exp: now + 86_400 })}`;
  return `${signed}.${crypto.hmac("sha256", secret, signed, "base64rawurl")}`;
}

/** A run's own names, so that nothing that an earlier run left behind comes in between. */
export function runId() {
  return Math.random().toString(36).slice(2, 10);
}
