/** What only a trunk with sockets can get wrong: strangers, pieces, congestion, twins. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { prove } from "../../src/core/trunk/auth.ts";
import {
  DataEncoder,
  decodeHello,
  encodeFrame,
  encodeHello,
  encodeUp,
  FrameDecoder,
  KIND,
} from "../../src/core/trunk/framing.ts";
import {
  numbered,
  PATIENT_LIMITS,
  TcpCluster,
  type TcpNode,
  TEST_LIMITS,
} from "./trunk_cluster.fixture.ts";

const nonce = "0123456789abcdefghjkmnpqrstvwxyz";

describe("TcpTrunk", () => {
  let cluster: TcpCluster;
  const sockets: (Socket | Server)[] = [];
  beforeEach(() => {
    cluster = new TcpCluster();
  });
  afterEach(() => {
    cluster.end();
    for (const socket of sockets.splice(0)) "destroy" in socket ? socket.destroy() : socket.close();
  });

  const upBetween = (a: TcpNode, b: TcpNode) =>
    cluster.until("the link is up", () => a.trunk.isUp(b.id) && b.trunk.isUp(a.id));
  const heard = (node: TcpNode, event: string) =>
    cluster.until(`${node.id} hears ${event}`, () => node.events.includes(event));
  const refusals = async (node: TcpNode): Promise<number> => {
    const { values } = await node.metrics.authFailures.get();
    return values.find(({ labels }) => labels.reason === "trunk")?.value ?? 0;
  };

  /** A raw connection to `port`, and whether the other end closed it. */
  function stranger(port: number, ...bytes: Uint8Array[]) {
    const socket = connect(port, "127.0.0.1");
    sockets.push(socket);
    const seen = { closed: false, bytes: 0 };
    socket.on("error", () => {});
    socket.on("close", () => {
      seen.closed = true;
    });
    socket.on("data", (chunk) => {
      seen.bytes += chunk.length;
    });
    for (const part of bytes) socket.write(part);
    return seen;
  }

  /** A raw server in the place of a node; returns its port. */
  function impostor(onSocket: (socket: Socket) => void): number {
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => {});
      onSocket(socket);
    }).listen(0, "127.0.0.1");
    sockets.push(server);
    const address = server.address();
    return typeof address === "object" ? (address?.port ?? 0) : 0;
  }

  /** A link to `b` that a node "a" has proved, up to the point where it says `up`. */
  async function provedLink(port: number) {
    const socket = connect(port, "127.0.0.1");
    sockets.push(socket);
    const link = { socket, proved: false, closed: false };
    const decoder = new FrameDecoder();
    socket.on("error", () => {});
    socket.on("close", () => {
      link.closed = true;
    });
    socket.on("data", (chunk) => {
      decoder.feed(Buffer.from(chunk), (kind, payload) => {
        const acceptor = kind === KIND.hello ? decodeHello(payload) : undefined;
        if (acceptor !== undefined) {
          const proof = prove("cluster secret", "dial", {
            dialler: { node: "a", nonce },
            acceptor,
          });
          socket.write(encodeFrame(KIND.proof, proof));
        }
        link.proved ||= kind === KIND.proof;
        return true;
      });
    });
    socket.write(encodeHello({ node: "a", nonce }));
    await cluster.until("b proves itself", () => link.proved);
    return link;
  }

  const frame = (kind: number, text: string) => encodeFrame(kind, Buffer.from(text));

  test("refuses a peer with another secret, counts it, and gives it nothing", async () => {
    const a = cluster.node("a");
    const b = cluster.node("b", undefined, "another secret");
    a.trunk.dial([{ id: "b", host: "127.0.0.1", port: b.port }]);
    b.trunk.dial([{ id: "a", host: "127.0.0.1", port: a.port }]);
    await cluster.pass(200);
    expect([a.events, b.events]).toEqual([["up a"], ["up b"]]);
    expect(await refusals(a)).toBeGreaterThan(0);
    expect(await refusals(b)).toBeGreaterThan(0);
  });

  test("passes messages over a connection that brings one byte at a time", async () => {
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    cluster.proxy(a, "b").bytewise = true;
    cluster.dial(a, b);
    await upBetween(a, b);
    for (let n = 0; n < 20; n++) a.trunk.send("b", numbered(n, 100));
    await heard(b, "a 19");
    expect(b.events.slice(2)).toEqual(Array.from({ length: 20 }, (_, n) => `a ${n}`));
  });

  test("hangs up on garbage, on a large claim and on messages before the proof", async () => {
    const { port, events } = cluster.node("b");
    const hello = encodeHello({ node: "a", nonce });
    const large = Buffer.from([0x7f, 0xff, 0xff, 0xff, KIND.data]);
    const strangers = [
      stranger(port, Buffer.from("GET / HTTP/1.1\r\nHost: trunk\r\n\r\n")),
      stranger(port, hello, large),
      stranger(port, hello, frame(KIND.data, JSON.stringify([numbered(1)]))),
      stranger(port, hello, frame(KIND.up, "\0\0\0\x01")),
      stranger(port, hello, frame(KIND.proof, "x".repeat(32))),
      stranger(port, encodeHello({ node: "b", nonce })),
    ];
    const before = performance.now();
    await cluster.until("all are hung up on", () => strangers.every(({ closed }) => closed));
    expect(performance.now() - before).toBeLessThan(TEST_LIMITS.TRUNK_TIMEOUT_MS);
    expect(events).toEqual(["up b"]);
  });

  test("hangs up on whoever has not proved itself within the timeout", async () => {
    const { port } = cluster.node("b");
    const mute = stranger(port);
    const dripping = stranger(port, encodeHello({ node: "a", nonce }).subarray(0, 8));
    await cluster.until("both are hung up on", () => mute.closed && dripping.closed);
  });

  test("gives an unproved stranger no proof to guess the secret from", async () => {
    const { port } = cluster.node("b");
    const seen = stranger(port, encodeHello({ node: "a", nonce }));
    await cluster.until("it is hung up on", () => seen.closed);
    expect(seen.bytes).toBe(encodeHello({ node: "b", nonce }).length);
  });

  test("refuses what a genuine link said, replayed", async () => {
    const b = cluster.node("b");
    const recorded: Buffer[] = [];
    const port = impostor((near) => {
      const far = connect(b.port, "127.0.0.1");
      sockets.push(far);
      near.on("data", (chunk) => recorded.push(Buffer.from(chunk)));
      near.pipe(far).pipe(near);
    });
    const a = cluster.node("a");
    a.trunk.dial([{ id: "b", host: "127.0.0.1", port }]);
    await upBetween(a, b);
    expect(await refusals(b)).toBe(0);
    const replay = stranger(b.port, ...recorded);
    await cluster.until("the replay is hung up on", () => replay.closed);
    expect(await refusals(b)).toBe(1);
    expect(b.events).toEqual(["up b", "up a"]);
  });

  test("refuses its own proof, sent back by an impostor of the node it dials", async () => {
    const a = cluster.node("a");
    const port = impostor((socket) => {
      socket.write(encodeHello({ node: "b", nonce }));
      // What it says after its hello is its proof.
      let skip = encodeHello({ node: "a", nonce }).length;
      socket.on("data", (chunk) => {
        const bytes = Buffer.from(chunk);
        socket.write(bytes.subarray(skip));
        skip = Math.max(0, skip - bytes.length);
      });
    });
    a.trunk.dial([{ id: "b", host: "127.0.0.1", port }]);
    await cluster.pass(100);
    expect(await refusals(a)).toBeGreaterThan(0);
    expect(a.events).toEqual(["up a"]);
  });

  test("does not take another node for the one that it dials, nor itself", async () => {
    const [a, c] = [cluster.node("a"), cluster.node("c")];
    a.trunk.dial([
      { id: "b", host: "127.0.0.1", port: c.port },
      { id: "d", host: "127.0.0.1", port: a.port },
    ]);
    await cluster.pass(150);
    expect([a.events, c.events]).toEqual([["up a"], ["up c"]]);
  });

  test("replaces a link by a newer one of the same node, and hears the older no more", async () => {
    const b = cluster.node("b");
    const older = cluster.node("a");
    const peers = [{ id: "b", host: "127.0.0.1", port: b.port }];
    older.trunk.dial(peers);
    await upBetween(older, b);
    const newer = cluster.node("a");
    newer.trunk.dial(peers);
    await cluster.until("the newer replaces it", () => {
      older.trunk.send("b", numbered(1));
      return b.events.includes("down a");
    });
    older.trunk.stop();
    await cluster.until("the newer is up", () => newer.trunk.isUp("b"));
    newer.trunk.send("b", numbered(2));
    await heard(b, "a 2");
    expect(b.events.slice(b.events.indexOf("down a"))).toEqual(["down a", "up a", "a 2"]);
  });

  test("takes no link for the newest whose `up` comes late, after a newer one", async () => {
    const b = cluster.node("b");
    const data: Buffer[] = [];
    new DataEncoder(1_000).encode([numbered(1)], (bytes) => data.push(Buffer.from(bytes)));
    const message = Buffer.concat(data);
    const older = await provedLink(b.port);
    const newer = await provedLink(b.port);
    newer.socket.write(Buffer.concat([encodeUp(2), message]));
    await heard(b, "a 1");
    older.socket.write(Buffer.concat([encodeUp(1), message]));
    await cluster.until("the older is hung up on", () => older.closed);
    newer.socket.write(message);
    await cluster.until("the newer goes on", () => b.events.length === 4);
    expect(b.events).toEqual(["up b", "up a", "a 1", "a 1"]);
    expect(newer.closed).toBe(false);
  });

  test("delivers everything in order over a link that was congested for a while", async () => {
    cluster = new TcpCluster({ ...PATIENT_LIMITS, TRUNK_BUFFER_BYTES_MAX: 67_108_864 });
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    cluster.dial(a, b);
    await upBetween(a, b);
    cluster.stall(a, b);
    for (let n = 0; n < 1_000; n++) {
      a.trunk.send("b", numbered(n, n % 3 === 0 ? 60_000 : 100));
      if (n % 10 === 0) await cluster.pass(0);
    }
    cluster.proxy(a, "b").resume();
    await heard(b, "a 999");
    expect(b.events.slice(2)).toEqual(Array.from({ length: 1_000 }, (_, n) => `a ${n}`));
  });

  test("settles on one working link however two nodes dial and lose each other", async () => {
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    cluster.dial(a, b);
    cluster.dial(b, a);
    for (let round = 0; round < 10; round++) {
      await upBetween(a, b);
      const downs = () => a.events.filter((event) => event === "down b").length;
      const before = downs();
      cluster.cut(a, b);
      cluster.cut(b, a);
      await cluster.until("a has noticed", () => downs() > before);
    }
    await cluster.pass(200);
    await upBetween(a, b);
    a.trunk.send("b", numbered(1));
    b.trunk.send("a", numbered(2));
    await heard(b, "a 1");
    await heard(a, "b 2");
  });

  test("counts the links that are up and the bytes both ways", async () => {
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    cluster.dial(a, b);
    await upBetween(a, b);
    a.trunk.send("b", numbered(1, 10_000));
    await heard(b, "a 1");
    const bytes = async (node: TcpNode, direction: string) => {
      const { values } = await node.metrics.trunkBytes.get();
      return values.find(({ labels }) => labels.direction === direction)?.value ?? 0;
    };
    expect(await bytes(a, "out")).toBeGreaterThan(10_000);
    expect(await bytes(b, "in")).toBe(await bytes(a, "out"));
    expect((await a.metrics.trunkLinks.get()).values[0]?.value).toBe(1);
    b.trunk.stop();
    await heard(a, "down b");
    expect((await a.metrics.trunkLinks.get()).values[0]?.value).toBe(0);
  });
});
