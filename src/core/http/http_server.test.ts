import { afterEach, expect, test } from "bun:test";
import { Hono } from "hono";
import { pino } from "pino";
import * as z from "zod";
import { systemRandom } from "../clock.ts";
import { silentLedger } from "../ledger/contract.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { silentTracer } from "../telemetry/trace.ts";
import { answerErrors } from "./http_errors.ts";
import { type RoleServer, serveRole } from "./http_server.ts";
import { checked, parseJson } from "./json_body.ts";

const telemetry = {
  log: pino({ level: "silent" }),
  metrics: createMetrics(),
  tracer: silentTracer,
  ledger: silentLedger,
};
const bytesMax = 1_000;
let blockers: string[] = [];
const running: RoleServer[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.stop()));
});

function start(port = 0): { url: string; server: RoleServer } {
  const app = new Hono();
  answerErrors(app, { random: systemRandom, telemetry });
  app.use((_, next) => next());
  app.post("/things/:id", async (c) => {
    const schema = z.object({ text: z.string(), list: z.array(z.int()).optional() });
    return c.json(checked(schema, await parseJson(c.req.raw)));
  });
  app.get("/slow", async (c) => {
    await Bun.sleep(200);
    return c.text("done");
  });
  const limits = { HTTP_BODY_BYTES_MAX: bytesMax };
  const options = { app, host: "127.0.0.1", port, name: "logic", telemetry, limits };
  const server = serveRole({ ...options, blockers: () => blockers });
  running.push(server);
  return { url: `http://127.0.0.1:${server.port}`, server };
}

interface Answer {
  status: number;
  code: string;
  message: string;
}

async function post(url: string, body: RequestInit["body"]): Promise<Answer> {
  const response = await fetch(`${url}/things/7`, { method: "POST", body: body ?? null });
  const json = (await response.json()) as Omit<Answer, "status">;
  return { ...json, status: response.status };
}

function chunked(parts: readonly string[]): ReadableStream {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
      controller.close();
    },
  });
}

test("health is always well, readiness says what is missing", async () => {
  const { url } = start();
  blockers = ["Redis cannot be reached"];
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  const notReady = await fetch(`${url}/readyz`);
  expect(notReady.status).toBe(503);
  expect(await notReady.json()).toEqual({ status: "not ready", blockers });
  blockers = [];
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
});

test("a body up to the limit is taken, one beyond it is too_large, chunked or not", async () => {
  const { url } = start();
  const body = (bytes: number) => JSON.stringify({ text: "x".repeat(bytes - 11) });
  expect((await post(url, body(bytesMax))).status).toBe(200);
  expect(await post(url, body(bytesMax + 1))).toMatchObject({ status: 413, code: "too_large" });
  const halves = (text: string) => chunked([text.slice(0, 300), text.slice(300)]);
  expect((await post(url, halves(body(bytesMax)))).status).toBe(200);
  const late = await post(url, halves(body(bytesMax + 1)));
  expect(late).toMatchObject({ status: 413, code: "too_large" });
  expect(await post(url, "x".repeat(5_000_000))).toMatchObject({ status: 413 });
});

test("a client that goes away in the middle of its body is no bug of the server's", async () => {
  const { url, server } = start();
  const heads = ["transfer-encoding: chunked\r\n\r\n5\r\nhel", "content-length: 9\r\n\r\nhel"];
  telemetry.metrics.httpRequests.reset();
  for (const head of heads) {
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: server.port,
      socket: { data: () => {} },
    });
    socket.write(`POST /things/7 HTTP/1.1\r\nhost: x\r\n${head}`);
    await Bun.sleep(50);
    socket.terminate();
  }
  await Bun.sleep(50);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  const { values } = await telemetry.metrics.httpRequests.get();
  expect(values.map(({ labels }) => labels.status)).toEqual(["422"]);
  expect(values[0]?.value).toBe(2);
});

test("bad JSON and wrong fields are bad_request and say which field takes what", async () => {
  const { url } = start();
  for (const body of ["", "{", "[".repeat(900), "{'text':1}", "\u0000"]) {
    const answer = await post(url, body);
    expect(answer).toMatchObject({ status: 422, code: "bad_request" });
    expect(answer.message).toBe("the body is not JSON");
  }
  const wrong = await post(url, JSON.stringify({ text: 7, list: [1, "2", 3] }));
  expect(wrong.message).toMatch(/^text: .*expected string.*; list\.1: .*expected number/);
  const list = Array.from({ length: 50 }, () => "x");
  expect((await post(url, JSON.stringify({ text: "", list }))).message).toEndWith("and 45 more");
  expect((await post(url, "null")).message).toStartWith("the body: ");
});

test("requests are counted by the pattern of their route, never by what stands in it", async () => {
  const { url } = start();
  telemetry.metrics.httpRequests.reset();
  await post(url, '{"text":"a"}');
  await post(url, "{");
  await fetch(`${url}/secret-user-id`);
  await fetch(`${url}/things/7`);
  const text = await telemetry.metrics.registry.getSingleMetricAsString(
    "chatify_http_requests_total",
  );
  const counted = text.split("\n").filter((line) => line.startsWith("chatify"));
  expect(counted.sort()).toEqual([
    'chatify_http_requests_total{route="/things/:id",status="200"} 1',
    'chatify_http_requests_total{route="/things/:id",status="422"} 1',
    'chatify_http_requests_total{route="other",status="404"} 2',
  ]);
});

test("a server that stops finishes what it is at", async () => {
  const { url, server } = start();
  const slow = fetch(`${url}/slow`).then((response) => response.text());
  await Bun.sleep(50);
  await server.stop();
  expect(await slow).toBe("done");
  expect(fetch(`${url}/healthz`)).rejects.toThrow();
});

test("a taken port is an error that names the variable", () => {
  const { server } = start();
  expect(() => start(server.port)).toThrow(`LOGIC_PORT=${server.port}`);
});
