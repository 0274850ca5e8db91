/** docs/METRICS.md is the registry, and the registry has no label that could hold an id. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { isAllowed, REDIS_OPERATIONS } from "../../src/core/telemetry/label_values.ts";
import { createMetrics } from "../../src/core/telemetry/metrics.ts";
import { startProcessMetrics } from "../../src/core/telemetry/process_metrics.ts";
import { catalogue, METRICS_PAGE, metricsPage, unaligned, unitOf } from "./metrics_page.ts";

const entries = catalogue();

/** What ids look like here: users, conversations, messages, connections, nodes. */
const IDS = ["alice", "u:alice:bob", "g:team", "1795429468000-3-1-0", "n-rkbaf8vr.8zr9sg", "u/42"];

test("docs/METRICS.md lists every metric as the code has it", () => {
  const page = readFileSync(METRICS_PAGE, "utf8");
  const write = "bun tests/observability/metrics_page.ts writes it anew";
  expect(unaligned(page), write).toBe(unaligned(metricsPage(entries)));
});

test("the catalogue is what the registry serves, with the same types and labels", async () => {
  const metrics = createMetrics();
  startProcessMetrics(metrics, { version: "1.0.0", roles: ["push"], clock: systemClock });
  metrics.connections.set(1);
  const text = await metrics.registry.metrics();
  const served = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]);
  const known = metrics.make.entries.map(({ name, type }) => [name, type]);
  expect(served.sort()).toEqual(known.sort() as string[][]);
  for (const { help, name } of metrics.make.entries) {
    expect(name).toMatch(/^chatify_[a-z][a-z_]*$/);
    expect(help.length).toBeGreaterThan(10);
  }
});

test("a counter ends in _total, and a name ends in its unit", () => {
  for (const { name, type } of entries) {
    expect([name, name.endsWith("_total")]).toEqual([name, type === "counter"]);
    if (type === "histogram") expect([name, unitOf(name)]).not.toEqual([name, "count"]);
  }
});

test("no label takes an id, whatever it is called", () => {
  for (const { labels, name } of entries) {
    for (const [label, values] of Object.entries(labels)) {
      const taken = IDS.filter((id) => isAllowed(values, id));
      expect([name, label, taken]).toEqual([name, label, []]);
      expect(label).not.toMatch(/user|group_id|conversation|msg|message|conn|device|node|token/);
    }
  }
});

test("every operation on Redis that the source names is a known label value", () => {
  const src = join(import.meta.dir, "../../src");
  const files = [...new Bun.Glob("**/*.ts").scanSync(src)].filter((path) => !/test/.test(path));
  const found = new Set<string>();
  for (const path of files) {
    const text = readFileSync(join(src, path), "utf8");
    const calls =
      /\blane\s*\.(?:read|write|script)\(\s*"(\w+)"|redisErrors\.inc\(\{ operation: "(\w+)"/g;
    for (const [, call, error] of text.matchAll(calls)) found.add(call ?? error ?? "");
    for (const [, name] of text.matchAll(/"(relations_\w+)"/g)) found.add(name ?? "");
  }
  expect(found.size).toBeGreaterThan(20);
  expect([...found].filter((name) => !REDIS_OPERATIONS.includes(name))).toEqual([]);
});

test("every series with known labels is there from the start, at zero", async () => {
  const metrics = createMetrics();
  startProcessMetrics(metrics, { version: "1.0.0", roles: ["push"], clock: systemClock });
  const lines = (await metrics.registry.metrics()).split("\n");
  expect(lines).toContain('chatify_drops_total{reason="no_owner"} 0');
  expect(lines).toContain('chatify_dead_letters_total{reason="entry_not_decodable"} 0');
  expect(lines).toContain('chatify_messages_delivered_total{way="replay"} 0');
  expect(lines).toContain('chatify_offline_store_seconds_count{operation="archive"} 0');
  // What one node reports for all is not claimed by those that do not.
  expect(lines.filter((line) => line.startsWith("chatify_redis_replicas{"))).toEqual([]);
  const series = lines.filter((line) => line !== "" && !line.startsWith("#"));
  const buckets = series.filter((line) => line.includes("_bucket{"));
  expect(series.length - buckets.length).toBeLessThan(350);
});

test("a hot histogram gives the same text as prom-client's own", async () => {
  const { make, registry } = createMetrics();
  const buckets = [0.001, 0.01, 0.1, 1];
  const hot = make.hotHistogram("a_seconds", "A thing that takes time", buckets);
  const plain = make.histogram("b_seconds", "A thing that takes time", buckets);
  for (const seconds of [0, 0.001, 0.0011, 0.5, 1, 3, 0.01]) {
    hot.observe(seconds);
    plain.observe(seconds);
  }
  const textOf = async (name: string) => {
    return (await registry.getSingleMetricAsString(name)).replaceAll(name, "x");
  };
  expect(await textOf("chatify_a_seconds")).toBe(await textOf("chatify_b_seconds"));
  hot.reset();
  expect(await registry.getSingleMetricAsString("chatify_a_seconds")).toContain("_count 0");
});
