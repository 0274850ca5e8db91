import { afterAll, expect, test } from "bun:test";
import { serveAdmin } from "./admin.ts";
import { addProcessMetrics, createMetrics } from "./metrics.ts";

const metrics = createMetrics();
addProcessMetrics(metrics);
let blockers: string[] = [];
const config = { adminHost: "127.0.0.1", adminPort: 0 };
const admin = serveAdmin({ config, metrics, blockers: () => blockers });
const get = (path: string) => fetch(`http://127.0.0.1:${admin.port}${path}`);
afterAll(() => admin.stop());

test("metrics are served in Prometheus' format, with the process and the event loop", async () => {
  metrics.accepted.inc(3);
  await Bun.sleep(30);
  const response = await get("/metrics");
  expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  const text = await response.text();
  expect(text).toContain("chatify_messages_accepted_total 3");
  for (const name of [
    "chatify_process_resident_memory_bytes",
    "chatify_process_cpu_seconds_total",
    "chatify_process_open_fds",
    "chatify_nodejs_eventloop_lag_seconds",
    "chatify_nodejs_heap_size_used_bytes",
  ]) {
    expect(text).toMatch(new RegExp(`^${name} [0-9.e+-]+$`, "m"));
  }
});

test("readiness lists what is missing, liveness does not care", async () => {
  blockers = ["redis does not answer"];
  const notReady = await get("/readyz");
  expect(notReady.status).toBe(503);
  expect(await notReady.json()).toEqual({ status: "not ready", blockers });
  expect((await get("/healthz")).status).toBe(200);
  blockers = [];
  expect((await get("/readyz")).status).toBe(200);
  expect((await get("/elsewhere")).status).toBe(404);
});

test("a taken port is an error that names the variable", () => {
  const taken = { adminHost: "127.0.0.1", adminPort: admin.port };
  expect(() => serveAdmin({ config: taken, metrics, blockers: () => [] })).toThrow(
    `ADMIN_PORT=${admin.port}`,
  );
});
