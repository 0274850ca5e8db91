/**
 * What the ledger costs a message from one user to another: numbered, written, acked, and their share
 * of a segment (filter, compression, its row in SQLite), beside the encoding of the message itself.
 * The bound is loose, for busy machines; the figures are printed.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { silentLedger } from "../../src/core/ledger/contract.ts";
import { Recorder } from "../../src/core/ledger/recorder.ts";
import { Shipper } from "../../src/core/ledger/shipper.ts";
import { LIMITS } from "../../src/core/limits.ts";
import type { ChatInput } from "../../src/core/protocol/chat_input.ts";
import { chatMsgIds } from "../../src/core/protocol/msg_id.ts";
import { silentTelemetry } from "../../src/core/testing/silent_telemetry.ts";
import { openOfflineStore } from "../../src/roles/offline/open_store.ts";

const MESSAGES = 60_000;
const BATCH = 64;
/** Of the 25 µs that a message is to cost, a tenth; and twice that for a machine that is busy. */
const NS_MAX = 5_000;

function inputs(round: number): ChatInput[] {
  return Array.from({ length: BATCH }, (_, i) => {
    const [from, to] = [`user-${(round * 7 + i) % 200}`, `user-${(round * 13 + i) % 200}`];
    const text = JSON.stringify({
      conversationId: `u:${from}:${to}`,
      fromUserId: from,
      deviceId: "d1",
      clientMsgId: `c-${round}-${i}-k3v9`,
      messageType: "CHAT",
      targetType: "USER",
      toUserId: to,
      content: "x".repeat(100),
      expireTime: 0,
      receivedAtMs: Date.now(),
      gatewayNodeId: "n-abcdefgh.123456",
      accessNodeId: "n-abcdefgh.123456",
      connId: 17,
      traceparent: "",
    });
    // Parsed, so that ids are as they come in: strings of their own that nobody has hashed.
    return JSON.parse(text) as ChatInput;
  });
}

test("a message pays less than a tenth of its processor time for its trail", async () => {
  const dir = mkdtempSync(join(tmpdir(), "chatify-ledger-"));
  const telemetry = silentTelemetry();
  const clock = systemClock;
  const store = await openOfflineStore({ url: `sqlite:${join(dir, "o.db")}`, clock, telemetry });
  const limits = LIMITS;
  const shipper = new Shipper({ self: "n-abcdefgh.123456", clock, telemetry, limits });
  shipper.to(store.ledger);
  const { metrics } = telemetry;
  const self = "n-abcdefgh.123456";
  const recorder = new Recorder({ self, clock, metrics, limits, shipper, sampleRatio: 1 });
  const session = { device: "d1", gateway: self, access: self, conn: 17, epoch: 1, since: 1 };
  const trail = async (ledger: typeof recorder | typeof silentLedger) => {
    let ms = 0;
    for (let round = 0; round < MESSAGES / BATCH; round++) {
      const batch = inputs(round);
      const msgId = chatMsgIds(round % 8, `${Date.now()}-${round % 9}`);
      const ids = batch.map((_, i) => msgId(i));
      const start = performance.now();
      for (const [i, input] of batch.entries()) ledger.numbered(input, ids[i] ?? "", round, 1);
      for (const [i, { toUserId: user }] of batch.entries()) {
        ledger.written(ids[i] ?? "", user, { ...session, user }, false);
      }
      for (const [i, { toUserId: user }] of batch.entries()) ledger.acked(ids[i] ?? "", user, "d1");
      ms += performance.now() - start;
      // Shipping happens in turns of its own; its time counts as well.
      const shipping = performance.now();
      await shipper.drain(10_000);
      ms += performance.now() - shipping;
    }
    return (ms * 1e6) / MESSAGES;
  };
  await trail(recorder);
  const on = await trail(recorder);
  const off = await trail(silentLedger);
  recorder.seal();
  await shipper.drain(10_000);
  const { bytes, segments } = await store.ledger.size();
  await store.close();
  rmSync(dir, { recursive: true, force: true });
  const ns = Math.round(on - off);
  const each = (bytes / (2 * MESSAGES)).toFixed(0);
  process.stdout.write(`ledger: ${ns} ns and ${each} bytes a message, ${segments} segments\n`);
  expect(segments).toBeGreaterThan(10);
  expect(ns).toBeGreaterThan(0);
  expect(ns).toBeLessThan(NS_MAX);
});
