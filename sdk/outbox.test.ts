/** Sends and their retries, on fake sockets and a clock that stands still. */
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

function start(options: Partial<ConnectOptions> = {}): FakeSocket {
  const { WebSocket } = network;
  const url = "ws://chat.example";
  client = connect({ url, token: "t", WebSocket, clock, random: () => 1, ...options });
  newest().welcome(3_600_000);
  return newest();
}

const newest = (): FakeSocket => network.sockets.at(-1) as FakeSocket;

/** Sends with the given id; failures become their code. */
function send(clientMsgId: string, to = "bob"): Promise<number | string> {
  return client.send({ to, content: clientMsgId, clientMsgId }).then(
    ({ seq }) => seq,
    (error: { code: string }) => error.code,
  );
}

test("a send is repeated with its id after 5 s of silence, then less and less often", async () => {
  const socket = start();
  const result = send("a");
  const times: number[] = [];
  for (let second = 0; second < 40; second++) {
    const before = socket.sends.length;
    await clock.advance(1_000);
    if (socket.sends.length > before) times.push(clock.now());
    // Signs of life, so that the silence stays the message's own.
    socket.say({ type: "pong", server_time: 0 });
  }
  expect(times).toEqual([1_000, 5_000, 15_000, 35_000]);
  expect(new Set(socket.sends)).toEqual(new Set(["a"]));
  socket.deliver("a", 1);
  expect(await result).toBe(1);
  expect(client.stats()).toMatchObject({ sent: 1, retries: 3 });
});

test("an accepted send whose number never comes is repeated, too", async () => {
  const socket = start();
  const result = send("a");
  await settle();
  socket.accept("a");
  await clock.advance(4_999);
  expect(socket.sends).toEqual(["a"]);
  await clock.advance(1);
  expect(socket.sends).toEqual(["a", "a"]);
  socket.deliver("a", 1);
  expect(await result).toBe(1);
});

test("a silence that is the connection's ends the connection", async () => {
  const socket = start();
  void send("a");
  await clock.advance(15_000);
  expect(socket.closed).toBe(true);
});

test("one send per target is unaccepted at a time, and targets do not wait", async () => {
  const socket = start();
  for (const id of ["b1", "b2", "b3"]) void send(id, "bob");
  void send("c1", "carol");
  await settle();
  expect(socket.sends).toEqual(["b1", "c1"]);
  expect(socket.written).toHaveLength(1);
  socket.accept("b1");
  await settle();
  expect(socket.sends).toEqual(["b1", "c1", "b2"]);
});

test("a send that was refused for now keeps its place before those behind it", async () => {
  const socket = start();
  for (const id of ["a", "b"]) void send(id);
  await settle();
  const refusal = { code: "rate_limited", message: "", retryable: true, retry_after_ms: 700 };
  socket.say({ type: "rejected", client_msg_id: "a", ...refusal });
  await clock.advance(699);
  expect(socket.sends).toEqual(["a"]);
  await clock.advance(1);
  expect(socket.sends).toEqual(["a", "a"]);
  socket.accept("a");
  await settle();
  expect(socket.sends).toEqual(["a", "a", "b"]);
});

test("outcome_unknown repeats what is unaccepted after the server's wait", async () => {
  const socket = start();
  client.on("error", () => {});
  for (const [id, to] of [
    ["a", "x"],
    ["b", "y"],
  ] as const)
    void send(id, to);
  await settle();
  socket.accept("b");
  const unknown = { code: "outcome_unknown", message: "", retryable: true, retry_after_ms: 50 };
  socket.say({ type: "error", ...unknown });
  await clock.advance(50);
  expect(socket.sends).toEqual(["a", "b", "a"]);
});

test("a reconnect repeats everything undecided in its first order", async () => {
  const socket = start();
  const results = ["a", "b", "c"].map((id) => send(id));
  await settle();
  socket.accept("a");
  await settle();
  socket.accept("b");
  await settle();
  socket.drop(1006);
  await clock.advance(250);
  newest().welcome();
  for (const [index, id] of ["a", "b", "c"].entries()) {
    await settle();
    expect(newest().sends.at(-1)).toBe(id);
    newest().accept(id);
    newest().deliver(id, index + 1);
  }
  expect(await Promise.all(results)).toEqual([1, 2, 3]);
});

test("a target that emptied and filled again before a reconnect loses nothing", async () => {
  const socket = start();
  const first = send("a");
  await settle();
  socket.accept("a");
  const second = send("b");
  await settle();
  socket.drop(1006);
  await clock.advance(250);
  newest().welcome();
  await settle();
  newest().accept("a");
  await settle();
  expect(newest().sends).toEqual(["a", "b"]);
  newest().deliver("a", 1);
  newest().deliver("b", 2);
  expect(await Promise.all([first, second])).toEqual([1, 2]);
});

test("the queue is bounded and says so", async () => {
  start({ queueMax: 2 });
  void send("a");
  void send("b");
  expect(await send("c")).toBe("overloaded");
});

test("the deadline rejects as outcome_unknown once sent and as unavailable before", async () => {
  const socket = start({ sendDeadlineMs: 3_000 });
  const tried = send("a");
  await clock.advance(1_000);
  socket.drop(4103);
  expect(await tried).toBe("outcome_unknown");
  start({ sendDeadlineMs: 3_000, random: () => 0.99 });
  newest().drop(1006);
  const waiting = send("b");
  await clock.advance(3_000);
  expect(await waiting).toBe("unavailable");
  newest().welcome();
  const silent = send("c");
  await clock.advance(3_000);
  expect(await silent).toBe("outcome_unknown");
  expect(newest().sends).toEqual(["c"]);
});

test("sending the same undecided id again gives the same answer and one frame", async () => {
  const socket = start();
  const results = [send("a"), send("a")];
  await settle();
  expect(socket.sends).toEqual(["a"]);
  socket.deliver("a", 4);
  expect(await Promise.all(results)).toEqual([4, 4]);
});

test("generated ids never repeat, within a client or between two", async () => {
  const ids = new Set<string>();
  for (let each = 0; each < 2; each++) {
    const socket = start();
    for (let to = 0; to < 50; to++) client.send({ to: `u${to}`, content: "" }).catch(() => {});
    await settle();
    for (const id of socket.sends) ids.add(id);
  }
  expect(ids.size).toBe(100);
});

test("content that the server would refuse is refused before it is sent", async () => {
  const socket = start();
  const tooLong = client.send({ to: "bob", content: "x".repeat(65_537) });
  expect(tooLong).rejects.toMatchObject({ code: "too_large", retryable: false });
  expect(await send("y".repeat(65))).toBe("bad_request");
  expect(await send("a", "")).toBe("bad_request");
  expect(socket.frames).toEqual([]);
});

test("more than 256 frames of one turn go out in several messages", async () => {
  const socket = start({ unacceptedPerTargetMax: 500 });
  for (let index = 0; index < 300; index++) void send(`s${index}`);
  await settle();
  expect(socket.written.map((frames) => frames.length)).toEqual([256, 44]);
});

test("large frames of one turn are split below the server's message size", async () => {
  const socket = start({ unacceptedPerTargetMax: 500 });
  const content = "x".repeat(65_000);
  for (let index = 0; index < 12; index++) client.send({ to: "bob", content }).catch(() => {});
  await settle();
  expect(socket.written.map((frames) => frames.length)).toEqual([5, 5, 2]);
});
