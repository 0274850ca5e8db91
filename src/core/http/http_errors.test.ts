import { expect, test } from "bun:test";
import { Hono } from "hono";
import { type DestinationStream, pino } from "pino";
import { systemRandom } from "../clock.ts";
import { ChatifyError, ERRORS, type ErrorCode } from "../protocol/errors.ts";
import { answerErrors } from "./http_errors.ts";

const lines: Record<string, unknown>[] = [];
const destination: DestinationStream = { write: (line) => void lines.push(JSON.parse(line)) };
const log = pino({ level: "debug" }, destination);
const app = new Hono();
answerErrors(app, { random: systemRandom, telemetry: { log } });
app.get("/coded/:code", (c) => {
  throw new ChatifyError(c.req.param("code") as ErrorCode, "because", 1_200);
});
app.get("/later", async () => {
  await Promise.resolve();
  throw new ChatifyError("conflict", "later");
});
app.get("/bug", () => {
  throw new Error("the password is hunter2");
});

test("every code answers with its own status, and its body says whether to try again", async () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const response = await app.request(`/coded/${code}`, { headers: { "x-request-id": "r-1" } });
    expect(response.status).toBe(ERRORS[code].status);
    expect(await response.json()).toEqual({
      code,
      message: "because",
      retryable: ERRORS[code].retryable,
      retry_after_ms: 1_200,
      request_id: "r-1",
    });
    expect(response.headers.get("retry-after")).toBe("2");
    expect(response.headers.get("x-request-id")).toBe("r-1");
    expect(response.headers.has("www-authenticate")).toBe(response.status === 401);
  }
});

test("an error without a time to wait has no Retry-After", async () => {
  const response = await app.request("/later");
  expect(response.status).toBe(409);
  expect(response.headers.has("retry-after")).toBe(false);
  expect(await response.json()).not.toHaveProperty("retry_after_ms");
});

test("a request id that could forge a log line is replaced", async () => {
  for (const given of ["", "a b", "x".repeat(65), 'a"b', "é"]) {
    const response = await app.request("/nowhere", { headers: { "x-request-id": given } });
    expect(response.status).toBe(404);
    const body = (await response.json()) as { code: string; request_id: string };
    expect(body.code).toBe("not_found");
    expect(body.request_id).toMatch(/^[0-9a-z]{16}$/);
  }
});

test("a bug is answered without its text and logged with it", async () => {
  lines.length = 0;
  const response = await app.request("/bug", { headers: { "x-request-id": "r-2" } });
  expect(response.status).toBe(500);
  const text = await response.text();
  expect(text).toContain('"code":"internal"');
  expect(text).not.toContain("hunter2");
  expect(JSON.stringify(lines)).toContain("hunter2");
  expect(lines).toMatchObject([{ level: 50, request_id: "r-2", code: "internal" }]);
});

test("the line of a request that failed names the caller's trace, if that is one", async () => {
  const lineWith = async (traceparent: string) => {
    await app.request("/bug", { headers: { traceparent } });
    return lines.at(-1);
  };
  const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-00`;
  expect(await lineWith(traceparent)).toHaveProperty("trace", traceparent);
  expect(await lineWith("hunter2-hunter2-hunter2")).not.toHaveProperty("trace");
});
