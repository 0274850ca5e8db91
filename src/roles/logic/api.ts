/**
 * The HTTP API of logic: system push, push jobs, tags, groups and block lists, for services and administrators.
 * Every answer that is not a success has the one error shape.
 */
import { Hono, type MiddlewareHandler } from "hono";
import { answerErrors } from "../../core/http/http_errors.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { addBlockRoutes, type BlockRoutesDeps } from "./block_routes.ts";
import { addGroupRoutes, type GroupRoutesDeps } from "./group_routes.ts";
import { addJobRoutes, type JobRoutesDeps } from "./job_routes.ts";
import { addPushRoute, type PushRouteDeps } from "./push_route.ts";
import { addTagRoutes, type TagRoutesDeps } from "./tag_routes.ts";

export interface LogicApiDeps
  extends PushRouteDeps,
    JobRoutesDeps,
    TagRoutesDeps,
    GroupRoutesDeps,
    BlockRoutesDeps {
  /** Refuses who may not call; see core/http/api_auth.ts. */
  readonly authorize: MiddlewareHandler;
  readonly telemetry: Telemetry;
  readonly limits: PushRouteDeps["limits"] & JobRoutesDeps["limits"] & GroupRoutesDeps["limits"];
}

export function createLogicApi(deps: LogicApiDeps): Hono {
  const app = new Hono();
  answerErrors(app, deps);
  app.use(deps.authorize);
  addPushRoute(app, deps);
  addJobRoutes(app, deps);
  addTagRoutes(app, deps);
  addGroupRoutes(app, deps);
  addBlockRoutes(app, deps);
  return app;
}
