/** The HTTP API of push: who is online and where, and the end of sessions. */
import { type Context, Hono, type MiddlewareHandler } from "hono";
import type { Clock, Random } from "../../core/clock.ts";
import { answerErrors } from "../../core/http/http_errors.ts";
import { checked, parseJson, parseOptionalJson } from "../../core/http/json_body.ts";
import type { Session, SessionDirectory } from "../../core/sessions/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { BatchQueryOnlineBody, KickBody, RevokeTokensBody, UserParam } from "./api_bodies.ts";
import type { Evictions } from "./evictions.ts";

export interface PushApiDeps {
  readonly directory: SessionDirectory;
  readonly evictions: Pick<Evictions, "kick" | "revokeTokens">;
  /** Refuses who may not call; see core/http/api_auth.ts. */
  readonly authorize: MiddlewareHandler;
  readonly clock: Pick<Clock, "now">;
  readonly random: Random;
  readonly telemetry: Telemetry;
}

const USERS = "/chatify/push/v1/users/:user";

export function createPushApi(deps: PushApiDeps): Hono {
  const { clock, directory, evictions } = deps;
  const app = new Hono();
  answerErrors(app, deps);
  app.use(deps.authorize);

  app.post("/chatify/push/v1/BatchQueryOnline", async (c) => {
    const { user_ids } = checked(BatchQueryOnlineBody, await parseJson(c.req.raw));
    const found = await directory.lookup(user_ids);
    return c.json({ users: user_ids.map((user, i) => userSessions(user, found[i]?.sessions)) });
  });

  app.get(`${USERS}/sessions`, async (c) => {
    const user = userOf(c);
    const [presence] = await directory.lookup([user]);
    return c.json(userSessions(user, presence?.sessions));
  });

  app.post(`${USERS}/kick`, async (c) => {
    const user = userOf(c);
    const { device_id } = checked(KickBody, await parseOptionalJson(c.req.raw));
    const ended = await evictions.kick(user, device_id ?? null);
    return c.json({ user_id: user, ended: ended.map(described) });
  });

  app.post(`${USERS}/revokeTokens`, async (c) => {
    const user = userOf(c);
    const { before } = checked(RevokeTokensBody, await parseOptionalJson(c.req.raw));
    // A token issued in this very second is older than the call that withdraws it.
    const tokensBefore = before ?? Math.floor(clock.now() / 1_000) + 1;
    const ended = await evictions.revokeTokens(user, tokensBefore);
    const answer = { user_id: user, tokens_before: tokensBefore, ended: ended.map(described) };
    return c.json(answer);
  });
  return app;
}

function userOf(c: Context): string {
  return checked(UserParam, { user: c.req.param("user") }).user;
}

function userSessions(user: string, sessions: readonly Session[] = []) {
  return { user_id: user, online: sessions.length > 0, sessions: sessions.map(described) };
}

function described({ access, device, gateway, since }: Session) {
  return { device_id: device, gateway, node: access, since };
}
