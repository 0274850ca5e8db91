/** Connections and their timing, on fake sockets and a clock that stands still. */
import { beforeEach, expect, test } from "bun:test";
import { type ChatifyClient, type ConnectOptions, connect } from "./chatify.ts";
import { type FakeSocket, fakeNetwork } from "./testing/fake_socket.ts";
import { ManualClock, settle } from "./testing/manual_clock.ts";

let clock: ManualClock;
let network: ReturnType<typeof fakeNetwork>;
let client: ChatifyClient;

beforeEach(() => {
  clock = new ManualClock();
  network = fakeNetwork();
});

function start(options: Partial<ConnectOptions> = {}): void {
  const { WebSocket } = network;
  const url = "https://chat.example";
  client = connect({
    url,
    token: "t",
    deviceId: "d 1",
    WebSocket,
    clock,
    random: () => 1,
    ...options,
  });
}

const newest = (): FakeSocket => network.sockets.at(-1) as FakeSocket;

test("the address, the device and the token go where the protocol wants them", () => {
  start();
  expect(newest().url).toBe("wss://chat.example/chatify/access/v1/ws?device_id=d+1");
  expect(newest().protocols).toEqual(["chatify.v1", "t"]);
});

test("a token that cannot be a subprotocol goes into the address", () => {
  start({ token: "dev:älice" });
  expect(new URL(newest().url).searchParams.get("token")).toBe("dev:älice");
  expect(newest().protocols).toEqual(["chatify.v1"]);
});

test("waits after failures double from 250 ms to 30 s, with full jitter", async () => {
  start();
  const waits: (number | undefined)[] = [];
  for (let attempt = 0; attempt < 9; attempt++) {
    newest().drop(1006);
    waits.push(clock.next);
    await clock.advance(clock.next ?? 0);
  }
  expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  start({ random: () => 0.5 });
  newest().drop(1006);
  expect(clock.next).toBe(125);
});

test("after a welcome the next wait is at most 2 s, however many attempts had failed", async () => {
  start();
  for (let attempt = 0; attempt < 9; attempt++) {
    newest().drop(1006);
    await clock.advance(clock.next ?? 0);
  }
  newest().welcome();
  newest().drop(1006);
  expect(clock.next).toBe(2_000);
});

test("failures are forgiven only after the connection has lived for 10 s", async () => {
  start();
  newest().drop(1006);
  await clock.advance(250);
  newest().welcome();
  newest().drop(1006);
  expect(clock.next).toBe(500);
  await clock.advance(500);
  newest().welcome();
  await clock.advance(10_000);
  newest().drop(1006);
  expect(clock.next).toBe(250);
});

test("after bye the client comes back when the server said, counted from the bye", async () => {
  start();
  newest().welcome();
  newest().say({ type: "bye", reason: "draining", reconnect_after_ms: 3_000 });
  await clock.advance(1_000);
  newest().drop(4000);
  expect(client.state).toBe("offline");
  expect(clock.next).toBe(2_000);
  await clock.advance(2_000);
  expect(network.sockets).toHaveLength(2);
});

test("a server that says bye and does not close is left after 2 s", async () => {
  start();
  newest().welcome();
  newest().say({ type: "bye", reason: "draining", reconnect_after_ms: 100 });
  await clock.advance(2_000);
  await clock.advance(0);
  expect(network.sockets[0]?.closed).toBe(true);
  expect(network.sockets).toHaveLength(2);
});

test("a bye without reconnect_after_ms is the end", () => {
  start();
  const ends: unknown[] = [];
  client.on("closed", (end) => ends.push(end));
  newest().welcome();
  newest().say({ type: "bye", reason: "account deleted" });
  newest().drop(1000);
  expect(ends).toEqual([{ code: 1000, reason: "account deleted" }]);
  expect(clock.next).toBeUndefined();
});

test("close codes 4100 to 4199 stop, all others come back", () => {
  for (const code of [1000, 1001, 1006, 1009, 4000, 4005, 4200]) {
    start();
    newest().welcome();
    newest().drop(code);
    expect([code, client.state]).toEqual([code, "offline"]);
  }
  for (const code of [4100, 4103, 4105, 4199]) {
    start();
    newest().welcome();
    newest().drop(code);
    expect([code, client.state]).toEqual([code, "closed"]);
  }
});

test("an expired token is replaced once when it comes from a function", async () => {
  let calls = 0;
  start({ token: () => `t${++calls}` });
  await settle();
  newest().welcome();
  newest().drop(4102);
  expect(client.state).toBe("offline");
  await clock.advance(250);
  expect(newest().protocols).toEqual(["chatify.v1", "t2"]);
  newest().drop(4102);
  expect(client.state).toBe("closed");
  start();
  newest().welcome();
  newest().drop(4102);
  expect(client.state).toBe("closed");
});

test("a token that cannot be had counts as a failed connection and is reported", async () => {
  const errors: string[] = [];
  start({ token: () => Promise.reject(new Error("no network")) });
  client.on("error", (error) => errors.push(error.message));
  await settle();
  expect(errors).toEqual(["could not dial: Error: no network"]);
  expect(client.state).toBe("offline");
  expect(clock.next).toBe(250);
});

test("a silent link is pinged every heartbeat and left after 10 s without a pong", async () => {
  start();
  newest().welcome(30_000);
  await clock.advance(30_000);
  expect(newest().frames).toEqual([{ type: "ping" }]);
  newest().say({ type: "pong", server_time: 1 });
  await clock.advance(30_000);
  expect(newest().frames).toHaveLength(2);
  await clock.advance(9_999);
  expect(client.state).toBe("online");
  await clock.advance(1);
  expect(client.state).toBe("offline");
  expect(newest().closed).toBe(true);
});

test("a link without a welcome is left after 20 s", async () => {
  start();
  await clock.advance(20_000);
  expect(client.state).toBe("offline");
});

test("states go connecting, online, offline, connecting, closed", async () => {
  const states: string[] = [];
  start();
  states.push(client.state);
  client.on("state", (state) => states.push(state));
  newest().welcome();
  newest().drop(4001);
  await clock.advance(250);
  await client.close();
  expect(states).toEqual(["connecting", "online", "offline", "connecting", "closed"]);
  expect(clock.next).toBeUndefined();
});

test("events of an abandoned socket are ignored", async () => {
  start();
  const old = newest();
  old.welcome();
  old.drop(1006);
  await clock.advance(250);
  newest().welcome();
  old.say({ type: "bye", reason: "late" });
  old.drop(4100);
  expect(client.state).toBe("online");
});

test("watched users are asked for again on each connection and before they lapse", async () => {
  start();
  client.watch(["bob"]);
  newest().welcome(300_000);
  client.watch(Array.from({ length: 150 }, (_, index) => `u${index}`));
  await settle();
  const asked = (): number[] =>
    newest().frames.flatMap((frame) => (frame.type === "watch" ? [frame.user_ids.length] : []));
  expect(asked()).toEqual([1, 100, 50]);
  await clock.advance(240_000);
  expect(asked()).toEqual([1, 100, 50, 100, 51]);
  newest().drop(1006);
  client.unwatch(["bob"]);
  await clock.advance(250);
  newest().welcome();
  await settle();
  expect(asked()).toEqual([100, 50]);
});

test("garbage and frames of a newer server are skipped", () => {
  start();
  newest().welcome();
  newest().onmessage?.({ data: "{" });
  newest().onmessage?.({ data: '[null, 3, {"type": "novelty"}, {}]' });
  expect(client.state).toBe("online");
});
