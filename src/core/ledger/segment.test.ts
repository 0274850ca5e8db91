import { expect, test } from "bun:test";
import fc from "fast-check";
import { LIMITS } from "../limits.ts";
import type { ChatInput } from "../protocol/chat_input.ts";
import { ManualClock } from "../testing/manual_clock.ts";
import { silentTelemetry } from "../testing/silent_telemetry.ts";
import { IdFilter, mayHold, messageHash, sendHash } from "./id_filter.ts";
import { Recorder } from "./recorder.ts";
import { readSegment } from "./segment_reader.ts";
import { SEGMENT_EVENTS_MAX } from "./segment_writer.ts";
import { Shipper } from "./shipper.ts";
import type { Segment } from "./store.ts";
import { decodeSegments, encodeSegments } from "./wire.ts";

const session = { device: "d1", access: "a", gateway: "g.1", conn: 4_000_000_000, since: 1 };

function started(options: { sampleRatio?: number; pendingMax?: number } = {}) {
  const clock = new ManualClock();
  const telemetry = silentTelemetry();
  const { pendingMax = LIMITS.LEDGER_PENDING_BYTES_MAX, sampleRatio = 1 } = options;
  const limits = { ...LIMITS, LEDGER_PENDING_BYTES_MAX: pendingMax };
  const shipper = new Shipper({ self: "n1", clock, telemetry, limits });
  const recorder = new Recorder({
    self: "n1",
    clock,
    metrics: telemetry.metrics,
    limits,
    shipper,
    sampleRatio,
  });
  const kept: Segment[] = [];
  const sink = { add: async (segments: readonly Segment[]) => void kept.push(...segments) };
  const events = () => kept.flatMap(({ body, node }) => readSegment(node, body));
  return { clock, telemetry, shipper, recorder, kept, sink, events };
}

function input(fields: Partial<ChatInput> = {}): ChatInput {
  return {
    conversationId: "u:alice:bob",
    fromUserId: "alice",
    deviceId: "d9",
    clientMsgId: "c-1",
    messageType: "CHAT",
    targetType: "USER",
    toUserId: "bob",
    content: "hello",
    expireTime: 4_102_444_800,
    receivedAtMs: 1_699_999_999_990,
    gatewayNodeId: "g.1",
    accessNodeId: "a.1",
    connId: 1,
    traceparent: "",
    ...fields,
  };
}

test("every kind of event is read back as it was told, a second after the first of them", async () => {
  const { clock, events, recorder, shipper, sink } = started();
  shipper.to(sink);
  recorder.numbered(input(), "m1", 7, 1);
  recorder.repeated(input(), "m1");
  recorder.rejected("gateway", { user: "alice", device: "d9" }, "c-2", "rate_limited");
  const push = { msgId: "m2", fromUserId: "news", toUserId: "bob", contentId: "x", expireTime: 0 };
  recorder.pushed(push);
  recorder.written("m1", "bob", { ...session, user: "bob", epoch: 1 }, false);
  recorder.written("m1", "bob", { ...session, user: "bob", epoch: 1 }, true);
  recorder.acked("m1", "bob", "d1");
  recorder.stored("m1", "bob", "unacked");
  recorder.expired("m1", "bob", "offline");
  recorder.confirmed("m1", "bob");
  recorder.deadLettered("m1", "push_task", "entry_not_decodable");
  recorder.notified("m1", "bob", "webhook", "delivered");
  await clock.advance(LIMITS.LEDGER_SEAL_MS - 1);
  expect(events()).toEqual([]);
  await clock.advance(1);
  const at = { at: 1_700_000_000_000, node: "n1" };
  const sender = { user: "alice", clientMsgId: "c-1", device: "d9" };
  const bob = { ...at, msgId: "m1", user: "bob" };
  expect(events()).toEqual([
    {
      kind: "numbered",
      ...at,
      ...sender,
      msgId: "m1",
      to: "bob",
      target: "USER",
      messageType: "CHAT",
      seq: 7,
      recipients: 1,
      expireTime: 4_102_444_800,
      receivedAt: 1_699_999_999_990,
      gateway: "g.1",
      access: "a.1",
    },
    { kind: "repeated", ...at, msgId: "m1", ...sender },
    {
      kind: "rejected",
      ...at,
      msgId: "",
      ...sender,
      clientMsgId: "c-2",
      role: "gateway",
      code: "rate_limited",
    },
    { kind: "pushed", ...at, msgId: "m2", user: "news", to: "bob", contentId: "x", expireTime: 0 },
    { kind: "written", ...bob, device: "d1", gateway: "g.1", conn: 4_000_000_000 },
    { kind: "replayed", ...bob, device: "d1", gateway: "g.1", conn: 4_000_000_000 },
    { kind: "acked", ...bob, device: "d1" },
    { kind: "stored", ...bob, reason: "unacked" },
    { kind: "expired", ...bob, stage: "offline" },
    { kind: "confirmed", ...bob },
    { kind: "dead_lettered", ...bob, user: "", topic: "push_task", reason: "entry_not_decodable" },
    { kind: "notified", ...bob, channel: "webhook", outcome: "delivered" },
  ]);
});

test("any ids come back whole, and the filter never denies what the segment holds", async () => {
  const id = fc.string({ unit: "binary", maxLength: 128 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(id, id, id), { minLength: 1, maxLength: 40 }),
      async (all) => {
        const { clock, events, kept, recorder, shipper, sink } = started();
        shipper.to(sink);
        for (const [msgId, user, client] of all) {
          recorder.acked(msgId, user, client);
          recorder.rejected("logic", { user, device: "d" }, client, "blocked");
        }
        recorder.seal();
        await clock.advance(0);
        const acked = events().filter(({ kind }) => kind === "acked");
        expect(
          acked.map((event) => [event.msgId, event.user, "device" in event && event.device]),
        ).toEqual(all);
        for (const [msgId, user, client] of all) {
          expect(kept.some(({ filter }) => mayHold(filter, messageHash(msgId)))).toBe(true);
          expect(kept.some(({ filter }) => mayHold(filter, sendHash(user, client)))).toBe(true);
        }
      },
    ),
    { numRuns: 15 },
  );
});

test("a filter is small for few ids, and hardly ever wrong for many", () => {
  const wrong = (count: number) => {
    const filter = new IdFilter();
    for (let i = 0; i < count; i++) filter.add(messageHash(`1m86bsaze0${i}`));
    const kept = filter.take();
    let yes = 0;
    for (let i = 0; i < 10_000; i++) if (mayHold(kept, messageHash(`1m86bsb${i}`))) yes++;
    return { bytes: kept.length, share: yes / 10_000 };
  };
  expect(wrong(1)).toEqual({ bytes: 8, share: expect.any(Number) });
  for (const count of [1, 10, 100, 1_000, SEGMENT_EVENTS_MAX * 2]) {
    expect(wrong(count).share).toBeLessThan(0.03);
  }
});

test("more events than a segment holds make several, with nothing missing and in order", async () => {
  const { clock, events, kept, recorder, shipper, sink } = started();
  shipper.to(sink);
  const count = SEGMENT_EVENTS_MAX * 2 + 5;
  for (let i = 0; i < count; i++) recorder.stored(`m${i}`, "bob", "offline");
  recorder.seal();
  await clock.advance(0);
  expect(kept.map(({ number }) => number)).toEqual([1, 2, 3]);
  expect(events().map(({ msgId }) => msgId)).toEqual(
    Array.from({ length: count }, (_, i) => `m${i}`),
  );
});

test("the longest ids that there are never overflow a segment", async () => {
  const { clock, events, recorder, shipper, sink } = started();
  shipper.to(sink);
  const long = "漢".repeat(128);
  for (let i = 0; i < 1_000; i++) {
    recorder.numbered(input({ fromUserId: long, toUserId: long, deviceId: long }), long, i, 1);
  }
  recorder.seal();
  await clock.advance(0);
  expect(events()).toHaveLength(1_000);
  expect(events().at(-1)).toMatchObject({ user: long, to: long, msgId: long, seq: 999 });
});

test("segments wait for a store that is away; past the bound the newest are dropped and counted", async () => {
  const { clock, events, recorder, shipper, telemetry } = started({ pendingMax: 1_200 });
  let away = true;
  const kept: Segment[] = [];
  shipper.to({
    add: async (segments) => {
      if (away) throw new Error("away");
      kept.push(...segments);
    },
  });
  for (let i = 0; i < 20; i++) {
    recorder.stored(`m${i}`, "bob", "offline");
    recorder.seal();
    await clock.advance(1);
  }
  expect(events()).toEqual([]);
  away = false;
  await clock.advance(10_000);
  const told = kept.flatMap(({ body, node }) => readSegment(node, body)).map(({ msgId }) => msgId);
  const dropped = (await telemetry.metrics.ledgerDropped.get()).values[0]?.value ?? 0;
  expect(told).toEqual(Array.from({ length: told.length }, (_, i) => `m${i}`));
  expect(told.length).toBeGreaterThan(0);
  expect([dropped > 0, told.length + dropped]).toEqual([true, 20]);
});

test("with a sample ratio the same messages are kept on every node, and problems always", async () => {
  const nodes = [started({ sampleRatio: 0.25 }), started({ sampleRatio: 0.25 })];
  for (const { clock, recorder, shipper, sink } of nodes) {
    shipper.to(sink);
    for (let i = 0; i < 2_000; i++) recorder.acked(`1m86bsaze0300${i + 1_000}`, "bob", "d1");
    recorder.stored("1m86bsaze03000000", "bob", "offline");
    recorder.acked("1m86bsdv716ftc4cn0000", "bob", "d1");
    recorder.seal();
    await clock.advance(0);
  }
  const [first, second] = nodes.map(({ events }) => events().map(({ msgId }) => msgId));
  expect(first).toEqual(second as string[]);
  expect(first?.length).toBeGreaterThan(350);
  expect(first?.length).toBeLessThan(650);
  expect(first?.slice(-2)).toEqual(["1m86bsaze03000000", "1m86bsdv716ftc4cn0000"]);
});

test("segments survive the way over HTTP, and bytes that are none are refused with a code", () => {
  const segment = {
    node: "n1",
    number: 3,
    fromMs: 1,
    toMs: 2,
    events: 1,
    filter: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]),
    body: new Uint8Array([9, 9]),
  };
  expect(decodeSegments(encodeSegments([segment, { ...segment, number: 4 }]))).toEqual([
    segment,
    { ...segment, number: 4 },
  ]);
  const whole = encodeSegments([segment]);
  for (const bad of [whole.subarray(0, 3), whole.subarray(0, -1), new Uint8Array(9).fill(255)]) {
    expect(() => decodeSegments(bad)).toThrow("holds no ledger segments");
  }
});
