/** The proxy that other tests trust: each fault does to a connection what its name says. */
import { afterEach, expect, test } from "bun:test";
import type { Socket } from "bun";
import { FaultProxy } from "./fault_proxy.ts";

const HOST = "127.0.0.1";
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0)) clean();
});

/** One end of a connection: what it got and whether it is still there. */
class End {
  readonly chunks: Buffer[] = [];
  closed = false;
  socket: Socket | null = null;
  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }
  readonly handlers = {
    open: (socket: Socket) => {
      this.socket = socket;
    },
    data: (_: Socket, data: Buffer) => void this.chunks.push(Buffer.from(data)),
    close: () => {
      this.closed = true;
    },
    error: () => {},
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`waited for ${what}`);
    await Bun.sleep(2);
  }
}

async function connected() {
  const server = new End();
  const listener = Bun.listen({ hostname: HOST, port: 0, socket: server.handlers });
  const probe = Bun.listen({ hostname: HOST, port: 0, socket: { data() {} } });
  const listen = { host: HOST, port: probe.port };
  probe.stop(true);
  const target = { host: HOST, port: listener.port };
  const proxy = new FaultProxy({ name: "link", listen, target });
  const client = new End();
  await Bun.connect({ hostname: HOST, port: listen.port, socket: client.handlers });
  await until("the server's end", () => server.socket !== null);
  cleanups.push(() => {
    proxy.stop();
    listener.stop(true);
  });
  return { client, listen, proxy, server };
}

test("without a fault bytes pass both ways, and the end of one end is the end of the other", async () => {
  const { client, server } = await connected();
  client.socket?.write("question");
  await until("the question", () => server.text === "question");
  server.socket?.write("answer");
  await until("the answer", () => client.text === "answer");
  client.socket?.end();
  await until("the end", () => server.closed);
});

test("a cut resets connections and refuses new ones until it is over", async () => {
  const { client, listen, proxy, server } = await connected();
  proxy.set({ kind: "cut" });
  await until("both ends to be reset", () => client.closed && server.closed);
  const second = new End();
  await Bun.connect({ hostname: HOST, port: listen.port, socket: second.handlers });
  await until("the new one to be refused", () => second.closed);
  proxy.set(null);
  const third = new End();
  await Bun.connect({ hostname: HOST, port: listen.port, socket: third.handlers });
  third.socket?.write("back");
  await until("the third to get through", () => server.text.endsWith("back"));
});

test("a one-way cut holds one direction back and passes the other", async () => {
  const { client, proxy, server } = await connected();
  proxy.set({ kind: "one_way_cut", direction: "up" });
  client.socket?.write("held");
  server.socket?.write("passes");
  await until("what comes down", () => client.text === "passes");
  await Bun.sleep(30);
  expect(server.text).toBe("");
  proxy.set(null);
  await until("what was held", () => server.text === "held");
});

test("a delay postpones and keeps the order", async () => {
  const { client, proxy, server } = await connected();
  proxy.set({ kind: "delay", ms: 80, jitterMs: 40 });
  const start = performance.now();
  for (let i = 0; i < 10; i++) {
    client.socket?.write(`${i}`);
    await Bun.sleep(1);
  }
  await until("all of it", () => server.text === "0123456789");
  expect(performance.now() - start).toBeGreaterThan(79);
});

test("a throttle lets through so many bytes per second", async () => {
  const { client, proxy, server } = await connected();
  proxy.set({ kind: "throttle", bytesPerSecond: 20_000 });
  const start = performance.now();
  client.socket?.write(Buffer.alloc(10_000, "x"));
  await until("10 000 bytes", () => server.text.length === 10_000);
  expect(performance.now() - start).toBeGreaterThan(350);
});

test("byte at a time, the other end gets many small pieces and nothing else", async () => {
  const { client, proxy, server } = await connected();
  proxy.set({ kind: "byte_at_a_time" });
  const text = "0123456789".repeat(50);
  client.socket?.write(text);
  await until("the text", () => server.text.length === text.length);
  expect(server.text).toBe(text);
  expect(server.chunks.length).toBeGreaterThan(5);
});

test("half open, one end is gone and the other is told nothing until the fault is over", async () => {
  const { client, proxy, server } = await connected();
  proxy.set({ kind: "half_open", keeps: "client" });
  await until("the server's end to go", () => server.closed);
  client.socket?.write("into nothing");
  await Bun.sleep(30);
  expect(client.closed).toBe(false);
  proxy.set(null);
  await until("the client to find out", () => client.closed);
  expect(server.text).toBe("");
});

test("a swallowed reply: the request arrives, its reply does not, and both ends are reset", async () => {
  const { client, proxy, server } = await connected();
  proxy.set({ kind: "swallowed_reply" });
  client.socket?.write("request");
  await until("the request", () => server.text === "request");
  server.socket?.write("reply");
  await until("both ends to be reset", () => client.closed && server.closed);
  expect(client.text).toBe("");
});

test("a fault for one peer leaves the connections of others alone", async () => {
  const { client, listen, proxy, server } = await connected();
  client.socket?.write("hello from logic-1.");
  await until("the hello", () => server.text.length > 0);
  const other = new End();
  await Bun.connect({ hostname: HOST, port: listen.port, socket: other.handlers });
  other.socket?.write("hello from push-2.");
  await until("the other hello", () => server.text.includes("push-2."));
  proxy.set({ kind: "cut" }, "push-2.");
  await until("the named one to be reset", () => other.closed);
  expect(client.closed).toBe(false);
});

test("a pipe whose sink is stalled makes its source wait instead of growing", async () => {
  const { client, proxy, server } = await connected();
  proxy.set({ kind: "stall" });
  const chunk = Buffer.alloc(65_536, "y");
  let written = 0;
  let idle = 0;
  while (idle < 50) {
    const more = Math.max(0, client.socket?.write(chunk) ?? 0);
    written += more;
    idle = more === 0 ? idle + 1 : 0;
    await Bun.sleep(1);
  }
  expect(written).toBeLessThan(64 * 1_048_576);
  proxy.set(null);
  await until("everything", () => server.chunks.reduce((n, c) => n + c.length, 0) === written);
});
