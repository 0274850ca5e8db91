import { expect, test } from "bun:test";
import { pino } from "pino";
import type { Clock } from "../../core/clock.ts";
import { SLOW_MS, type Span, type Tracer } from "../../core/telemetry/telemetry.ts";
import { silentTracer } from "../../core/telemetry/trace.ts";
import { DeliveryTraces } from "./delivery_traces.ts";
import { Feed, type Item } from "./feed.ts";

const WALL_MS = 1_700_000_000_000;
let now = 50_000;
const clock = { monotonic: () => now, now: () => WALL_MS + now } as Clock;

/** A tracer that samples problems only, and names contexts after the spans that made them. */
function fixture() {
  const spans: Span[] = [];
  const tracer: Tracer = {
    ...silentTracer,
    sampleProblem: (trace) => (trace === "" ? "problem" : trace),
    follow: (origin) => (origin === "" ? "" : "followed"),
    span: (span) => {
      spans.push(span);
      return span.parent === "" ? "" : span.name;
    },
  };
  const limits = { ACK_TIMEOUT_MS: 5_000 };
  const lines: Record<string, unknown>[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const telemetry = { log, tracer };
  return { lines, spans, traces: new DeliveryTraces({ clock, telemetry, limits }) };
}

function item(trace: string): Item {
  const ids = { feed: new Feed("bob"), msgId: "m1", conversation: "u:alice:bob", seq: 1 };
  const texts = { message: "{}", frame: "{}", trace, expireTime: 0 };
  const times = { acceptedAt: WALL_MS, deadline: now + 4_990, sentAt: now };
  return { ...ids, ...texts, ...times, entry: null, archiving: false, done: false, ackedBy: null };
}

test("a delivery that is neither sampled nor slow has no span", () => {
  const { spans, traces } = fixture();
  const plain = item("");
  traces.delivered(plain, SLOW_MS);
  traces.acked(plain, now);
  traces.archived(plain, "offline");
  traces.replayed(plain);
  expect(spans).toEqual([]);
  expect(plain.trace).toBe("");
});

test("a sampled delivery starts when push took it, and the ack is below it", () => {
  const { spans, traces } = fixture();
  const sampled = item("number");
  traces.delivered(sampled, 30);
  now += 7;
  traces.acked(sampled, now);
  expect(spans.map(({ name, parent }) => [name, parent])).toEqual([
    ["push.deliver", "number"],
    ["client.ack", "push.deliver"],
  ]);
  expect(spans.map(({ start, end }) => end - start)).toEqual([10, 7]);
  expect(spans[0]?.attributes).toEqual({ "chatify.msg_id": "m1" });
});

test("a slow delivery is traced although it was not sampled, from its acceptance on", () => {
  const { spans, traces } = fixture();
  const late = item("");
  traces.delivered(late, SLOW_MS + 500);
  traces.acked(late, now);
  expect(spans[0]).toMatchObject({
    name: "push.deliver",
    parent: "problem",
    start: WALL_MS + now - SLOW_MS - 500,
    end: WALL_MS + now,
    attributes: { "chatify.msg_id": "m1", "chatify.slow": true, "chatify.age_ms": SLOW_MS + 500 },
  });
  expect(spans[1]).toMatchObject({ name: "client.ack", parent: "push.deliver" });
});

test("what nobody acked is traced as an error, and its replay is linked to it", () => {
  const { spans, traces } = fixture();
  const deaf = item("");
  traces.archived(deaf, "unacked");
  expect(spans[0]).toMatchObject({ name: "push.archive", error: "no ack in time" });
  const row = item("");
  traces.replayed(row);
  expect(spans[1]).toMatchObject({
    name: "push.replay",
    parent: "followed",
    link: "push.archive",
    attributes: { "chatify.msg_id": "m1" },
  });
  expect(row.trace).toBe("push.replay");
});

test("the log names the trace of a slow message, and of one that nobody acked", () => {
  const { lines, traces } = fixture();
  traces.delivered(item("number"), SLOW_MS);
  traces.archived(item("number"), "offline");
  expect(lines).toEqual([]);
  traces.delivered(item(""), SLOW_MS + 0.6);
  traces.archived(item(""), "unacked");
  expect(lines).toMatchObject([
    { trace: "push.deliver", msg_id: "m1", age_ms: SLOW_MS + 1, msg: "a message was slow" },
    { trace: "push.archive", msg_id: "m1", msg: "no ack in time; archived" },
  ]);
});
