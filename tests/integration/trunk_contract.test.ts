/** What the trunk's contract says (core/trunk/contract.ts), asked of both trunks in the same words. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Limits } from "../../src/core/limits.ts";
import {
  MemoryCluster,
  numbered,
  PATIENT_LIMITS,
  TcpCluster,
  TEST_LIMITS,
  type TestNode,
  type TrunkCluster,
} from "./trunk_cluster.fixture.ts";

type Create = (limits?: Limits) => TrunkCluster;

const clusters: [name: string, create: Create][] = [
  ["TcpTrunk", (limits) => new TcpCluster(limits)],
  ["MemoryTrunkHub", (limits) => new MemoryCluster(limits)],
];

for (const [name, create] of clusters) describe(name, () => contract(create));

function contract(create: Create): void {
  let cluster: TrunkCluster;
  beforeEach(() => {
    cluster = create();
  });
  afterEach(() => cluster.end());

  const upBetween = (...nodes: TestNode[]) =>
    cluster.until("all links are up", () =>
      nodes.every((node) => nodes.every((peer) => node.trunk.isUp(peer.id))),
    );
  const heard = (node: TestNode, event: string) =>
    cluster.until(`${node.id} hears ${event}`, () => node.events.includes(event));

  async function pair(): Promise<[a: TestNode, b: TestNode]> {
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    cluster.dial(a, b);
    await upBetween(a, b);
    return [a, b];
  }

  test("a node is up to itself from the start, and gets what it sends itself in order", async () => {
    const a = cluster.node("a");
    expect(a.events).toEqual(["up a"]);
    for (const n of [1, 2, 3]) expect(a.trunk.send("a", numbered(n))).toBe(true);
    expect(a.events).toEqual(["up a"]);
    await heard(a, "a 3");
    expect(a.events).toEqual(["up a", "a 1", "a 2", "a 3"]);
  });

  test("what a handler sends to its own node arrives after what was sent before", async () => {
    const a = cluster.node("a", (trunk) => {
      trunk.attach({
        onUp() {},
        onDown() {},
        onMessage(_, message) {
          const n = Number(message.t === "relay" && message.items[0]?.[0][0]);
          if (n < 10) trunk.send("a", numbered(n + 10));
        },
      });
    });
    for (const n of [1, 2]) a.trunk.send("a", numbered(n));
    await heard(a, "a 12");
    expect(a.events).toEqual(["up a", "a 1", "a 2", "a 11", "a 12"]);
  });

  test("every handler of a node sees every message and every link", async () => {
    const seen: string[] = [];
    const b = cluster.node("b", (trunk) => {
      trunk.attach({
        onUp: (peer) => seen.push(`up ${peer}`),
        onDown: (peer) => seen.push(`down ${peer}`),
        onMessage: (peer) => seen.push(`message ${peer}`),
      });
    });
    const a = cluster.node("a");
    cluster.dial(a, b);
    await upBetween(a, b);
    a.trunk.send("b", numbered(1));
    await heard(b, "a 1");
    cluster.stop(a);
    await heard(b, "down a");
    expect(seen).toEqual(["up b", "up a", "message a", "down a"]);
  });

  test("handlers cannot be attached after the start", () => {
    const a = cluster.node("a");
    expect(() => a.trunk.attach({ onUp() {}, onDown() {}, onMessage() {} })).toThrow("before");
  });

  test("messages of a link arrive in order, both ways, over many turns", async () => {
    const [a, b] = await pair();
    for (let n = 0; n < 300; n++) {
      a.trunk.send("b", numbered(n, n * 40));
      b.trunk.send("a", numbered(n, n));
      if (n % 7 === 0) await cluster.pass(0);
    }
    await heard(b, "a 299");
    await heard(a, "b 299");
    const numbers = Array.from({ length: 300 }, (_, n) => n);
    expect(b.events).toEqual(["up b", "up a", ...numbers.map((n) => `a ${n}`)]);
    expect(a.events).toEqual(["up a", "up b", ...numbers.map((n) => `b ${n}`)]);
  });

  test("a turn's messages pass though they are larger than a frame together", async () => {
    const [a, b] = await pair();
    for (let n = 0; n < 10; n++) a.trunk.send("b", numbered(n, 50_000));
    await heard(b, "a 9");
    expect(b.events.slice(2)).toEqual(Array.from({ length: 10 }, (_, n) => `a ${n}`));
  });

  test("a message larger than a frame takes its link down", async () => {
    const [a, b] = await pair();
    a.trunk.send("b", numbered(1, TEST_LIMITS.TRUNK_FRAME_BYTES_MAX));
    expect(a.trunk.isUp("b")).toBe(true);
    await heard(a, "down b");
    await heard(b, "down a");
    expect(b.events).not.toContain("a 1");
  });

  test("nothing is delivered any more once a handler has stopped its node", async () => {
    const a = cluster.node("a");
    const b: TestNode = cluster.node("b", (trunk) => {
      trunk.attach({ onUp() {}, onDown() {}, onMessage: () => cluster.stop(b) });
    });
    cluster.dial(a, b);
    await upBetween(a, b);
    for (const n of [1, 2, 3]) a.trunk.send("b", numbered(n));
    await heard(a, "down b");
    expect(b.events).toEqual(["up b", "up a", "a 1", "down a", "down b"]);
  });

  test("send refuses without a link, and to nodes that nobody knows", async () => {
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    expect(a.trunk.send("b", numbered(1))).toBe(false);
    expect(a.trunk.send("nobody", numbered(1))).toBe(false);
    cluster.dial(a, b);
    await upBetween(a, b);
    expect(b.events).toEqual(["up b", "up a"]);
  });

  test("a cut link is down at both ends before the next one carries anything", async () => {
    const [a, b] = await pair();
    for (let round = 1; round <= 3; round++) {
      cluster.cut(a, b);
      await cluster.until("both have noticed", () => !a.trunk.isUp("b") && !b.trunk.isUp("a"));
      await upBetween(a, b);
      a.trunk.send("b", numbered(round));
      await heard(b, `a ${round}`);
    }
    const round = (n: number) => ["down a", "up a", `a ${n}`];
    expect(b.events).toEqual(["up b", "up a", ...round(1), ...round(2), ...round(3)]);
  });

  test("only a suffix of a link is lost when links are cut under load", async () => {
    const [a, b] = await pair();
    let links = 1;
    let sentOnLink = 0;
    const sent = new Map<number, number>();
    for (let round = 0; round < 40; round++) {
      const linksNow = a.events.filter((event) => event === "up b").length;
      if (linksNow !== links) sentOnLink = 0;
      links = linksNow;
      for (let i = 0; i < 50 && a.trunk.send("b", numbered(links * 1e6 + sentOnLink, 500)); i++) {
        sentOnLink += 1;
      }
      sent.set(links, sentOnLink);
      await cluster.pass(round % 3);
      if (round % 8 === 7) {
        cluster.cut(a, b);
        await cluster.until("a has noticed", () => !a.trunk.isUp("b"));
        await upBetween(a, b);
      }
    }
    a.trunk.send("b", numbered(99e6));
    await heard(b, "a 99000000");
    expect(links).toBeGreaterThan(3);
    let expected = 0;
    for (const event of b.events.slice(2, -1)) {
      if (event === "down a") continue;
      if (event === "up a") {
        expected = 0;
        continue;
      }
      const n = Number(event.slice(2));
      expect(n % 1e6).toBe(expected);
      expect(expected).toBeLessThan(sent.get(Math.floor(n / 1e6)) ?? 0);
      expected += 1;
    }
  });

  test("a link that only its dialler lost is replaced: the other end hears down, then up", async () => {
    const [a, b] = await pair();
    cluster.loseAtDialler(a, b);
    await heard(a, "down b");
    await upBetween(a, b);
    await cluster.until("b has the new link", () => b.events.length >= 4);
    a.trunk.send("b", numbered(1));
    await heard(b, "a 1");
    expect(b.events).toEqual(["up b", "up a", "down a", "up a", "a 1"]);
  });

  test("a link that goes silent is down at both ends within the timeout", async () => {
    const [a, b] = await pair();
    await cluster.pass(TEST_LIMITS.TRUNK_TIMEOUT_MS * 1.5);
    expect(a.events).toEqual(["up a", "up b"]);
    cluster.mute(a, b);
    const before = performance.now();
    await heard(a, "down b");
    await heard(b, "down a");
    expect(performance.now() - before).toBeLessThan(TEST_LIMITS.TRUNK_TIMEOUT_MS * 2);
    await upBetween(a, b);
  });

  test("a peer that does not read costs bounded memory: its link goes down", async () => {
    cluster = create(PATIENT_LIMITS);
    const [a, b] = await pair();
    cluster.stall(a, b);
    let sent = 0;
    await cluster.until("the buffer overflows", () => {
      if (a.trunk.send("b", numbered(sent, 100_000))) sent += 1;
      return a.events.includes("down b");
    });
    await heard(b, "down a");
    expect(sent * 100_000).toBeGreaterThan(TEST_LIMITS.TRUNK_BUFFER_BYTES_MAX);
  });

  test("two nodes that dial each other at once settle on one link that works", async () => {
    const [a, b] = [cluster.node("a"), cluster.node("b")];
    cluster.dial(a, b);
    cluster.dial(b, a);
    await upBetween(a, b);
    await cluster.pass(150);
    await upBetween(a, b);
    expect(a.trunk.send("b", numbered(1)) && b.trunk.send("a", numbered(2))).toBe(true);
    await heard(b, "a 1");
    await heard(a, "b 2");
    expect(a.events.at(-2)).toBe("up b");
    expect(b.events.at(-2)).toBe("up a");
  });

  test("a node that comes later is reached by redialling", async () => {
    const a = cluster.node("a");
    cluster.dial(a, { id: "b" });
    await cluster.pass(100);
    expect(a.events).toEqual(["up a"]);
    const b = cluster.node("b");
    await upBetween(a, b);
    expect(a.events).toEqual(["up a", "up b"]);
  });

  test("dial drops links to nodes that are not listed any more, and no others", async () => {
    const [a, b, c, d] = ["a", "b", "c", "d"].map((id) => cluster.node(id)) as [
      TestNode,
      TestNode,
      TestNode,
      TestNode,
    ];
    cluster.dial(a, b, c);
    cluster.dial(d, a);
    await upBetween(a, b);
    await upBetween(a, c);
    await upBetween(a, d);
    cluster.dial(a, c);
    expect(a.trunk.isUp("b")).toBe(true);
    await heard(b, "down a");
    await cluster.pass(150);
    expect(["b", "c", "d"].map((id) => a.trunk.isUp(id))).toEqual([false, true, true]);
    cluster.dial(a, b, c);
    await upBetween(a, b);
    expect(a.events.filter((event) => event.startsWith("down"))).toEqual(["down b"]);
  });

  test("a stopped node is down to all, itself included, and sends nothing", async () => {
    const [a, b] = await pair();
    b.trunk.send("b", numbered(1));
    cluster.stop(b);
    await heard(a, "down b");
    await cluster.pass(100);
    expect(b.events).toEqual(["up b", "up a", "down a", "down b"]);
    expect(b.trunk.send("a", numbered(1)) || b.trunk.send("b", numbered(1))).toBe(false);
    expect(a.trunk.isUp("b")).toBe(false);
  });
}
