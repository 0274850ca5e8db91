/**
 * The admin listener: metrics and health for the operator, on loopback unless configured otherwise.
 * It has no authentication, which is why nothing here changes anything or names a user.
 */
import type { Config } from "../config.ts";
import type { Metrics } from "./metrics.ts";

export interface AdminDeps {
  readonly config: Pick<Config, "adminHost" | "adminPort">;
  readonly metrics: Metrics;
  /** What keeps this process from being ready, in words; empty when it is. */
  readonly blockers: () => readonly string[];
}

export interface Admin {
  /** The port it listens on, which matters when the configured one is 0. */
  readonly port: number;
  /** Ends the listener and its open connections. */
  stop(): Promise<void>;
}

/** Throws when the port is taken, with the variable that names it. */
export function serveAdmin({ config, metrics, blockers }: AdminDeps): Admin {
  const { adminHost: hostname, adminPort } = config;
  const routes = {
    "/metrics": async () =>
      new Response(await metrics.registry.metrics(), {
        headers: { "content-type": metrics.registry.contentType },
      }),
    "/healthz": () => health(),
    "/readyz": () => readiness(blockers()),
  };
  const fetch = () => new Response("not found\n", { status: 404 });
  try {
    const server = Bun.serve({ hostname, port: adminPort, routes, fetch });
    return { port: server.port ?? adminPort, stop: () => server.stop(true) };
  } catch (cause) {
    const where = `ADMIN_HOST=${hostname} ADMIN_PORT=${adminPort}`;
    throw new Error(`cannot serve metrics on ${where}; is another process there?`, { cause });
  }
}

/** Liveness: that there is an answer is the answer. */
export function health(): Response {
  return Response.json({ status: "ok" });
}

export function readiness(blockers: readonly string[]): Response {
  if (blockers.length === 0) return Response.json({ status: "ready" });
  return Response.json({ status: "not ready", blockers }, { status: 503 });
}
