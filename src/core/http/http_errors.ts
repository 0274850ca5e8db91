/**
 * The one shape in which HTTP refuses: `{code, message, retryable, retry_after_ms?, request_id}`
 * from the error table, with Retry-After where the error says how long to wait. The request id is
 * the caller's own `x-request-id` where that is sane, so that both sides can find the same line.
 */
import type { Hono } from "hono";
import type { Random } from "../clock.ts";
import { ChatifyError, ERRORS } from "../protocol/errors.ts";
import type { Telemetry, TraceContext } from "../telemetry/telemetry.ts";
import { parseTraceparent } from "../telemetry/traceparent.ts";

export interface HttpErrorDeps {
  readonly random: Random;
  readonly telemetry: Pick<Telemetry, "log">;
}

const REQUEST_ID_CHARS = 16;
const saneRequestId = /^[\w.:-]{1,64}$/;

/** Makes `app` answer everything it throws, and every unknown route, in the one shape. */
export function answerErrors(app: Hono, deps: HttpErrorDeps): void {
  app.onError((error, c) => errorResponse(error, c.req.raw, deps));
  app.notFound((c) => errorResponse(noSuchRoute(), c.req.raw, deps));
}

export function noSuchRoute(): ChatifyError {
  return new ChatifyError("not_found", "there is no such route; look at its method and its path");
}

/**
 * The answer to a request that failed with `thrown`. What is no ChatifyError is a bug: it is logged
 * whole and answered as `internal` without its text, which may hold what is not the caller's.
 */
export function errorResponse(thrown: unknown, request: Request, deps: HttpErrorDeps): Response {
  const id = requestId(request, deps.random);
  const { log } = deps.telemetry;
  const expected = thrown instanceof ChatifyError;
  const error = expected
    ? thrown
    : new ChatifyError("internal", "the server failed; it has logged why");
  const line = { code: error.code, request_id: id, method: request.method, ...traceOf(request) };
  if (expected) log[ERRORS[error.code].level](line, error.message);
  else log.error({ ...line, err: thrown }, "a request failed with a bug");
  const headers: Record<string, string> = { "x-request-id": id };
  if (error.retryAfterMs !== undefined) headers["retry-after"] = seconds(error.retryAfterMs);
  // RFC 9110, 15.5.2: a 401 names the scheme that it wants.
  if (error.status === 401) headers["www-authenticate"] = "Bearer";
  // The rest of the body is still on its way; closing is what ends it (RFC 9110, 15.5.14).
  if (error.code === "too_large") headers.connection = "close";
  return Response.json(error.toBody(id), { status: error.status, headers });
}

/** The trace of the caller, so that its trace leads to this line whether it was sampled or not. */
function traceOf(request: Request): { trace?: TraceContext } {
  const trace = request.headers.get("traceparent");
  return trace === null || parseTraceparent(trace) === null ? {} : { trace };
}

export function requestId(request: Request, random: Random): string {
  const given = request.headers.get("x-request-id");
  if (given !== null && saneRequestId.test(given)) return given;
  return random.token(REQUEST_ID_CHARS);
}

/** Whole seconds as Retry-After wants them, never zero: that would mean at once. */
function seconds(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1_000)));
}
