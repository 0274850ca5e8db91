/**
 * What tracing costs a message that is not sampled, from gateway to push, beside the one encoding
 * that the gateway makes of it anyway. The bound is loose; the figures are printed.
 */
import { expect, test } from "bun:test";
import pino from "pino";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import {
  type ChatInputTuple,
  decodeChatInputText,
  encodeChatInput,
  traceOfItem,
} from "../../src/core/protocol/chat_input.ts";
import type { Tracer } from "../../src/core/telemetry/telemetry.ts";
import { createTracer, silentTracer } from "../../src/core/telemetry/trace.ts";
import { openTraces, recordTraces } from "../../src/roles/logic/number_traces.ts";
import { newNumbering } from "../../src/roles/logic/numbering.ts";
import { DeliveryTraces } from "../../src/roles/push/delivery_traces.ts";
import { Feed, type Item } from "../../src/roles/push/feed.ts";

const log = pino({ level: "silent" });
const ROUNDS = 300_000;
const BATCH = 16;
const NS_MAX = 1_000;

const tuple: ChatInputTuple = [
  "u:alice:bob",
  "alice",
  "phone",
  "client-message-1",
  "CHAT",
  "USER",
  "bob",
  "see you at nine",
  0,
  1_700_000_000_000,
  "gateway-1",
  "access-1",
  17,
  "",
];

/** Nanoseconds per call, the best of five runs. */
function cost(work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run++) {
    const start = performance.now();
    for (let i = 0; i < ROUNDS; i++) work();
    best = Math.min(best, ((performance.now() - start) * 1e6) / ROUNDS);
  }
  return best;
}

/** Each stage, per message. */
function stages(tracer: Tracer): Record<string, number> {
  const item = encodeChatInput(tuple);
  const input = decodeChatInputText(item);
  if (input === null) throw new Error("the item cannot be decoded");
  const items = [...Array(BATCH)].map(() => ({ ...input }));
  const entries = [{ id: "1-0", ms: 1, sequence: 0, items, body: "" }];
  const out = newNumbering();
  const reply = { frame: '{"type":"sent"}', msgId: "m", seq: 1, recipients: 1 };
  for (const input of items) out.replies.push({ ...reply, input, outcome: "numbered" });
  const traces = new DeliveryTraces({
    clock: systemClock as Clock,
    telemetry: { log, tracer },
    limits: { ACK_TIMEOUT_MS: 5_000 },
  });
  const delivery = { feed: new Feed("bob"), msgId: "m", trace: "", sentAt: 1, deadline: 2 } as Item;
  let sampled = 0;
  const logic = cost(() => {
    const opened = openTraces(tracer, entries);
    recordTraces({ log, tracer }, { out, traces: opened, partition: 1, end: 2 });
  });
  const figures = {
    gateway: cost(() => {
      if (tracer.sample(undefined) !== "") sampled++;
    }),
    access: cost(() => {
      if (traceOfItem(item) !== "") sampled++;
    }),
    logic: logic / BATCH,
    push: cost(() => {
      traces.delivered(delivery, 3);
      traces.acked(delivery, 5);
    }),
  };
  expect(sampled).toBe(0);
  return figures;
}

test("a message that is not sampled pays less than a microsecond for tracing", async () => {
  const config = { traceSampleRatio: 0, nodeId: "n", roles: ["push"] as const };
  const otlp = await createTracer({ ...config, otlpEndpoint: "http://127.0.0.1:1" });
  const floor = cost(() => {
    encodeChatInput(tuple);
  });
  for (const [name, tracer] of [
    ["without a collector", silentTracer],
    ["with one, ratio 0", otlp],
  ] as const) {
    const figures = stages(tracer);
    const total = Object.values(figures).reduce((sum, ns) => sum + ns, 0);
    const shown = Object.entries(figures).map(([stage, ns]) => `${stage} ${ns.toFixed(1)}`);
    process.stdout.write(
      `${name}: ${total.toFixed(0)} ns a message (${shown.join(", ")}); ` +
        `its encoding takes ${floor.toFixed(0)} ns\n`,
    );
    expect(total).toBeLessThan(NS_MAX);
  }
  await otlp.shutdown();
}, 30_000);
