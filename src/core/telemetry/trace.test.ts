import { afterEach, expect, test } from "bun:test";
import { systemRandom } from "../clock.ts";
import { PROBLEMS_PER_SECOND } from "./telemetry.ts";
import { createTracer, silentTracer } from "./trace.ts";
import { NO_SPAN, parseTraceparent } from "./traceparent.ts";

interface ExportedSpan {
  links: { traceId: string; spanId: string }[];
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  status: { code?: number; message?: string };
  attributes: { key: string; value: unknown }[];
}

const exported: ExportedSpan[] = [];
const collector = Bun.serve({
  port: 0,
  async fetch(request) {
    expect(new URL(request.url).pathname).toBe("/v1/traces");
    const body = (await request.json()) as {
      resourceSpans: { scopeSpans: { spans: ExportedSpan[] }[] }[];
    };
    for (const resource of body.resourceSpans) {
      for (const scope of resource.scopeSpans) exported.push(...scope.spans);
    }
    return Response.json({});
  },
});
afterEach(() => exported.splice(0));

const config = {
  otlpEndpoint: `http://127.0.0.1:${collector.port}/`,
  traceSampleRatio: 1,
  nodeId: "n-1",
  roles: ["gateway"],
} as const;
const incoming = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;

test("without a collector every answer is empty", async () => {
  const tracer = await createTracer({ ...config, otlpEndpoint: null });
  expect(tracer).toBe(silentTracer);
  expect(tracer.sample(incoming)).toBe("");
  expect(tracer.span({ name: "x", parent: incoming, start: 0, end: 1 })).toBe("");
});

test("spans reach the collector with explicit times, nested from one root", async () => {
  const tracer = await createTracer(config);
  const root = tracer.sample();
  const start = 1_700_000_000_123.5;
  const child = tracer.span({ name: "send", parent: root, start, end: start + 2 });
  const attributes = { "chatify.partition": 3 };
  tracer.span({ name: "store", parent: child, start, end: start + 1, attributes, error: "late" });
  await tracer.shutdown();
  const [send, store] = [...exported].sort((a, b) => a.name.localeCompare(b.name));
  expect(send?.name).toBe("send");
  expect(send?.parentSpanId ?? "").toBe("");
  expect(send?.traceId).toBe(parseTraceparent(root)?.traceId ?? "none");
  expect(send?.startTimeUnixNano).toBe("1700000000123500000");
  expect(send?.endTimeUnixNano).toBe("1700000000125500000");
  expect(store?.traceId).toBe(send?.traceId ?? "none");
  expect(store?.parentSpanId).toBe(send?.spanId ?? "none");
  expect(store?.status).toMatchObject({ code: 2, message: "late" });
  expect(store?.attributes[0]?.key).toBe("chatify.partition");
});

test("a span of an unsampled message is recorded nowhere", async () => {
  const tracer = await createTracer(config);
  expect(tracer.span({ name: "x", parent: "", start: 0, end: 1 })).toBe("");
  expect(tracer.span({ name: "x", parent: "rubbish", start: 0, end: 1 })).toBe("");
  await tracer.shutdown();
  expect(exported).toHaveLength(0);
});

test("an incoming decision is honoured both ways, and rubbish starts a new trace", async () => {
  const never = await createTracer({ ...config, traceSampleRatio: 0 });
  const always = await createTracer(config);
  expect(never.sample(incoming)).toBe(incoming);
  expect(never.sample()).toBe("");
  expect(always.sample(`${incoming.slice(0, -2)}00`)).toBe("");
  expect(always.sample("rubbish")).toMatch(new RegExp(`^00-[0-9a-f]{32}-${NO_SPAN}-01$`));
  await Promise.all([never.shutdown(), always.shutdown()]);
});

test("the share of sampled traces is the configured ratio", async () => {
  const tracer = await createTracer({ ...config, traceSampleRatio: 0.25 }, systemRandom);
  let sampled = 0;
  for (let i = 0; i < 4_000; i++) if (tracer.sample() !== "") sampled++;
  expect(sampled / 4_000).toBeCloseTo(0.25, 1);
  await tracer.shutdown();
});

test("a span whose children left before it ended is recorded under the id that they have", async () => {
  const tracer = await createTracer(config);
  const self = tracer.child(incoming);
  expect(tracer.child("")).toBe("");
  const below = tracer.span({ name: "below", parent: self, start: 2, end: 3 });
  expect(tracer.span({ name: "above", parent: incoming, self, start: 1, end: 2 })).toBe(self);
  await tracer.shutdown();
  const ids = (text: string) => parseTraceparent(text)?.spanId ?? "none";
  const [above, child] = [...exported].sort((a, b) => a.name.localeCompare(b.name));
  expect([above?.spanId, above?.parentSpanId]).toEqual([ids(self), "b".repeat(16)]);
  expect([child?.spanId, child?.parentSpanId]).toEqual([ids(below), ids(self)]);
});

test("what follows a sampled trace is sampled, in a trace of its own, and linked to it", async () => {
  const never = await createTracer({ ...config, traceSampleRatio: 0 });
  expect(never.follow("")).toBe("");
  const next = never.follow(incoming);
  never.span({ name: "replay", parent: next, link: incoming, start: 1, end: 2 });
  // A trace without a span yet has nothing to be linked to, and rubbish is no link.
  never.span({ name: "unlinked", parent: next, link: next, start: 1, end: 2 });
  never.span({ name: "unlinked", parent: next, link: "rubbish", start: 1, end: 2 });
  await never.shutdown();
  expect(exported.every(({ traceId }) => traceId !== "a".repeat(32))).toBe(true);
  expect(exported.map(({ links }) => links.length)).toEqual([1, 0, 0]);
  expect(exported[0]?.links[0]).toMatchObject({
    traceId: "a".repeat(32),
    spanId: "b".repeat(16),
  });
});

test("problems are sampled whatever the ratio, but not without a bound", async () => {
  let now = 0;
  const clock = { monotonic: () => now };
  const never = await createTracer({ ...config, traceSampleRatio: 0 }, systemRandom, clock);
  expect(never.sampleProblem(incoming)).toBe(incoming);
  const count = () => [...Array(1_000)].filter(() => never.sampleProblem("") !== "").length;
  expect(count()).toBe(PROBLEMS_PER_SECOND);
  expect(count()).toBe(0);
  now += 500;
  expect(count()).toBe(PROBLEMS_PER_SECOND / 2);
  now += 3_600_000;
  expect(count()).toBe(PROBLEMS_PER_SECOND);
  await never.shutdown();
});

test("a dead collector does not hold up shutdown", async () => {
  const hole = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const tracer = await createTracer({ ...config, otlpEndpoint: `http://127.0.0.1:${hole.port}` });
  tracer.span({ name: "x", parent: incoming, start: 1, end: 2 });
  const start = performance.now();
  await tracer.shutdown().catch(() => {});
  expect(performance.now() - start).toBeLessThan(6_000);
  hole.stop(true);
}, 10_000);
