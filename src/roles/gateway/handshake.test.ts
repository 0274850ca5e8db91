import { afterEach, describe, expect, test } from "bun:test";
import { connect as connectTcp } from "node:net";
import * as fc from "fast-check";
import { signToken } from "../../core/auth/tokens.ts";
import { systemClock as clock } from "../../core/clock.ts";
import type { ErrorBody } from "../../core/protocol/errors.ts";
import { WEBSOCKET_PATH } from "../../core/protocol/frames.ts";
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

const secret = "s".repeat(32);
const token = (more: Partial<Parameters<typeof signToken>[0]> = {}) =>
  signToken({ secret, userId: "alice", ttlSeconds: 60, clock, ...more });
const jwt: FixtureOptions = {
  config: { authMode: "jwt", allowedOrigins: ["https://chat.example.org"] },
  verifier: { mode: "jwt", secret },
};

/** The HTTP answer to a handshake. */
async function refused(fixture: Fixture, headers: Record<string, string>, query = "") {
  const response = await fetch(`${fixture.http}${WEBSOCKET_PATH}${query}`, {
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...headers,
    },
  });
  const body = (await response.json()) as ErrorBody;
  return { status: response.status, code: body.code, body, headers: response.headers };
}

describe("a client connects with its token", () => {
  test("in Authorization", async () => {
    const { ws } = await gateway(jwt);
    const headers = { authorization: `Bearer ${await token({ deviceId: "phone" })}` };
    const client = await Client.open(ws, { headers });
    expect(client.all("welcome")[0]).toMatchObject({ user_id: "alice", device_id: "phone" });
    expect(client.socket.protocol).toBe("");
  });

  test("in a subprotocol entry, and is answered with chatify.v1 alone", async () => {
    const { ws } = await gateway(jwt);
    const value = await token();
    for (const protocols of [
      ["chatify.v1", `bearer.${value}`],
      [`bearer.${value}`, "chatify.v1"],
      ["chatify.v1", value],
    ]) {
      const client = await Client.open(ws, protocols);
      expect(client.all("welcome")[0]?.user_id).toBe("alice");
      expect(client.socket.protocol).toBe("chatify.v1");
    }
  });

  test("in the query, beside the device that the token does not name", async () => {
    const { ws } = await gateway(jwt);
    const client = await Client.open(`${ws}?token=${await token()}&device_id=tablet`, []);
    expect(client.all("welcome")[0]).toMatchObject({ user_id: "alice", device_id: "tablet" });
    const other = await Client.open(`${ws}?token=${await token({ deviceId: "tv" })}&device_id=x`);
    expect(other.all("welcome")[0]?.device_id).toBe("tv");
    const random = await Client.open(`${ws}?token=${await token()}`);
    expect(random.all("welcome")[0]?.device_id).toMatch(/^\w{16}$/);
  });
});

describe("a handshake is refused", () => {
  test("without a token, and with one that is not good", async () => {
    const fixture = await gateway(jwt);
    expect(await refused(fixture, {})).toMatchObject({ status: 401, code: "unauthorized" });
    const bad = { authorization: `Bearer ${await token({ secret: "t".repeat(32) })}` };
    expect(await refused(fixture, bad)).toMatchObject({ status: 401, code: "unauthorized" });
    const expired = { authorization: `Bearer ${await token({ ttlSeconds: -5 })}` };
    const answer = await refused(fixture, expired);
    expect(answer).toMatchObject({ status: 401, code: "token_expired" });
    expect(answer.body.request_id).toBe(answer.headers.get("x-request-id") ?? "");
    expect(await refused(fixture, {}, "?token=dev:alice")).toMatchObject({ code: "unauthorized" });
    const { values } = await fixture.telemetry.metrics.authFailures.get();
    expect(values.map(({ labels, value }) => [labels.reason, value])).toEqual([
      ["no_token", 1],
      ["unauthorized", 2],
      ["token_expired", 1],
    ]);
  });

  test("for a subprotocol that is not spoken", async () => {
    const fixture = await gateway();
    for (const offered of ["chatify.v2", "bearer.dev.YQ", "graphql-ws"]) {
      const answer = await refused(fixture, { "sec-websocket-protocol": offered });
      expect(answer).toMatchObject({ status: 400, code: "unsupported_version" });
    }
  });

  test("for a page of another origin, before its token is looked at", async () => {
    const fixture = await gateway(jwt);
    const answer = await refused(fixture, { origin: "https://evil.example.org" });
    expect(answer).toMatchObject({ status: 403, code: "origin_not_allowed" });
    expect((await refused(fixture, { origin: "http://localhost" })).code).toBe(
      "origin_not_allowed",
    );
    expect((await refused(fixture, { origin: "null" })).code).toBe("origin_not_allowed");
    const allowed = { origin: "https://chat.example.org" };
    expect((await refused(fixture, allowed)).code).toBe("unauthorized");
  });

  test("in dev mode for any origin but those of this machine", async () => {
    const fixture = await gateway();
    for (const origin of ["http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:1"]) {
      expect((await refused(fixture, { origin })).code).toBe("unauthorized");
    }
    for (const origin of [
      "http://localhost.evil.org",
      "http://evil.org/127.0.0.1",
      "http://10.0.0.1",
    ]) {
      expect((await refused(fixture, { origin })).code).toBe("origin_not_allowed");
    }
  });

  test("when the gateway is full, with the time to come back", async () => {
    const fixture = await gateway({ limits: { CONNECTIONS_MAX: 1 } });
    const first = await fixture.connect("alice");
    const answer = await refused(fixture, {}, "?token=dev:bob");
    expect(answer).toMatchObject({ status: 503, code: "too_many_connections" });
    expect(answer.headers.get("retry-after")).toBe("2");
    first.socket.close();
    await eventually(() => fixture.trunk.of("unregister").length === 1, "an unregister");
    await fixture.connect("bob");
  });

  test("when it is none, or names no valid device", async () => {
    const fixture = await gateway();
    const plain = await fetch(`${fixture.http}${WEBSOCKET_PATH}?token=dev:alice`);
    expect(plain.status).toBe(422);
    expect(await plain.json()).toMatchObject({ code: "bad_request" });
    const device = await refused(fixture, {}, "?token=dev:alice&device_id=a%20b");
    expect(device).toMatchObject({ status: 422, code: "bad_request" });
    const keyless = await refused(fixture, { "sec-websocket-key": "" }, "?token=dev:alice");
    expect(keyless).toMatchObject({ status: 422, code: "bad_request" });
    expect((await fetch(`${fixture.http}/healthz`)).status).toBe(200);
  });
});

test("a connection ends with token_expired when its token does", async () => {
  const { ws } = await gateway(jwt);
  const client = await Client.open(`${ws}?token=${await token({ ttlSeconds: 1 })}`);
  expect(await client.end()).toEqual({ code: 4102, reason: "token_expired" });
  expect(client.all("bye")[0]).toEqual({ type: "bye", reason: "token_expired" });
});

test("garbage on the wire after the handshake ends that connection and nothing else", async () => {
  const fixture = await gateway();
  const witness = await fixture.connect("witness");
  const handshake = [
    `GET ${WEBSOCKET_PATH}?token=dev:mallory HTTP/1.1`,
    "Host: x",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13\r\n\r\n",
  ].join("\r\n");
  const samples = fc.sample(fc.uint8Array({ minLength: 1, maxLength: 200 }), {
    numRuns: 200,
    seed: 3,
  });
  for (const bytes of samples) {
    const socket = connectTcp(fixture.role.port, "127.0.0.1");
    socket.on("error", () => {});
    await new Promise<void>((resolve) => {
      socket.once("data", () => {
        socket.write(bytes);
        socket.end();
        resolve();
      });
      socket.write(handshake);
    });
  }
  witness.send({ type: "ping" });
  await witness.next("pong");
  await eventually(() => {
    const gone = fixture.trunk.of("unregister").flatMap(({ message }) => message.conns);
    return gone.length === samples.length;
  }, "the end of all of them");
});
