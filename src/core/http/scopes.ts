/**
 * Which scope a route needs. One table for all roles, so that who may do what is read in one place;
 * a route that is missing here takes `admin`, which may do everything.
 */
import type { Scope } from "../auth/api_keys.ts";

type Rule = readonly [method: string, path: RegExp, scopes: readonly Scope[]];

const RULES: readonly Rule[] = [
  ["POST", /^\/chatify\/logic\/v1\/sendSystemPush$/, ["push"]],
  ["POST", /^\/chatify\/offline\/v1\/ArchiveMessages$/, ["push"]],
  ["POST", /^\/chatify\/logic\/v1\/pushJobs$/, ["push"]],
  // Who starts jobs also watches, stops and cancels them.
  ["GET", /^\/chatify\/logic\/v1\/pushJobs(\/|$)/, ["push", "read"]],
  ["POST", /^\/chatify\/logic\/v1\/pushJobs\//, ["push"]],
  ["DELETE", /^\/chatify\/logic\/v1\/pushJobs\//, ["push"]],
  ["POST", /^\/chatify\/offline\/v1\/webPush\/subscriptions$/, ["push"]],
  ["DELETE", /^\/chatify\/offline\/v1\/webPush\/subscriptions$/, ["push"]],
  ["POST", /^\/chatify\/push\/v1\/BatchQueryOnline$/, ["read"]],
  ["GET", /^\/chatify\//, ["read"]],
];

/** The scopes of which one is enough; `admin` always is, and is not named. */
export function scopesFor(method: string, path: string): readonly Scope[] {
  const asked = method === "HEAD" ? "GET" : method;
  const rule = RULES.find(([m, pattern]) => m === asked && pattern.test(path));
  return rule?.[2] ?? [];
}

export function mayCall(granted: readonly string[], wanted: readonly Scope[]): boolean {
  return granted.includes("admin") || wanted.some((scope) => granted.includes(scope));
}
