import { afterEach, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { CLOSE_CODES, ERRORS } from "../../core/protocol/errors.ts";
import { ServerFrame } from "../../core/protocol/frames.ts";
import {
  type Client,
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

describe("a frame that is not valid", () => {
  const cases: [what: string, text: string, code: string][] = [
    ["no JSON", "{nope", "bad_frame"],
    ["a number", "7", "bad_frame"],
    ["null", "null", "bad_frame"],
    ["an empty array", "[]", "bad_frame"],
    ["an array in an array", '[[{"type":"ping"}]]', "bad_frame"],
    ["of an unknown type", '{"type":"secret-type"}', "bad_frame"],
    ["with an unknown field", '{"type":"ping","secret-field":1}', "bad_frame"],
    ["a send without an id", '{"type":"send","to_user_id":"b","content":"secret"}', "bad_frame"],
    ["with a lone surrogate", '{"type":"typing","to_user_id":"a\\ud800"}', "bad_frame"],
    ["257 of them", JSON.stringify(Array(257).fill({ type: "ping" })), "too_large"],
    ["nested a hundred thousand times", "[".repeat(100_000), "bad_frame"],
  ];
  for (const [what, text, code] of cases) {
    test(`(${what}) is answered with ${code} and without its content`, async () => {
      const { connect } = await gateway();
      const client = await connect("alice");
      client.socket.send(text);
      expect(await client.next("error")).toMatchObject({ code, retryable: false });
      expect(client.texts.slice(1).join()).not.toContain("secret");
      client.send({ type: "ping" });
      await client.next("pong");
    });
  }

  const send = { type: "send", client_msg_id: "c1", to_user_id: "bob" };
  const sends: [what: string, frame: object, code: string][] = [
    ["without content", send, "bad_frame"],
    ["to a bad id", { ...send, to_user_id: "a b", content: "secret" }, "bad_frame"],
    ["as somebody else", { ...send, from_user_id: "eve", content: "secret" }, "bad_frame"],
    ["that is too long", { ...send, content: "x".repeat(65_537) }, "too_large"],
  ];
  for (const [what, frame, code] of sends) {
    test(`is rejected by its id when it is a send ${what}`, async () => {
      const { connect, trunk } = await gateway();
      const client = await connect("alice");
      client.send(frame);
      expect(await client.next("rejected")).toMatchObject({ client_msg_id: "c1", code });
      expect(client.texts.slice(1).join()).not.toContain("secret");
      expect(trunk.of("uplink")).toEqual([]);
    });
  }

  test("is refused also when half a surrogate pair hides in a send", async () => {
    const { connect, trunk } = await gateway();
    const client = await connect("alice");
    client.socket.send(
      '{"type":"send","client_msg_id":"c1","to_user_id":"bob","content":"\\udc00\\ud800"}',
    );
    expect(await client.next("error")).toMatchObject({ code: "bad_frame" });
    client.chat("bob", "c2", "whole: 😀");
    await eventually(() => trunk.of("uplink").length === 1, "an uplink");
    expect(trunk.of("uplink")[0]?.message.items.map((item) => item[1])).toEqual(["c2"]);
  });

  test("twenty times in a row closes with protocol_error; a good one between starts anew", async () => {
    const { connect } = await gateway();
    const client = await connect("alice");
    for (let i = 0; i < 19; i++) client.socket.send("bad");
    client.send({ type: "ping" });
    for (let i = 0; i < 19; i++) client.socket.send("bad");
    await client.next("error", 38);
    expect(client.closed).toBeNull();
    client.socket.send("bad");
    expect((await client.end()).code).toBe(CLOSE_CODES.protocol_error);
    expect(client.all("bye")[0]).toEqual({ type: "bye", reason: "protocol_error" });
  });

  test("that is binary is answered with bad_frame", async () => {
    const { connect } = await gateway();
    const client = await connect("alice");
    client.socket.send(new Uint8Array([1, 2, 3]));
    expect(await client.next("error")).toMatchObject({ code: "bad_frame" });
  });

  test("that is larger than the limit closes with 1009", async () => {
    const { connect } = await gateway({ limits: { FRAME_BYTES_MAX: 2_000 } });
    const client = await connect("alice");
    client.socket.send("x".repeat(2_001));
    expect((await client.end()).code).toBe(1009);
  });
});

describe("a client that sends too much", () => {
  test("is rejected with rate_limited and told when it may", async () => {
    const { connect, trunk } = await gateway({
      limits: { MESSAGES_BURST: 3, MESSAGES_PER_SECOND: 10 },
    });
    const client = await connect("alice");
    for (let i = 0; i < 5; i++) client.chat("bob", `c${i}`);
    await client.next("rejected", 2);
    const rejected = client.all("rejected");
    expect(rejected.map((f) => [f.client_msg_id, f.code])).toEqual([
      ["c3", "rate_limited"],
      ["c4", "rate_limited"],
    ]);
    const wait = rejected[1]?.retry_after_ms ?? 0;
    expect(wait).toBeGreaterThan(0);
    expect(wait).toBeLessThanOrEqual(100);
    await Bun.sleep(wait + 5);
    client.chat("bob", "c5");
    const ids = () => trunk.of("uplink").flatMap(({ message }) => message.items.map((i) => i[1]));
    await eventually(() => ids().includes("c5"), "c5");
    expect(ids()).toEqual(["c0", "c1", "c2", "c5"]);
  });

  test("is limited in signals as well, but never in acks", async () => {
    const { connect, trunk } = await gateway({
      limits: { MESSAGES_BURST: 2, MESSAGES_PER_SECOND: 1 },
    });
    const client = await connect("alice");
    client.send(...Array(4).fill({ type: "typing", to_user_id: "bob" }));
    client.send(...Array(4).fill({ type: "ack", msg_ids: ["m1"] }));
    await client.next("error", 2);
    expect(client.all("error").map((f) => f.code)).toEqual(["rate_limited", "rate_limited"]);
    await eventually(() => trunk.of("acks").length === 1, "acks");
    expect(trunk.of("acks")[0]?.message.items).toHaveLength(4);
  });

  test("is rejected with overloaded when too many sends wait for accepted", async () => {
    const { connect, trunk } = await gateway({ limits: { SENDS_IN_FLIGHT_PER_CONNECTION_MAX: 2 } });
    const client = await connect("alice");
    for (let i = 0; i < 3; i++) client.chat("bob", `c${i}`);
    expect(await client.next("rejected")).toMatchObject({
      client_msg_id: "c2",
      code: "overloaded",
    });
    trunk.accept("access-1", 1, "c0");
    await client.next("accepted");
    client.chat("bob", "c3");
    await eventually(() => trunk.of("uplink").length === 2, "an uplink");
  });

  test("before its welcome has the rest refused as unavailable", async () => {
    const { trunk, connect } = await gateway();
    trunk.autoRegister = false;
    const opening = connect("alice");
    await eventually(() => trunk.of("register").length === 1, "a register");
    await Bun.sleep(20);
    trunk.say("access-1", { to: "gateway", t: "registered", conns: [[1, 1, ""]] });
    const client = await opening;
    trunk.cut("access-1");
    trunk.raise("access-1");
    for (let i = 0; i < 70; i++) client.chat("bob", `c${i}`);
    await client.next("rejected", 6);
    expect(client.all("rejected").map((f) => f.code)).toEqual(Array(6).fill("unavailable"));
    trunk.say("access-1", { to: "gateway", t: "registered", conns: [[1, 2, ""]] });
    const count = () => trunk.of("uplink").reduce((n, u) => n + u.message.items.length, 0);
    await eventually(() => count() === 64, "those that were held");
  });
});

test("10 000 malformed messages get a coded error or a documented close, and nobody else sees them", async () => {
  const { connect, role, trunk } = await gateway({ limits: { MESSAGES_BURST: 1e9 } });
  trunk.autoAccept = true;
  const witness = await connect("witness");
  let client: Client = await connect("mallory");
  let sent = 0;
  const known = new Set<number>([...Object.values(CLOSE_CODES), 1007, 1009]);
  const codes = new Set<string>(Object.keys(ERRORS));
  for (const batch of chunks(fc.sample(malformed, { numRuns: 10_000, seed: 7 }), 15)) {
    // Nineteen bad ones in a row are borne; a good one between them starts the count anew.
    for (const text of batch) client.socket.send(text);
    sent += batch.length;
    client.send({ type: "ping" });
    await client.until(() => client.all("pong").length > 0 || client.closed !== null, "pong", true);
    const { closed, frames } = client;
    for (const frame of frames) expect(ServerFrame.safeParse(frame).success).toBe(true);
    for (const { code } of client.all("error")) expect(codes.has(code)).toBe(true);
    for (const { code } of client.all("rejected")) expect(codes.has(code)).toBe(true);
    const answers = frames.filter((f) => f.type === "error" || f.type === "rejected").length;
    if (closed === null) {
      expect(answers).toBeGreaterThanOrEqual(batch.length - client.all("accepted").length);
      client.frames.length = 0;
    } else {
      expect(known.has(closed.code)).toBe(true);
      client = await connect("mallory");
      client.frames.length = 0;
    }
  }
  expect(sent).toBe(10_000);
  expect(role.blockers()).toEqual([]);
  expect(witness.frames.map((frame) => frame.type)).toEqual(["welcome"]);
}, 60_000);

const weird = fc.oneof(
  fc.constantFrom(null, true, -1, 1e308, "", "\u0000", "__proto__", "a b", "x".repeat(200)),
  fc.string({ unit: "binary" }),
  fc.double(),
  fc.array(fc.string(), { maxLength: 3 }),
  fc.object({ maxDepth: 2 }),
);
const frameLike = fc
  .record(
    {
      type: fc.oneof(
        fc.constantFrom("send", "ack", "typing", "read", "watch", "welcome", "constructor"),
        weird,
      ),
      client_msg_id: weird,
      to_user_id: weird,
      target_type: weird,
      content: weird,
      msg_ids: weird,
      user_ids: weird,
      seq: weird,
      __proto__: weird,
      extra: weird,
    },
    { requiredKeys: ["type", "extra"] },
  )
  .map((frame) => JSON.stringify(frame));
const malformed = fc.oneof(
  frameLike,
  frameLike.map((text) => `[${text}]`),
  frameLike.map((text) => text.slice(0, -1)),
  fc.string({ unit: "binary" }).map((text) => `${text.toWellFormed()}}`),
  fc.json().map((json) => `[${json}]`),
  fc.constantFrom("", "[", "{}", "[]", "[null]", '"ping"', '{"type":"send"}', "\ufeff{}"),
);

function chunks<T>(all: T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < all.length; at += size) parts.push(all.slice(at, at + size));
  return parts;
}
