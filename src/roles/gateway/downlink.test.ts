import { expect, test } from "bun:test";
import { createMetrics } from "../../core/telemetry/metrics.ts";
import { ManualClock } from "../../core/testing/manual_clock.ts";
import { Connection } from "./connection.ts";
import { Downlink } from "./downlink.ts";
import { Tally } from "./tally.ts";

const ACCEPTED = '{"type":"accepted","client_msg_id":"c1"}';
const SENT = '{"type":"sent","client_msg_id":"c1"}';
const PONG = '{"type":"pong","server_time":1}';

function world() {
  const clock = new ManualClock();
  const sent: string[] = [];
  const downlink: Downlink = new Downlink(clock, new Tally(createMetrics()), () => {
    clock.endOfTurn(() => downlink.flush());
  });
  const identity = { userId: "ann", deviceId: "d", expiresAt: null, issuedAt: 0, traceparent: "" };
  const conn = new Connection(1, identity, 0, 0, 1);
  conn.socket = {
    send: (text) => sent.push(text),
    close: () => {},
  };
  return { clock, conn, downlink, sent };
}

test("what is queued in one turn leaves as one message at its end", async () => {
  const { clock, conn, downlink, sent } = world();
  downlink.queue(conn, SENT);
  downlink.queue(conn, PONG);
  expect(sent).toEqual([]);
  await clock.advance(0);
  expect(sent).toEqual([`[${SENT},${PONG}]`]);
});

test("a frame that can wait leaves before the next one, in the same message", async () => {
  const { clock, conn, downlink, sent } = world();
  downlink.queuePatiently(conn, ACCEPTED);
  await clock.advance(3);
  expect(sent).toEqual([]);
  downlink.queue(conn, SENT);
  await clock.advance(0);
  expect(sent).toEqual([`[${ACCEPTED},${SENT}]`]);
  await clock.advance(1_000);
  expect(sent).toHaveLength(1);
});

test("a frame that can wait does not wait for long, and not at all in company", async () => {
  const { clock, conn, downlink, sent } = world();
  downlink.queuePatiently(conn, ACCEPTED);
  await clock.advance(10);
  expect(sent).toEqual([ACCEPTED]);
  downlink.queue(conn, PONG);
  downlink.queuePatiently(conn, ACCEPTED);
  await clock.advance(0);
  expect(sent.slice(1)).toEqual([`[${PONG},${ACCEPTED}]`]);
});

test("a connection that ends gets what waited before its bye", () => {
  const { conn, downlink, sent } = world();
  downlink.queuePatiently(conn, ACCEPTED);
  downlink.end(conn, "draining");
  expect(sent).toHaveLength(1);
  expect(JSON.parse(sent[0] ?? "")).toMatchObject([{ type: "accepted" }, { type: "bye" }]);
});
