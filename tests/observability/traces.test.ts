/**
 * Spans as a collector gets them, from a cluster with every role in processes of its own: the tree
 * of one chat message, of one system push, of a replay, and of a message that went wrong.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Cluster } from "../integration/cluster.ts";
import { RawClient } from "../integration/raw_client.ts";
import { OtlpReceiver, type ReceivedSpan, treeOf } from "./otlp_receiver.ts";
import { untilSettled } from "./settled.ts";

const START_MS = 60_000;
/** Spans of two processes are stamped by one clock here, in milliseconds. */
const CLOCK_MS = 2;

const receiver = new OtlpReceiver();
let cluster: Cluster;
const gateway = (i: number) => cluster.gateways()[i] as string;

beforeAll(async () => {
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
    OTEL_BSP_SCHEDULE_DELAY: "100",
    TRACE_SAMPLE_RATIO: "1",
  };
  cluster = await Cluster.start({ layout: "split", env });
  await untilSettled(cluster);
}, START_MS);

afterAll(async () => {
  await cluster?.stop();
  await receiver.stop();
  expect(receiver.problems).toEqual([]);
}, START_MS);

const isOf = (msgId: unknown) => (span: ReceivedSpan) =>
  span.attributes["chatify.msg_id"] === msgId;

function push(to: string, traceparent: string): Promise<Response> {
  const timestamp = Math.floor(Date.now() / 1_000);
  const body = { content_id: "1", content: btoa("hi"), timestamp, push_type: 1, to_user_ids: [to] };
  const url = `http://${gateway(0)}/chatify/logic/v1/sendSystemPush`;
  return fetch(url, { method: "POST", headers: { traceparent }, body: JSON.stringify(body) });
}

test("one chat message is one trace across gateway, access, logic, push, gateway and the ack", async () => {
  const a = await RawClient.connect(gateway(0), "alice");
  const b = await RawClient.connect(gateway(1), "bob");
  a.chat("bob", "hello", "c1");
  const [message] = await b.received(1);
  const spans = await receiver.trace(isOf(message?.msg_id), ["gateway.write", "client.ack"]);
  expect(treeOf(spans)).toBe(
    "gateway.receive@gateway(access.append@access(logic.number@logic(" +
      "push.deliver@push(client.ack@push,gateway.write@gateway))))",
  );
  expect(spans.filter((span) => span.error !== null)).toEqual([]);
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  for (const span of spans) {
    expect(span.end).toBeGreaterThanOrEqual(span.start);
    const parent = byId.get(span.parentSpanId);
    if (parent === undefined) continue;
    expect(span.start).toBeGreaterThanOrEqual(parent.start - CLOCK_MS);
  }
  const [receive, ack] = ["gateway.receive", "client.ack"].map((n) =>
    spans.find((s) => s.name === n),
  );
  expect((ack?.end ?? 0) - (receive?.start ?? 0)).toBeLessThan(2_000);
  a.close();
  b.close();
});

test("a system push goes on in the trace of its caller", async () => {
  const c = await RawClient.connect(gateway(0), "carol");
  const [traceId, spanId] = [`${"c".repeat(31)}1`, `${"d".repeat(15)}2`];
  expect((await push("carol", `00-${traceId}-${spanId}-01`)).status).toBe(200);
  await c.received(1);
  const names = ["logic.push", "gateway.write", "client.ack"];
  const spans = await receiver.trace((span) => span.traceId === traceId, names);
  expect(treeOf(spans)).toBe(
    "logic.push@logic(push.deliver@push(client.ack@push,gateway.write@gateway))",
  );
  expect(spans.find((span) => span.name === "logic.push")).toMatchObject({
    parentSpanId: spanId,
    attributes: { "chatify.recipients": 1 },
  });
  c.close();
});

test("a system push that its caller did not sample has no span", async () => {
  const c = await RawClient.connect(gateway(0), "cleo");
  const traceId = "e".repeat(32);
  await push("cleo", `00-${traceId}-${"f".repeat(16)}-00`);
  const [message] = await c.received(1);
  await Bun.sleep(400);
  const found = receiver.spans.filter(
    (span) => span.traceId === traceId || isOf(message?.msg_id)(span),
  );
  expect(found).toEqual([]);
  c.close();
});

test("a replay is a trace of its own that is linked to the message's", async () => {
  const a = await RawClient.connect(gateway(0), "dora");
  a.chat("emil", "later", "c1");
  const sent = await a.frame("sent");
  await receiver.trace(isOf(sent.msg_id), ["push.archive"]);
  const e = await RawClient.connect(gateway(1), "emil");
  await e.received(1);
  const isReplay = (span: ReceivedSpan) => span.name === "push.replay" && isOf(sent.msg_id)(span);
  const replay = await receiver.trace(isReplay, ["gateway.write", "client.ack"]);
  expect(treeOf(replay)).toBe("push.replay@push(client.ack@push,gateway.write@gateway)");
  const root = replay.find(isReplay);
  const archive = receiver.spans.find((s) => s.name === "push.archive" && isOf(sent.msg_id)(s));
  expect(archive?.traceId).not.toBe(root?.traceId);
  expect(root?.links).toEqual([{ traceId: archive?.traceId ?? "", spanId: archive?.spanId ?? "" }]);
  const original = receiver.spans.filter((span) => span.traceId === archive?.traceId);
  expect(treeOf(original)).toBe(
    "gateway.receive@gateway(access.append@access(logic.number@logic(push.archive@push)))",
  );
  a.close();
  e.close();
});

/** A client whose messages are not sampled, because its handshake said so. */
async function unsampled(user: string) {
  const url = `ws://${gateway(0)}/chatify/access/v1/ws?token=dev:${user}:d1`;
  const headers = { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-00` };
  const socket = new WebSocket(url, { headers, protocols: ["chatify.v1"] } as never);
  const texts: string[] = [];
  socket.addEventListener("message", (event) => texts.push(String(event.data)));
  const said = async (type: string) => {
    for (let i = 0; i < 500 && !texts.some((text) => text.includes(type)); i++) await Bun.sleep(20);
    expect(texts.join()).toContain(type);
  };
  await said("welcome");
  return { said, socket };
}

test("a message that is refused is traced although it was not sampled", async () => {
  const { said, socket } = await unsampled("frida");
  const frame = { type: "send", target_type: "GROUP", to_user_id: "nobody", content: "x" };
  socket.send(JSON.stringify({ ...frame, client_msg_id: "c1" }));
  await said("rejected");
  const isRefusal = (span: ReceivedSpan) => span.error === "not_found";
  const spans = await receiver.trace(isRefusal, ["logic.number"]);
  expect(treeOf(spans)).toBe("logic.number@logic");
  expect(spans[0]?.traceId).not.toBe("a".repeat(32));
  socket.close();
});

test("a message that is slow is traced although it was not sampled, and the log names its trace", async () => {
  const { said, socket } = await unsampled("gina");
  const h = await RawClient.connect(gateway(1), "hugo");
  const frame = { type: "send", to_user_id: "hugo", content: "x" };
  socket.send(JSON.stringify({ ...frame, client_msg_id: "c1" }));
  await said('"sent"');
  await h.received(1);
  const push = cluster.nodes.filter((node) => node.roles === "push");
  for (const { process } of push) process.kill("SIGSTOP");
  socket.send(JSON.stringify({ ...frame, client_msg_id: "c2" }));
  // Longer than what counts as slow, shorter than a lease.
  await Bun.sleep(1_300);
  for (const { process } of push) process.kill("SIGCONT");
  const [, slow] = await h.received(2);
  const isSlow = (span: ReceivedSpan) =>
    span.attributes["chatify.slow"] === true && isOf(slow?.msg_id)(span);
  const spans = await receiver.trace(isSlow, ["client.ack"]);
  expect(treeOf(spans)).toContain("push.deliver@push(client.ack@push");
  const root = spans.find(isSlow);
  expect((root?.end ?? 0) - (root?.start ?? 0)).toBeGreaterThan(1_000);
  expect(root?.traceId).not.toBe("a".repeat(32));
  const lines = push.flatMap((node) => node.output().split("\n"));
  const line = lines.find((text) => text.includes("a message was slow"));
  expect(JSON.parse(line ?? "{}")).toMatchObject({
    "trace.id": root?.traceId,
    "span.id": root?.spanId,
    msg_id: slow?.msg_id,
  });
  socket.close();
  h.close();
}, 20_000);
