import { afterAll, expect, test } from "bun:test";
import { systemClock } from "../clock.ts";
import { serveAdmin } from "./admin.ts";
import { createMetrics } from "./metrics.ts";
import { startProcessMetrics } from "./process_metrics.ts";

const metrics = createMetrics();
startProcessMetrics(metrics, { version: "1.2.3", roles: ["gateway"], clock: systemClock });
let blockers: string[] = [];
const config = { adminHost: "127.0.0.1", adminPort: 0 };
const admin = serveAdmin({ config, metrics, blockers: () => blockers });
const get = (path: string) => fetch(`http://127.0.0.1:${admin.port}${path}`);
afterAll(() => admin.stop());

test("metrics are served in Prometheus' format, with the process and the event loop", async () => {
  metrics.accepted.inc(3);
  metrics.connections.set(2);
  await Bun.sleep(250);
  const response = await get("/metrics");
  expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  const text = await response.text();
  expect(text).toContain("chatify_messages_accepted_total 3");
  for (const name of [
    "chatify_process_resident_memory_bytes",
    "chatify_process_cpu_seconds_total",
    "chatify_process_open_fds",
    "chatify_process_max_fds",
    "chatify_process_heap_used_bytes",
    "chatify_process_start_time_seconds",
    "chatify_memory_per_connection_bytes",
    "chatify_event_loop_lag_seconds_sum",
  ]) {
    expect(text).toMatch(new RegExp(`^${name} [0-9.e+-]+$`, "m"));
  }
  // Ten a second, but a busy machine may sleep for longer than it was asked to.
  expect(text).toMatch(/^chatify_event_loop_lag_seconds_count [1-9]\d*$/m);
  expect(text).toContain('version="1.2.3"');
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
