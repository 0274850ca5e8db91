/**
 * gateway: the edge. Clients come in here by WebSocket and HTTP; it checks who they are and how much
 * they may, and hands everything on. It keeps nothing that another gateway lacks.
 *
 * A message's way up: websocket → uplink → access_links → access; down: hub → downlink → websocket.
 */
import { errorResponse } from "../../core/http/http_errors.ts";
import type { Service } from "../../core/lifecycle/service.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { WEBSOCKET_PATH } from "../../core/protocol/frames.ts";
import { health, readiness } from "../../core/telemetry/admin.ts";
import { Admission } from "./admission.ts";
import type { Connection } from "./connection.ts";
import { drainClients } from "./drain.ts";
import type { GatewayDeps } from "./gateway_deps.ts";
import { createHttpApi } from "./http_api.ts";
import { Hub } from "./hub.ts";
import { type ClientServer, clientHandlers, type UpgradeDeps, upgrade } from "./websocket.ts";

export interface GatewayRole extends Service {
  /** Where it listens; 0 before `start`. */
  readonly port: number;
}

export function createGatewayRole(deps: GatewayDeps): GatewayRole {
  return new Gateway(deps);
}

/** A request may wait for a forwarded answer so long; a half-open handshake ends after it. */
const HTTP_IDLE_S = 60;

class Gateway implements GatewayRole {
  readonly name = "gateway";
  private readonly deps: GatewayDeps;
  private readonly hub: Hub;
  private readonly upgradeDeps: UpgradeDeps;
  private server: ClientServer | null = null;
  private draining = false;

  constructor(deps: GatewayDeps) {
    this.deps = deps;
    this.hub = new Hub(deps);
    this.upgradeDeps = {
      ...deps,
      hub: this.hub,
      metrics: deps.telemetry.metrics,
      isDraining: () => this.draining,
      admission: new Admission({
        clock: deps.clock,
        perSecond: this.admissionRate,
        burst: Math.min(deps.limits.ADMISSIONS_BURST, 2 * this.admissionRate),
      }),
    };
  }

  get port(): number {
    return this.server?.port ?? 0;
  }

  private get admissionRate(): number {
    return this.deps.config.admissionRate ?? this.deps.limits.ADMISSIONS_PER_SECOND;
  }

  async start(): Promise<void> {
    this.hub.start();
    this.server = this.listen();
  }

  blockers(): string[] {
    if (this.server === null) return ["gateway has not started"];
    if (this.draining) return ["draining"];
    return this.hub.hasAccess() ? [] : ["no access node can be reached"];
  }

  async drain(budgetMs: number): Promise<void> {
    const { clock, limits, random } = this.deps;
    this.draining = true;
    // The others are to take them at the rate at which they take anybody.
    const spreadMs = Math.max(
      limits.DRAIN_SPREAD_MS,
      (this.hub.count / this.admissionRate) * 1_000,
    );
    await drainClients({ hub: this.hub, clock, random, spreadMs }, budgetMs);
  }

  async stop(): Promise<void> {
    this.draining = true;
    // Without `true` it would wait for ever for a WebSocket that is open.
    await this.server?.stop(true);
    this.hub.stop();
  }

  private listen(): ClientServer {
    const { config, limits, page } = this.deps;
    const app = createHttpApi(this.deps);
    const routes = {
      "/healthz": () => health(),
      "/readyz": () => readiness(this.blockers()),
      ...(config.authMode === "dev" && page !== undefined ? { "/": page } : {}),
    };
    const answer = async (request: Request): Promise<Response> => {
      const response = await app.fetch(request);
      this.count(routeOf(request), response.status);
      return response;
    };
    try {
      return Bun.serve<Connection>({
        hostname: config.host,
        port: config.port,
        development: false,
        // Which Bun takes for a wish to share the port, and clients with whoever else is there.
        reusePort: false,
        idleTimeout: HTTP_IDLE_S,
        routes,
        // Bun would answer without a code; body_limit does it with one.
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
        fetch: (request, server) =>
          pathOf(request) === WEBSOCKET_PATH ? this.connect(request, server) : answer(request),
        error: (error) => this.refuse(error, new Request("http://gateway/")),
        websocket: clientHandlers(this.hub, limits),
      });
    } catch (cause) {
      const where = `GATEWAY_PORT=${config.port} on ${config.host}`;
      throw new Error(`cannot serve gateway: ${where}; is another process there?`, { cause });
    }
  }

  private async connect(request: Request, server: ClientServer): Promise<Response | undefined> {
    try {
      await upgrade(request, server, this.upgradeDeps);
      return undefined;
    } catch (error) {
      const response = this.refuse(error, request);
      const result = error instanceof ChatifyError ? error.code : "internal";
      this.deps.telemetry.metrics.handshakes.inc({ result });
      // A balancer that asks for another gateway looks for a 503; the code says what was full.
      if (result !== "too_many_connections" || response.status === 503) return response;
      return new Response(response.body, { status: 503, headers: response.headers });
    }
  }

  private refuse(error: unknown, request: Request): Response {
    return errorResponse(error, request, this.deps);
  }

  private count(route: string, status: number): void {
    this.deps.telemetry.metrics.httpRequests.inc({ route, status: String(status) });
  }
}

/** Path without a URL object: this runs for every handshake. */
function pathOf(request: Request): string {
  const { url } = request;
  const start = url.indexOf("/", url.indexOf("//") + 2);
  const end = url.indexOf("?", start);
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

/** A label of few values: what a client writes into a path must not become one. */
function routeOf(request: Request): string {
  const known = /^\/chatify\/(logic|offline|push|dev)\//.exec(pathOf(request))?.[1];
  return known === undefined ? "other" : `/chatify/${known}/*`;
}
