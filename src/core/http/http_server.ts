/**
 * The HTTP listener of a role: its Hono app, with `/healthz` and `/readyz` beside it, a bound on
 * every body, and a count of every request by route and status.
 */
import type { Hono } from "hono";
import { type Clock, type Random, sleep, systemClock, systemRandom } from "../clock.ts";
import { LIMITS, type Limits } from "../limits.ts";
import { health, readiness } from "../telemetry/admin.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { limitBody } from "./body_limit.ts";
import { errorResponse } from "./http_errors.ts";

export interface ServeRoleOptions {
  readonly app: Hono;
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** The role; `<NAME>_PORT` is the variable that an error names. */
  readonly name: string;
  /** What keeps the role from working now, in words; empty when it is ready. */
  readonly blockers: () => readonly string[];
  readonly telemetry: Telemetry;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly limits?: Pick<Limits, "HTTP_BODY_BYTES_MAX">;
  /** Paths that take a POST of any length, because they read it piece by piece. */
  readonly streamed?: readonly string[];
}

export interface RoleServer {
  readonly port: number;
  /** Takes no new requests, lets those under way finish for STOP_MS, then ends them. */
  stop(): Promise<void>;
}

/** Less than LIMITS.DRAIN_MS: by then the role has drained, and only slow readers are left. */
const STOP_MS = 2_000;

/** Bun ends a connection on which nothing moved for so long, also while its answer is being made. */
const IDLE_S = 120;

/** Throws when the port is taken, with the variable that names it. */
export function serveRole(options: ServeRoleOptions): RoleServer {
  const { app, blockers, host: hostname, name, streamed = [], telemetry } = options;
  const { clock = systemClock, random = systemRandom, limits = LIMITS } = options;
  const bytesMax = limits.HTTP_BODY_BYTES_MAX;
  const count = requestCounter(app, telemetry.metrics);
  const refuse = (error: unknown, request: Request) =>
    errorResponse(error, request, { random, telemetry });
  const answer = (request: Request): Response | Promise<Response> => {
    if (isStreamed(request, streamed)) return app.fetch(request);
    const bounded = limitBody(request, bytesMax);
    return bounded instanceof Promise ? bounded.then((r) => app.fetch(r)) : app.fetch(bounded);
  };
  const fetch = async (request: Request): Promise<Response> => {
    let response: Response;
    try {
      response = await answer(request);
    } catch (error) {
      response = refuse(error, request);
    }
    count(request, response.status);
    return response;
  };
  const routes = { "/healthz": () => health(), "/readyz": () => readiness(blockers()) };
  const maxRequestBodySize = Number.MAX_SAFE_INTEGER;
  const idleTimeout = IDLE_S;
  try {
    const { port } = options;
    const server = Bun.serve({ hostname, port, idleTimeout, maxRequestBodySize, routes, fetch });
    return {
      port: server.port ?? options.port,
      async stop() {
        await Promise.race([server.stop(false), sleep(clock, STOP_MS)]);
        await server.stop(true);
      },
    };
  } catch (cause) {
    const where = `${name.toUpperCase()}_PORT=${options.port} on ${hostname}`;
    throw new Error(`cannot serve ${name}: ${where}; is another process there?`, { cause });
  }
}

export function isStreamed(request: Request, paths: readonly string[]): boolean {
  if (request.method !== "POST" || paths.length === 0) return false;
  return paths.includes(new URL(request.url).pathname);
}

type Count = (request: Request, status: number) => void;

/**
 * Counts by the pattern of the route that the router finds, so that the label never holds an id.
 * A counter's child is kept per pair, because looking it up by labels costs more than the count.
 */
function requestCounter(app: Hono, metrics: Metrics): Count {
  const children = new Map<string, { inc(): void }>();
  return (request, status) => {
    const route = routeOf(app, request);
    const key = `${status} ${route}`;
    let child = children.get(key);
    if (child === undefined) {
      child = metrics.httpRequests.labels({ route, status: String(status) });
      children.set(key, child);
    }
    child.inc();
  };
}

function routeOf(app: Hono, request: Request): string {
  const [handlers] = app.router.match(request.method, app.getPath(request));
  // Middleware matches every path; what answers comes last and has a method.
  const route = handlers.at(-1)?.[0][1];
  return route === undefined || route.method === "ALL" ? "other" : route.path;
}
