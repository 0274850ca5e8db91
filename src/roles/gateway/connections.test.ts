import { afterEach, describe, expect, test } from "bun:test";
import { decodeChatInputText } from "../../core/protocol/chat_input.ts";
import type { Span, Tracer } from "../../core/telemetry/telemetry.ts";
import { silentTracer } from "../../core/telemetry/trace.ts";
import { partitionOf } from "../../core/topology.ts";
import { accessNode } from "./testing/fake_trunk.ts";
import {
  Client,
  eventually,
  type Fixture,
  type FixtureOptions,
  startGateway,
} from "./testing/gateway_fixture.ts";

const running: Fixture[] = [];
async function gateway(options: FixtureOptions = {}): Promise<Fixture> {
  const fixture = await startGateway(options);
  running.push(fixture);
  return fixture;
}
afterEach(async () => {
  for (const fixture of running.splice(0)) await fixture.role.stop();
});

const message = (id: string) => `{"type":"message","message":{"msg_id":"${id}"}}`;

describe("a connection", () => {
  test("is registered with an access node and then welcomed with its epoch", async () => {
    const { connect, trunk } = await gateway();
    const client = await connect("alice", "&device_id=phone");
    expect(trunk.of("register")[0]?.message.conns[0]?.slice(0, 3)).toEqual(["alice", "phone", 1]);
    expect(client.all("welcome")[0]).toMatchObject({
      user_id: "alice",
      device_id: "phone",
      connection_id: "gateway-1-1",
      epoch: 101,
      limits: { unacked_max: 512 },
    });
  });

  test("sends a chat_input item whose sender is the token's", async () => {
    const { connect, trunk } = await gateway();
    const client = await connect("alice");
    client.chat("bob", "c1", "hello");
    await eventually(() => trunk.of("uplink").length === 1, "an uplink");
    const [conn, id, partition, item] = trunk.of("uplink")[0]?.message.items[0] ?? [0, "", 0, ""];
    expect([conn, id, partition]).toEqual([1, "c1", partitionOf("u:alice:bob", 8)]);
    expect(decodeChatInputText(item)).toMatchObject({
      conversationId: "u:alice:bob",
      fromUserId: "alice",
      clientMsgId: "c1",
      content: "hello",
      gatewayNodeId: "gateway-1",
      accessNodeId: "access-1",
      connId: 1,
      traceparent: "",
    });
    trunk.accept("access-1", 1, "c1");
    expect(await client.next("accepted")).toEqual({ type: "accepted", client_msg_id: "c1" });
  });

  test("gets what one turn brought as one array, and a lone frame as itself", async () => {
    const { connect, trunk } = await gateway();
    const client = await connect("alice");
    const deliver = (frames: string) =>
      trunk.say("access-1", {
        to: "gateway",
        t: "deliver",
        items: [[[["gateway-1", 1, 101]], frames]],
      });
    deliver(message("m1"));
    await client.next("message");
    deliver(message("m2"));
    deliver(`${message("m3")},${message("m4")}`);
    await client.next("message", 4);
    await Bun.sleep(10);
    deliver(`${message("m5")},${message("m6")}`);
    await client.next("message", 6);
    expect(client.texts.slice(1)).toEqual([
      message("m1"),
      `[${message("m2")},${message("m3")},${message("m4")}]`,
      `[${message("m5")},${message("m6")}]`,
    ]);
  });

  test("never gets a delivery for another epoch or another gateway", async () => {
    const { connect, telemetry, trunk } = await gateway();
    const client = await connect("alice");
    trunk.say("access-1", {
      to: "gateway",
      t: "deliver",
      items: [
        [[["gateway-1", 1, 100]], message("old")],
        [[["gateway-2", 1, 101]], message("elsewhere")],
        [[["gateway-1", 9, 101]], message("nobody")],
        [[["gateway-1", 1, 101]], message("right")],
      ],
    });
    await client.next("message");
    expect(client.texts.slice(1)).toEqual([message("right")]);
    expect(await telemetry.metrics.drops.get()).toMatchObject({
      values: [
        { value: 1, labels: { reason: "stale_epoch" } },
        { value: 1, labels: { reason: "connection_gone" } },
      ],
    });
  });

  test("gets a delivery that overtook `registered`, after its welcome", async () => {
    const { trunk, ws } = await gateway();
    trunk.autoRegister = false;
    const client = new Client(`${ws}?token=dev:alice`, []);
    await eventually(() => trunk.of("register").length === 1, "a register");
    const items: [[string, number, number][], string][] = [
      [[["gateway-1", 1, 7]], message("m1")],
      [[["gateway-1", 1, 6]], message("stale")],
    ];
    trunk.say("access-1", { to: "gateway", t: "deliver", items });
    trunk.say("access-1", { to: "gateway", t: "registered", conns: [[1, 7, ""]] });
    await client.next("message");
    expect(client.frames.map((frame) => frame.type)).toEqual(["welcome", "message"]);
  });

  test("keeps what a client says before its welcome, in order", async () => {
    const { trunk, ws } = await gateway();
    trunk.autoRegister = false;
    const client = new Client(`${ws}?token=dev:alice`, []);
    await eventually(() => client.socket.readyState === WebSocket.OPEN, "open");
    client.chat("bob", "c1");
    client.chat("bob", "c2");
    await Bun.sleep(20);
    expect(trunk.of("uplink")).toEqual([]);
    trunk.say("access-1", { to: "gateway", t: "registered", conns: [[1, 7, ""]] });
    await eventually(() => trunk.of("uplink").length === 1, "an uplink");
    const items = trunk.of("uplink")[0]?.message.items ?? [];
    expect(items.map((item) => item[1])).toEqual(["c1", "c2"]);
  });

  test("passes acks, signals and watches on, and answers pings itself", async () => {
    const { connect, trunk } = await gateway();
    const client = await connect("alice");
    client.send(
      { type: "ack", msg_ids: ["m1", "m2"] },
      { type: "typing", to_user_id: "bob" },
      { type: "read", to_user_id: "team", target_type: "GROUP", seq: 4 },
      { type: "watch", user_ids: ["bob", "carol"] },
      { type: "ping" },
    );
    await client.next("pong");
    expect(trunk.of("acks")[0]?.message.items).toEqual([[1, ["m1", "m2"]]]);
    expect(trunk.of("watch")[0]?.message.items).toEqual([[1, ["bob", "carol"]]]);
    const typing = {
      type: "typing",
      from_user_id: "alice",
      target_type: "USER",
      to_user_id: "bob",
    };
    const read = { type: "read", from_user_id: "alice", target_type: "GROUP", to_user_id: "team" };
    expect(trunk.of("signals")[0]?.message.items).toEqual([
      ["u:alice:bob", "alice", "USER", "bob", JSON.stringify(typing)],
      ["g:team", "alice", "GROUP", "team", JSON.stringify({ ...read, seq: 4 })],
    ]);
  });

  test("is unregistered when its client goes", async () => {
    const { connect, trunk } = await gateway();
    const client = await connect("alice");
    client.socket.close();
    await eventually(() => trunk.of("unregister").length === 1, "an unregister");
    expect(trunk.of("unregister")[0]).toMatchObject({ peer: "access-1", message: { conns: [1] } });
  });

  test("is closed with the reason when it is refused or replaced", async () => {
    const { connect, trunk, ws } = await gateway();
    const replaced = await connect("alice");
    trunk.say("access-1", {
      to: "gateway",
      t: "close",
      conns: [[["gateway-1", 1, 101], "replaced"]],
    });
    expect(await replaced.end()).toEqual({ code: 4100, reason: "replaced" });
    expect(replaced.all("bye")[0]).toEqual({ type: "bye", reason: "replaced" });
    trunk.autoRegister = false;
    const refused = new Client(`${ws}?token=dev:bob`, []);
    await eventually(() => trunk.of("register").length === 2, "a register");
    trunk.say("access-1", {
      to: "gateway",
      t: "registered",
      conns: [[2, 0, "too_many_devices"]],
    });
    expect((await refused.end()).code).toBe(4105);
  });
});

describe("when a link to an access node goes down", () => {
  test("its connections are registered with another one, and told what is unanswered", async () => {
    const { connect, trunk } = await gateway({ access: ["access-1", "access-2"] });
    const client = await connect("alice");
    const first = trunk.of("register")[0]?.peer ?? "";
    const second = first === "access-1" ? "access-2" : "access-1";
    client.chat("bob", "c1");
    client.chat("bob", "c2");
    await eventually(() => trunk.of("uplink").length >= 1, "an uplink");
    trunk.cut(first);
    expect(await client.next("error")).toMatchObject({ code: "outcome_unknown", retryable: true });
    await eventually(() => trunk.of("register").length === 2, "a second register");
    expect(trunk.of("register")[1]?.peer).toBe(second);
    const stale: [[string, number, number][], string][] = [
      [[["gateway-1", 1, 101]], message("of the lost link")],
      [[["gateway-1", 1, 102]], message("of the new one")],
    ];
    await eventually(() => trunk.epoch === 102, "the second epoch");
    trunk.say(second, { to: "gateway", t: "deliver", items: stale });
    await client.next("message");
    expect(client.texts).toContain(message("of the new one"));
    expect(client.all("message")).toHaveLength(1);
    expect(client.all("error")).toHaveLength(1);
    expect(client.all("welcome")).toHaveLength(1);
  });

  test("a `registered` answer of the node before is ignored", async () => {
    const { trunk, ws } = await gateway({ access: ["access-1", "access-2"] });
    trunk.autoRegister = false;
    const client = new Client(`${ws}?token=dev:alice`, []);
    await eventually(() => trunk.of("register").length === 1, "a register");
    const first = trunk.of("register")[0]?.peer ?? "";
    trunk.cut(first);
    await eventually(() => trunk.of("register").length === 2, "a second register");
    trunk.say(first, { to: "gateway", t: "registered", conns: [[1, 50, ""]] });
    await Bun.sleep(20);
    expect(client.frames).toEqual([]);
    const second = trunk.of("register")[1]?.peer ?? "";
    trunk.say(second, { to: "gateway", t: "registered", conns: [[1, 51, ""]] });
    expect((await client.next("welcome")).epoch).toBe(51);
  });

  test("and no other is live, clients stay and their sends are refused until one is", async () => {
    const { connect, role, trunk } = await gateway();
    const client = await connect("alice");
    trunk.cut("access-1");
    client.chat("bob", "c1");
    expect(await client.next("rejected")).toMatchObject({
      client_msg_id: "c1",
      code: "unavailable",
      retryable: true,
      retry_after_ms: 1_000,
    });
    expect(role.blockers()).toEqual(["no access node can be reached"]);
    trunk.raise("access-1");
    await eventually(() => trunk.of("register").length === 2, "a second register");
    await eventually(() => trunk.epoch === 102, "the second epoch");
    client.chat("bob", "c2");
    await eventually(() => trunk.of("uplink").length === 1, "an uplink");
    expect(role.blockers()).toEqual([]);
  });
});

test("a node that drains keeps its answers while its connections move to another", async () => {
  const fixture = await gateway({ access: ["access-1", "access-2"] });
  const { connect, trunk } = fixture;
  const client = await connect("alice");
  const first = trunk.of("register")[0]?.peer ?? "";
  client.chat("bob", "c1");
  await eventually(() => trunk.of("uplink").length === 1, "an uplink");
  fixture.nodes = fixture.nodes.map((n) => accessNode(n.id, { draining: n.id === first }));
  await eventually(() => trunk.of("register").length === 2, "a second register");
  trunk.accept(first, 1, "c1");
  await client.next("accepted");
  trunk.cut(first);
  await Bun.sleep(20);
  expect(client.all("error")).toEqual([]);
});

test("a sampled send has a span whose context travels with the message", async () => {
  const spans: Span[] = [];
  const asked: (string | undefined)[] = [];
  const tracer: Tracer = {
    ...silentTracer,
    sample: (incoming) => {
      asked.push(incoming);
      return incoming === undefined ? "" : "sampled";
    },
    span: (span) => {
      spans.push(span);
      return "child";
    },
    shutdown: async () => {},
  };
  const { connect, trunk, ws } = await gateway({ telemetry: { tracer } });
  const plain = await connect("alice");
  plain.chat("bob", "c1");
  const headers = { authorization: "Bearer dev:carol", traceparent: "00-trace-span-01" };
  const traced = await Client.open(ws, { headers });
  traced.chat("bob", "c2");
  const items = () => trunk.of("uplink").flatMap(({ message }) => message.items);
  await eventually(() => items().length === 2, "two uplinks");
  expect(asked).toEqual([undefined, "00-trace-span-01"]);
  expect(items().map((item) => decodeChatInputText(item[3])?.traceparent)).toEqual(["", "child"]);
  expect(spans).toMatchObject([{ name: "gateway.receive", parent: "sampled" }]);
});

test("what happens is counted", async () => {
  const { connect, telemetry, trunk } = await gateway();
  trunk.autoAccept = true;
  const client = await connect("alice");
  client.chat("bob", "c1");
  client.socket.send("bad");
  await client.next("accepted");
  client.socket.close();
  await eventually(() => trunk.of("unregister").length === 1, "an unregister");
  // The counts of frames go to the metrics at each sweep.
  await Bun.sleep(600);
  const text = await telemetry.metrics.registry.metrics();
  for (const line of [
    "chatify_connections 0",
    'chatify_handshakes_total{result="ok"} 1',
    'chatify_frames_in_total{type="send"} 1',
    'chatify_frames_in_total{type="bad"} 1',
    "chatify_frames_out_total 3",
    "chatify_send_accepted_seconds_count 1",
    'chatify_connection_closes_total{reason="client"} 1',
  ]) {
    expect(text.split("\n")).toContain(line);
  }
});

test("a connection that is never registered is closed as server_error", async () => {
  const { trunk, ws } = await gateway({ limits: { REGISTER_TIMEOUT_MS: 100 } });
  trunk.autoRegister = false;
  const client = new Client(`${ws}?token=dev:alice`, []);
  expect((await client.end()).code).toBe(4004);
  expect(client.all("bye")[0]?.reconnect_after_ms).toBeNumber();
});
