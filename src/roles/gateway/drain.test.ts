import { expect, test } from "bun:test";
import { connect as connectTcp } from "node:net";
import { WEBSOCKET_PATH } from "../../core/protocol/frames.ts";
import { eventually, startGateway } from "./testing/gateway_fixture.ts";

test("a draining gateway sends every client away with a time of its own, and takes no more", async () => {
  const fixture = await startGateway({ limits: { DRAIN_SPREAD_MS: 5_000 } });
  const { connect, http, role, trunk } = fixture;
  const names = Array.from({ length: 40 }, (_, i) => `u${i}`);
  const clients = await Promise.all(names.map((name) => connect(name)));
  const start = performance.now();
  const drained = role.drain(1_000);
  expect(role.blockers()).toEqual(["draining"]);
  const refused = await fetch(`${http}${WEBSOCKET_PATH}?token=dev:late`, {
    headers: { connection: "Upgrade", upgrade: "websocket" },
  });
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ code: "draining", retryable: true });
  expect((await fetch(`${http}/readyz`)).status).toBe(503);
  await drained;
  expect(performance.now() - start).toBeLessThan(1_000);
  expect(performance.now() - start).toBeGreaterThan(300);
  const waits = new Set<number>();
  for (const client of clients) {
    expect(await client.end()).toEqual({ code: 4000, reason: "draining" });
    const [bye] = client.all("bye");
    expect(bye?.reason).toBe("draining");
    waits.add(bye?.reconnect_after_ms ?? -1);
  }
  expect(waits.size).toBeGreaterThan(30);
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...waits)).toBeLessThanOrEqual(5_000);
  const gone = () => trunk.of("unregister").flatMap(({ message }) => message.conns);
  await eventually(() => gone().length === 40, "the unregisters");
  await role.stop();
});

test("a client that waits for an answer gets it before its bye, and may send no more", async () => {
  const { connect, role, trunk } = await startGateway();
  const client = await connect("alice");
  const deaf = await connect("bob");
  client.chat("bob", "c1");
  deaf.chat("alice", "c2");
  const sent = () => trunk.of("uplink").flatMap(({ message }) => message.items);
  await eventually(() => sent().length === 2, "the uplinks");
  const drained = role.drain(800);
  await Bun.sleep(450);
  expect(client.closed).toBeNull();
  client.chat("bob", "c3");
  expect(await client.next("rejected")).toMatchObject({ client_msg_id: "c3", code: "draining" });
  trunk.accept("access-1", 1, "c1");
  await client.end();
  const types = client.frames.map((frame) => frame.type);
  expect(types).toEqual(["welcome", "rejected", "accepted", "bye"]);
  await drained;
  expect((await deaf.end()).code).toBe(4000);
  await role.stop();
});

test("a gateway without clients drains at once", async () => {
  const { role } = await startGateway();
  const start = performance.now();
  await role.drain(5_000);
  expect(performance.now() - start).toBeLessThan(50);
  await role.stop();
});

test("a client that does not read is closed as slow_consumer, and nobody waits for it", async () => {
  const { connect, role, telemetry, trunk } = await startGateway({
    limits: { CLIENT_BUFFER_BYTES_MAX: 65_536 },
  });
  const witness = await connect("witness");
  const socket = connectTcp(role.port, "127.0.0.1");
  socket.pause();
  socket.on("error", () => {});
  socket.write(
    [
      `GET ${WEBSOCKET_PATH}?token=dev:slow HTTP/1.1`,
      "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ].join("\r\n"),
  );
  await eventually(() => trunk.of("register").length === 2, "a register");
  await eventually(() => trunk.epoch === 102, "an epoch");
  const frame = `{"type":"typing","x":"${"x".repeat(60_000)}"}`;
  const closes = async () => (await telemetry.metrics.closes.get()).values;
  for (let i = 0; i < 500 && (await closes()).length === 0; i++) {
    trunk.say("access-1", { to: "gateway", t: "write", items: [[[1, 2], frame]] });
    await Bun.sleep(1);
  }
  expect(await closes()).toMatchObject([{ value: 1, labels: { reason: "slow_consumer" } }]);
  witness.send({ type: "ping" });
  await witness.next("pong");
  expect(trunk.of("unregister").flatMap(({ message }) => message.conns)).toEqual([2]);
  socket.destroy();
  await role.stop();
});
