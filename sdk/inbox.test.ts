/** Dedup, order and acks of what is received, on fake sockets and a clock that stands still. */
import { beforeEach, expect, test } from "bun:test";
import { type ChatifyClient, type ConnectOptions, connect, type Message } from "./chatify.ts";
import { type FakeSocket, fakeNetwork } from "./testing/fake_socket.ts";
import { ManualClock, settle } from "./testing/manual_clock.ts";

let clock: ManualClock;
let network: ReturnType<typeof fakeNetwork>;
let client: ChatifyClient;

beforeEach(() => {
  clock = new ManualClock();
  network = fakeNetwork();
});

function start(options: Partial<ConnectOptions> = {}): FakeSocket {
  const { WebSocket } = network;
  client = connect({ url: "ws://x", token: "t", WebSocket, clock, random: () => 1, ...options });
  newest().welcome(3_600_000);
  return newest();
}

const newest = (): FakeSocket => network.sockets.at(-1) as FakeSocket;

function message(msg_id: string, seq: number, conversation_id = "u:alice:bob"): Message {
  return {
    msg_id,
    seq,
    conversation_id,
    message_type: "CHAT",
    from_user_id: "bob",
    target_type: "USER",
    to_user_id: "alice",
    content: msg_id,
    timestamp: 1,
    expire_time: 0,
    content_id: "",
    client_msg_id: "",
  };
}

function give(...messages: Message[]): void {
  newest().say(...messages.map((each) => ({ type: "message" as const, message: each })));
}

function listen(): string[] {
  const seen: string[] = [];
  client.on("message", ({ msg_id }) => {
    seen.push(msg_id);
  });
  return seen;
}

test("acks of 20 ms share one frame", async () => {
  const socket = start();
  listen();
  give(message("m1", 1));
  await clock.advance(15);
  give(message("m2", 2), message("n1", 1, "g:team"));
  await clock.advance(4);
  expect(socket.frames).toEqual([]);
  await clock.advance(1);
  expect(socket.frames).toEqual([{ type: "ack", msg_ids: ["m1", "m2", "n1"] }]);
});

test("an ack frame holds at most 1000 ids and a full one does not wait", async () => {
  const socket = start();
  listen();
  give(...Array.from({ length: 1_500 }, (_, index) => message(`m${index}`, 0)));
  await Bun.sleep(0);
  expect(socket.frames.map((frame) => frame.type === "ack" && frame.msg_ids.length)).toEqual([
    1_000,
  ]);
  await clock.advance(20);
  expect(socket.acks).toHaveLength(1_500);
});

test("a repeated message is acked again and not handed over again", async () => {
  const socket = start();
  const seen = listen();
  for (let time = 0; time < 2; time++) {
    give(message("m1", 1), message("p1", 0));
    await clock.advance(20);
  }
  expect(seen).toEqual(["m1", "p1"]);
  expect(socket.acks).toEqual(["m1", "p1", "m1", "p1"]);
  expect(client.stats()).toMatchObject({ received: 4, duplicates: 2, acked: 4 });
});

test("a message repeated while its handler runs is acked once the handler is done", async () => {
  const socket = start();
  let finish = (): void => {};
  let calls = 0;
  client.on("message", () => {
    calls++;
    return new Promise<void>((resolve) => {
      finish = resolve;
    });
  });
  give(message("m1", 1));
  await clock.advance(100);
  socket.drop(1006);
  await clock.advance(250);
  newest().welcome();
  give(message("m1", 1));
  await clock.advance(100);
  expect(newest().acks).toEqual([]);
  finish();
  await clock.advance(20);
  expect([calls, newest().acks]).toEqual([1, ["m1"]]);
});

test("a slow handler holds up its own conversation and no other", async () => {
  start();
  const seen: string[] = [];
  let finish = (): void => {};
  client.on("message", async ({ msg_id }) => {
    seen.push(msg_id);
    if (msg_id === "a1")
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
  });
  give(message("a1", 1), message("a2", 2), message("b1", 1, "g:team"));
  await settle();
  expect(seen).toEqual(["a1", "b1"]);
  finish();
  await settle();
  expect(seen).toEqual(["a1", "b1", "a2"]);
});

test("acks that wait while offline go out on the next connection", async () => {
  const socket = start();
  listen();
  give(message("m1", 1));
  await settle();
  socket.drop(1006);
  await clock.advance(250);
  expect(socket.acks).toEqual([]);
  newest().welcome();
  await settle();
  expect(newest().acks).toEqual(["m1"]);
});

test("acks that are ready leave before the answer to bye", async () => {
  const socket = start();
  listen();
  give(message("m1", 1));
  await settle();
  socket.say({ type: "bye", reason: "draining", reconnect_after_ms: 10 });
  expect(socket.acks).toEqual(["m1"]);
});

test("gaps are handed over, because expired messages leave them", async () => {
  start();
  const seen = listen();
  give(message("m1", 1), message("m5", 5), message("m9", 9));
  await settle();
  expect(seen).toEqual(["m1", "m5", "m9"]);
});

test("beyond conversationsMax the longest silent conversation is forgotten", async () => {
  start({ conversationsMax: 2 });
  const seen = listen();
  give(message("a1", 1, "a"), message("b1", 1, "b"), message("a2", 2, "a"));
  await settle();
  give(message("c1", 1, "c"));
  await settle();
  give(message("a2", 2, "a"), message("b1", 1, "b"));
  await settle();
  expect(seen).toEqual(["a1", "b1", "a2", "c1", "b1"]);
});

test("a failed message is handed over again although later ones were taken", async () => {
  const socket = start();
  const seen: string[] = [];
  client.on("error", () => {});
  client.on("message", ({ msg_id }) => {
    seen.push(msg_id);
    if (msg_id === "m1" && seen.length === 1) throw new Error("not now");
  });
  give(message("m1", 1), message("m2", 2));
  await clock.advance(20);
  expect(socket.acks).toEqual(["m2"]);
  give(message("m1", 1), message("m2", 2));
  await clock.advance(20);
  expect(seen).toEqual(["m1", "m2", "m1"]);
  expect(socket.acks).toEqual(["m2", "m2", "m1"]);
});
