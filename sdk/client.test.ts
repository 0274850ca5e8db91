/** The client against a scripted server on real sockets. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  type ChatifyClient,
  type ConnectOptions,
  connect,
  type Message,
  type SdkClock,
} from "./chatify.ts";
import { ScriptedServer } from "./testing/scripted_server.ts";

let server: ScriptedServer;
let clients: ChatifyClient[];

beforeEach(() => {
  server = new ScriptedServer();
  clients = [];
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await server.stop();
});

function join(user: string, options: Partial<ConnectOptions> = {}): ChatifyClient {
  // Reconnects without a wait keep real-socket tests fast; timing has tests of its own.
  const client = connect({ url: server.url, token: user, random: () => 0, ...options });
  clients.push(client);
  return client;
}

/** Collects what a client is handed. */
function listen(client: ChatifyClient): Message[] {
  const messages: Message[] = [];
  client.on("message", (message) => {
    messages.push(message);
  });
  return messages;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 3_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited 3 s until ${what}`);
    await Bun.sleep(2);
  }
}

const ackedIds = (): string[] =>
  server.frames.flatMap(({ frame }) => (frame.type === "ack" ? frame.msg_ids : []));

test("a send resolves with its number and reaches the other user, who acks it", async () => {
  const alice = join("alice");
  const inbox = listen(join("bob"));
  let accepted = 0;
  const sent = await alice.send({ to: "bob", content: "hi", onAccepted: () => accepted++ });
  expect(sent).toMatchObject({ msg_id: "m1", seq: 1, conversation_id: "u:alice:bob" });
  expect(accepted).toBe(1);
  await until("bob has it", () => inbox.length === 1);
  expect(inbox[0]).toMatchObject({ content: "hi", from_user_id: "alice", seq: 1 });
  await until("the ack is in", () => ackedIds().includes("m1"));
});

test("what was sent to someone offline arrives in order when they come back", async () => {
  const alice = join("alice");
  await Promise.all(["1", "2", "3"].map((content) => alice.send({ to: "bob", content })));
  const inbox = listen(join("bob"));
  await until("the replay is in", () => inbox.length === 3);
  expect(inbox.map((message) => message.content)).toEqual(["1", "2", "3"]);
});

test("messages wait for the first listener instead of being acked unseen", async () => {
  const bob = join("bob");
  await join("alice").send({ to: "bob", content: "early" });
  await until("bob has received it", () => bob.stats().received === 1);
  await Bun.sleep(40);
  expect(ackedIds()).toEqual([]);
  const inbox = listen(bob);
  await until("it is handed over and acked", () => ackedIds().length === 1);
  expect(inbox).toHaveLength(1);
});

test("sends that are cut off keep their order and arrive once after the reconnect", async () => {
  const alice = join("alice");
  const inbox = listen(join("bob"));
  await until("both are online", () => clients.every((client) => client.state === "online"));
  let cuts = 0;
  server.intercept = (socket, frame) => {
    if (frame.type !== "send" || cuts === 3) return false;
    cuts++;
    socket.close(4004);
    return true;
  };
  const contents = Array.from({ length: 50 }, (_, index) => String(index));
  await Promise.all(contents.map((content) => alice.send({ to: "bob", content })));
  await until("bob has them all", () => inbox.length === 50);
  expect(inbox.map((message) => message.content)).toEqual(contents);
  expect(alice.stats()).toMatchObject({ sent: 50, connections: 4 });
});

test("a handshake answered 503 is tried again until the server takes it", async () => {
  server.refusing = true;
  const alice = join("alice", { random: () => 0.1 });
  await until("one attempt has failed", () => alice.state === "offline");
  server.refusing = false;
  expect(await alice.send({ to: "bob", content: "x" })).toMatchObject({ seq: 1 });
});

test("a final refusal rejects with its code and a retryable one is tried again", async () => {
  const alice = join("alice");
  let calls = 0;
  server.intercept = (socket, frame) => {
    if (frame.type !== "send" || ++calls > 2) return false;
    const code = calls === 1 ? "content_rejected" : "rate_limited";
    const { client_msg_id } = frame;
    const retry = calls === 1 ? { retryable: false } : { retryable: true, retry_after_ms: 5 };
    socket.send(JSON.stringify({ type: "rejected", client_msg_id, code, message: "no", ...retry }));
    return true;
  };
  const refused = alice.send({ to: "bob", content: "bad word" });
  expect(refused).rejects.toMatchObject({ code: "content_rejected", retryable: false });
  await refused.catch(() => {});
  expect(await alice.send({ to: "bob", content: "good" })).toMatchObject({ seq: 1 });
  const ids = server.frames.flatMap(({ frame }) => {
    return frame.type === "send" && frame.content === "good" ? [frame.client_msg_id] : [];
  });
  expect(ids).toHaveLength(2);
  expect(new Set(ids).size).toBe(1);
});

test("a failed handler leaves its message unacked, reports it, and gets it again", async () => {
  const bob = join("bob");
  const seen: string[] = [];
  const errors: string[] = [];
  bob.on("error", (error) => errors.push(error.code));
  bob.on("message", async ({ content }) => {
    seen.push(content);
    if (content === "first" && seen.length === 1) throw new Error("disk full");
  });
  const alice = join("alice");
  await alice.send({ to: "bob", content: "first" });
  await alice.send({ to: "bob", content: "second" });
  await until("the second is acked", () => ackedIds().includes("m2"));
  expect(ackedIds()).not.toContain("m1");
  expect(errors).toEqual(["internal"]);
  server.disconnect("bob", 4000);
  await until("the first is acked, too", () => ackedIds().includes("m1"));
  expect(seen).toEqual(["first", "second", "first"]);
});

test("typing, read and presence reach the peer", async () => {
  const alice = join("alice");
  const events: string[] = [];
  alice.on("presence", ({ user_id, online }) => events.push(`${user_id} ${online}`));
  alice.on("typing", ({ from_user_id }) => events.push(`typing ${from_user_id}`));
  alice.on("read", ({ from_user_id, seq }) => events.push(`read ${from_user_id} ${seq}`));
  alice.watch(["bob"]);
  await until("alice knows that bob is offline", () => events.length === 1);
  const bob = join("bob");
  await until("bob is online", () => bob.state === "online");
  expect(bob.typing("alice")).toBe(true);
  expect(bob.read("alice", 7)).toBe(true);
  await until("all events are in", () => events.length === 4);
  await bob.close();
  await until("alice knows that bob left", () => events.length === 5);
  expect(events).toEqual(["bob false", "bob true", "typing bob", "read bob 7", "bob false"]);
});

test("close sends pending acks, waits for the running handler, rejects what is open", async () => {
  const bob = join("bob");
  let finish = (): void => {};
  bob.on(
    "message",
    () =>
      new Promise<void>((resolve) => {
        finish = resolve;
      }),
  );
  await join("alice").send({ to: "bob", content: "slow" });
  await until("the handler runs", () => bob.stats().received === 1);
  server.intercept = (_, frame) => frame.type === "send";
  const open = bob.send({ to: "alice", content: "never answered" });
  open.catch(() => {});
  await until("it is on the wire", () =>
    server.frames.some(({ user, frame }) => {
      return user === "bob" && frame.type === "send";
    }),
  );
  const closed = bob.close();
  finish();
  await closed;
  expect(open).rejects.toMatchObject({ code: "outcome_unknown", retryable: true });
  await until("the ack is in", () => ackedIds().length === 1);
  expect(bob.state).toBe("closed");
  expect(bob.send({ to: "alice", content: "x" })).rejects.toMatchObject({ code: "unavailable" });
});

test("a close code from 4100 to 4199 ends the client with that code", async () => {
  const alice = join("alice");
  const ends: number[] = [];
  alice.on("closed", ({ code }) => ends.push(code));
  await until("alice is online", () => alice.state === "online");
  server.disconnect("alice", 4101);
  await until("the end is known", () => ends.length === 1);
  expect(ends).toEqual([4101]);
  expect(alice.state).toBe("closed");
});

test("whatever is cut, lost or repeated, each message arrives once and in order", async () => {
  // Time runs a hundred times as fast for the clients, so that silences pass.
  const clock: SdkClock = {
    now: () => performance.now() * 100,
    after(ms, fn) {
      const handle = setTimeout(fn, ms / 100);
      return { cancel: () => clearTimeout(handle) };
    },
  };
  for (let seed = 1; seed <= 3; seed++) {
    const random = seeded(seed);
    let faults = 60;
    const strikes = (share: number): boolean => faults > 0 && random() < share && faults-- > 0;
    server.intercept = (socket) => {
      // Before it is worked on, or after, when only the answers are lost.
      if (strikes(0.05)) socket.close(4000);
      else if (!strikes(0.05)) return false;
      return true;
    };
    server.loses = (user, frame) => {
      if (frame.type === "welcome" || !strikes(0.1)) return false;
      // An answer may get lost by itself; a message only with everything after it.
      if (frame.type === "message") server.disconnect(user, 4000);
      return true;
    };
    const fast = { clock, random, sendDeadlineMs: 3_600_000 };
    const names = ["a", "b", "c"].map((name) => `${name}${seed}`);
    const people = names.map((name) => join(name, fast));
    const inboxes = people.map(listen);
    const sends = people.flatMap((client, from) =>
      Array.from({ length: 60 }, (_, index) => {
        const to = names[(from + 1 + (index % 2)) % 3] as string;
        return client.send({ to, content: `${names[from]} ${index}` });
      }),
    );
    await Promise.all(sends);
    server.intercept = undefined;
    server.loses = undefined;
    await until("everything has arrived", () => inboxes.every((inbox) => inbox.length >= 60));
    await Bun.sleep(20);
    for (const [to, inbox] of inboxes.entries()) {
      for (const from of [(to + 1) % 3, (to + 2) % 3]) {
        const expected = Array.from({ length: 60 }, (_, index) => index)
          .filter((index) => (from + 1 + (index % 2)) % 3 === to)
          .map((index) => `${names[from]} ${index}`);
        const got = inbox.map(({ content }) => content);
        expect(got.filter((content) => content.startsWith(`${names[from]} `))).toEqual(expected);
      }
    }
  }
}, 20_000);

/** mulberry32: the same numbers for the same seed. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
