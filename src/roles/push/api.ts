/**
 * The HTTP API of push: who is online, and where.
 */
import { Hono, type MiddlewareHandler } from "hono";
import * as z from "zod";
import type { Random } from "../../core/clock.ts";
import { answerErrors } from "../../core/http/http_errors.ts";
import { checked, parseJson } from "../../core/http/json_body.ts";
import { UserId } from "../../core/protocol/message.ts";
import type { SessionDirectory } from "../../core/sessions/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";

export interface PushApiDeps {
  readonly directory: SessionDirectory;
  /** Refuses who may not call; see core/http/api_auth.ts. */
  readonly authorize: MiddlewareHandler;
  readonly random: Random;
  readonly telemetry: Telemetry;
}

const USERS_PER_QUERY_MAX = 1_000;

export const BatchQueryOnlineBody = z.object({
  user_ids: z.array(UserId).min(1).max(USERS_PER_QUERY_MAX),
});

export function createPushApi(deps: PushApiDeps): Hono {
  const app = new Hono();
  answerErrors(app, deps);
  app.use(deps.authorize);
  app.post("/chatify/push/v1/BatchQueryOnline", async (c) => {
    const { user_ids } = checked(BatchQueryOnlineBody, await parseJson(c.req.raw));
    const found = await deps.directory.lookup(user_ids);
    const users = user_ids.map((user_id, i) => {
      const sessions = found[i]?.sessions ?? [];
      return {
        user_id,
        online: sessions.length > 0,
        sessions: sessions.map(({ device, gateway, access, since }) => {
          return { device_id: device, gateway, node: access, since };
        }),
      };
    });
    return c.json({ users });
  });
  return app;
}
