/** The gateway's HTTP routes: the roles' own, forwarded, and in dev mode a token for anyone. */
import { Hono } from "hono";
import { writeDevToken } from "../../core/auth/dev_tokens.ts";
import type { Clock, Random } from "../../core/clock.ts";
import { limitBody } from "../../core/http/body_limit.ts";
import { answerErrors, requestId } from "../../core/http/http_errors.ts";
import { isStreamed } from "../../core/http/http_server.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { DeviceId, UserId } from "../../core/protocol/message.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Role } from "../../core/topology.ts";
import { addApiReference } from "./api_reference.ts";
import { type GatewayDeps, HTTP_FORWARD_TIMEOUT_MS } from "./gateway_deps.ts";
import { Forwarder } from "./http_forward.ts";

export interface HttpApiDeps
  extends Pick<GatewayDeps, "apiDocument" | "config" | "roleNodes" | "issueToken"> {
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

/** Routes that take bodies of any length, and read them as they come. */
const STREAMED = ["/chatify/logic/v1/pushJobs"];
/** The roles whose routes the gateway passes on; each serves `/chatify/<role>/…` itself. */
const FORWARDED = ["logic", "offline", "push"] as const satisfies readonly Role[];

export function createHttpApi(deps: HttpApiDeps): Hono {
  const { clock, config, limits, random, roleNodes } = deps;
  const app = new Hono();
  answerErrors(app, deps);
  const timeoutMs = config.forwardTimeoutMs ?? HTTP_FORWARD_TIMEOUT_MS;
  const forwarder = new Forwarder({ roleNodes, clock, timeoutMs });
  for (const role of FORWARDED) {
    app.all(`/chatify/${role}/*`, async (c) => {
      const id = requestId(c.req.raw, random);
      if (isStreamed(c.req.raw, STREAMED)) return forwarder.stream(role, c.req.raw, id);
      const request = await limitBody(c.req.raw, limits.HTTP_BODY_BYTES_MAX);
      const response = await forwarder.forward(role, request, id);
      response.headers.set("x-request-id", id);
      return response;
    });
  }
  if (deps.apiDocument !== undefined) addApiReference(app, deps.apiDocument);
  if (config.authMode === "dev") app.get("/chatify/dev/token", (c) => devToken(c.req, deps));
  return app;
}

interface Query {
  query(name: string): string | undefined;
}

async function devToken(request: Query, deps: HttpApiDeps): Promise<Response> {
  const user = UserId.safeParse(request.query("user_id"));
  const device = DeviceId.optional().safeParse(request.query("device_id"));
  if (!user.success || !device.success) {
    throw new ChatifyError("bad_request", "user_id, or device_id, is missing or no valid id");
  }
  const issue = deps.issueToken ?? writeDevToken;
  const token = await issue(user.data, device.data);
  return Response.json({ token, user_id: user.data });
}
