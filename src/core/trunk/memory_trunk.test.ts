import { beforeEach, describe, expect, test } from "bun:test";
import {
  MemoryCluster,
  numbered,
  type TestNode,
} from "../../../tests/integration/trunk_cluster.fixture.ts";

describe("MemoryTrunkHub", () => {
  let cluster: MemoryCluster;
  let a: TestNode;
  let b: TestNode;
  beforeEach(async () => {
    cluster = new MemoryCluster();
    a = cluster.node("a");
    b = cluster.node("b");
    cluster.dial(a, b);
    await cluster.pass(0);
    expect(a.trunk.isUp("b") && b.trunk.isUp("a")).toBe(true);
  });

  test("loses what is on its way when a link is cut, and tells both ends within the call", async () => {
    cluster.hub.delay("a", "b", 10);
    a.trunk.send("b", numbered(1));
    await cluster.pass(5);
    a.trunk.send("b", numbered(2));
    cluster.hub.cut("a", "b");
    expect([a.events.at(-1), b.events.at(-1)]).toEqual(["down b", "down a"]);
    await cluster.pass(1_000);
    a.trunk.send("b", numbered(3));
    await cluster.pass(1_000);
    expect(b.events).toEqual(["up b", "up a", "down a", "up a", "a 3"]);
  });

  test("keeps the order of a link whose delay shrinks", async () => {
    cluster.hub.delay("a", "b", 100);
    a.trunk.send("b", numbered(1));
    await cluster.pass(10);
    cluster.hub.delay("a", "b", 0);
    a.trunk.send("b", numbered(2));
    await cluster.pass(89);
    expect(b.events).toEqual(["up b", "up a"]);
    await cluster.pass(1);
    expect(b.events).toEqual(["up b", "up a", "a 1", "a 2"]);
  });

  test("lets a crashed node hear nothing, and its peers its end after the notice", async () => {
    a.trunk.send("b", numbered(1));
    b.trunk.send("b", numbered(2));
    cluster.hub.crash("b", 100);
    expect(a.trunk.send("b", numbered(3))).toBe(true);
    expect(b.trunk.send("a", numbered(4))).toBe(false);
    await cluster.pass(99);
    expect(a.events).toEqual(["up a", "up b"]);
    await cluster.pass(5_000);
    expect(a.events).toEqual(["up a", "up b", "down b"]);
    expect(b.events).toEqual(["up b", "up a"]);
  });

  test("links nodes that are blocked only once they are not, by the dialler's redial", async () => {
    cluster.hub.block("b", "a");
    cluster.hub.cut("a", "b");
    await cluster.pass(10_000);
    expect(a.trunk.isUp("b")).toBe(false);
    cluster.hub.unblock("a", "b");
    await cluster.pass(2_000);
    expect(a.events).toEqual(["up a", "up b", "down b", "up b"]);
  });

  test("gives a receiver its own copy of what was sent when it was sent", async () => {
    const conns = [1];
    const received: unknown[] = [];
    const c = cluster.node("c", (trunk) => {
      trunk.attach({ onUp() {}, onDown() {}, onMessage: (_, message) => received.push(message) });
    });
    cluster.dial(a, b, c);
    await cluster.pass(0);
    a.trunk.send("c", { to: "access", t: "unregister", conns });
    await cluster.pass(0);
    conns.push(2);
    expect(received).toEqual([{ to: "access", t: "unregister", conns: [1] }]);
  });

  test("links ends that a handler hurts while they are told without losing track", async () => {
    const c = cluster.node("c", (trunk) => {
      trunk.attach({
        onUp: (peer) => peer === "d" && cluster.hub.cut("c", "d"),
        onDown() {},
        onMessage() {},
      });
    });
    const d = cluster.node("d");
    cluster.dial(c, d);
    await cluster.pass(40);
    expect(c.events).toEqual(["up c", "up d", "down d"]);
    expect(d.events).toEqual(["up d"]);
    expect(c.trunk.isUp("d") || d.trunk.isUp("c")).toBe(false);
  });
});
