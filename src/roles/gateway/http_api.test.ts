import { afterEach, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { NodeRecord } from "../../core/registry/contract.ts";
import { accessNode } from "./testing/fake_trunk.ts";
import { type Fixture, type FixtureOptions, startGateway } from "./testing/gateway_fixture.ts";

const stops: (() => unknown)[] = [];
async function gateway(options: FixtureOptions = {}): Promise<Fixture> {
  const fixture = await startGateway(options);
  stops.push(() => fixture.role.stop());
  return fixture;
}
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** A node of the logic role, and what it answers. */
function logicNode(id: string, fetch: (request: Request) => Response | Promise<Response>) {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch });
  stops.push(() => server.stop(true));
  return accessNode(id, { roles: ["logic"], httpPorts: { logic: server.port ?? 0 } });
}
function deadNode(id: string): NodeRecord {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("") });
  const port = server.port ?? 0;
  server.stop(true);
  return accessNode(id, { roles: ["logic"], httpPorts: { logic: port } });
}

describe("a forwarded request", () => {
  test("arrives as it was sent, with a request id, and so does its answer", async () => {
    const seen: { url: string; method: string; body: string; headers: Headers }[] = [];
    const node = logicNode("logic-1", async (request) => {
      const { headers, method, url } = request;
      seen.push({ url, method, headers, body: await request.text() });
      return Response.json({ ok: true }, { status: 201, headers: { "x-mine": "yes" } });
    });
    const { http } = await gateway({ roleNodes: (role) => (role === "logic" ? [node] : []) });
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const response = await fetch(`${http}/chatify/logic/v1/x?a=1&b=%2F`, {
      method: "POST",
      body: "päyload",
      headers: { traceparent, "x-api-key": "k", "x-request-id": "mine-1", te: "trailers" },
    });
    expect(response.status).toBe(201);
    expect(response.headers.get("x-mine")).toBe("yes");
    expect(response.headers.get("x-request-id")).toBe("mine-1");
    expect(await response.json()).toEqual({ ok: true });
    expect(seen).toHaveLength(1);
    const [request] = seen;
    expect(new URL(request?.url ?? "").pathname).toBe("/chatify/logic/v1/x");
    expect(new URL(request?.url ?? "").search).toBe("?a=1&b=%2F");
    expect([request?.method, request?.body]).toEqual(["POST", "päyload"]);
    expect(request?.headers.get("traceparent")).toBe(traceparent);
    expect(request?.headers.get("x-api-key")).toBe("k");
    expect(request?.headers.get("x-request-id")).toBe("mine-1");
    expect(request?.headers.get("te")).toBeNull();
    const made = await fetch(`${http}/chatify/logic/v1/x`);
    expect(made.headers.get("x-request-id")).toMatch(/^\w{16}$/);
    expect(seen[1]?.headers.get("x-request-id")).toBe(made.headers.get("x-request-id"));
  });

  test("goes to the live nodes in turn, past dead and draining ones", async () => {
    const nodes = [
      logicNode("a", () => new Response("a")),
      deadNode("b"),
      logicNode("c", () => new Response("c")),
      { ...logicNode("d", () => new Response("d")), draining: true },
    ];
    const { http } = await gateway({ roleNodes: () => nodes });
    const answers: string[] = [];
    for (let i = 0; i < 9; i++) answers.push(await (await fetch(`${http}/chatify/logic/x`)).text());
    expect(new Set(answers)).toEqual(new Set(["a", "c"]));
    expect(answers.slice(-4).sort()).toEqual(["a", "a", "c", "c"]);
  });

  test("that no node takes is answered with unavailable", async () => {
    const { http } = await gateway({ roleNodes: (r) => (r === "logic" ? [deadNode("x")] : []) });
    for (const path of ["/chatify/logic/x", "/chatify/push/x"]) {
      const response = await fetch(http + path, { method: "POST", body: "{}" });
      expect(response.status).toBe(503);
      expect(response.headers.get("retry-after")).toBe("1");
      expect(await response.json()).toMatchObject({ code: "unavailable", retryable: true });
    }
  });

  test("is not repeated once it was sent, and its caller is told so", async () => {
    let calls = 0;
    const node = logicNode("slow", async () => {
      calls++;
      await Bun.sleep(500);
      return new Response("late");
    });
    const { http } = await gateway({
      roleNodes: () => [node, node],
      config: { forwardTimeoutMs: 50 },
    });
    const response = await fetch(`${http}/chatify/logic/x`, { method: "POST", body: "{}" });
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: "outcome_unknown" });
    expect(calls).toBe(1);
  });

  test("with too large a body is refused, whether or not it says its length", async () => {
    let calls = 0;
    const node = logicNode("a", () => new Response(String(++calls)));
    const { http } = await gateway({
      roleNodes: () => [node],
      limits: { HTTP_BODY_BYTES_MAX: 1_000 },
    });
    const chunked = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 3; i++) controller.enqueue(new Uint8Array(400));
        controller.close();
      },
    });
    for (const body of ["x".repeat(1_001), chunked]) {
      const response = await fetch(`${http}/chatify/logic/x`, { method: "POST", body });
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ code: "too_large" });
    }
    const fits = { method: "POST", body: "x".repeat(1_000) };
    expect(await (await fetch(`${http}/chatify/logic/x`, fits)).text()).toBe("1");
  });
});

describe("other routes", () => {
  test("say whether the gateway lives and works", async () => {
    const { http, trunk } = await gateway();
    expect((await fetch(`${http}/healthz`)).status).toBe(200);
    expect((await fetch(`${http}/readyz`)).status).toBe(200);
    trunk.cut("access-1");
    expect((await fetch(`${http}/readyz`)).status).toBe(503);
  });

  test("that do not exist get a coded 404", async () => {
    const { http } = await gateway();
    for (const path of ["/", "/chatify", "/chatify/access/v1/x", "/%00", "/../etc/passwd"]) {
      const response = await fetch(http + path);
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ code: "not_found", retryable: false });
    }
  });

  test("hand out a token for anyone in dev mode, which connects", async () => {
    const { http, ws } = await gateway();
    const response = await fetch(`${http}/chatify/dev/token?user_id=alice&device_id=pad`);
    const { token } = (await response.json()) as { token: string };
    const socket = new WebSocket(ws, ["chatify.v1", token]);
    const { data } = await new Promise<MessageEvent>((resolve) => {
      socket.onmessage = resolve;
    });
    expect(JSON.parse(String(data))).toMatchObject({ user_id: "alice", device_id: "pad" });
    expect((await fetch(`${http}/chatify/dev/token?user_id=a%20b`)).status).toBe(422);
    expect((await fetch(`${http}/chatify/dev/token`)).status).toBe(422);
  });

  test("hand out nothing outside dev mode", async () => {
    const verifier = { mode: "jwt", secret: "s".repeat(32) } as const;
    const { http } = await gateway({ config: { authMode: "jwt" }, verifier });
    expect((await fetch(`${http}/chatify/dev/token?user_id=alice`)).status).toBe(404);
  });
});

test("malformed requests always get a coded answer", async () => {
  const node = logicNode("a", async (request) => new Response(await request.text()));
  const { http } = await gateway({ roleNodes: () => [node] });
  const path = fc.webPath().map((p) => (p.startsWith("/") ? p : `/${p}`));
  const method = fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS");
  const prefix = fc.constantFrom("", "/chatify", "/chatify/logic", "/chatify/dev/token");
  await fc.assert(
    fc.asyncProperty(prefix, path, method, fc.uint8Array(), async (start, rest, verb, bytes) => {
      const body = verb === "GET" ? null : bytes;
      const response = await fetch(http + start + rest, { method: verb, body });
      expect(response.status).toBeLessThan(500);
      const answer = await response.text();
      if (response.status >= 400) expect(JSON.parse(answer)).toHaveProperty("code");
    }),
    { numRuns: 500, seed: 5 },
  );
}, 20_000);
