/**
 * How a process ends, politely and not, and what the next one finds.
 */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster, type Node } from "./cluster.ts";
import { RawClient } from "./raw_client.ts";

const TEST_MS = 90_000;
let cluster: Cluster | null = null;

afterEach(async () => {
  await cluster?.stop();
  cluster = null;
}, TEST_MS);

async function startAll(): Promise<[Cluster, Node, string]> {
  cluster = await Cluster.start({ layout: "all" });
  const [node] = cluster.nodes;
  const [gateway] = cluster.gateways();
  if (node === undefined || gateway === undefined) throw new Error("the cluster has no node");
  return [cluster, node, gateway];
}

const pidsIn = (dir: string) =>
  Bun.spawnSync(["pgrep", "-f", dir]).stdout.toString().split("\n").filter(Boolean).map(Number);

test(
  "SIGTERM: not ready, clients are told when to come back, and it ends with 0 in time",
  async () => {
    const [running, node, gateway] = await startAll();
    const alice = await RawClient.connect(gateway, "alice");
    const bob = await RawClient.connect(gateway, "bob");
    for (let i = 1; i <= 200; i++) alice.chat("carol", `m${i}`, `c${i}`);
    const from = performance.now();
    const exited = running.kill(node, "SIGTERM");
    let refused = 0;
    const watch = (async () => {
      while (node.process.exitCode === null) {
        const answer = await fetch(`http://127.0.0.1:${node.ports.admin}/readyz`).catch(() => null);
        if (answer?.status === 503) refused++;
        await Bun.sleep(10);
      }
    })();
    const byes = await Promise.all([alice.frame("bye"), bob.frame("bye")]);
    for (const bye of byes) {
      expect(bye.reason).toBe("draining");
      expect(bye.reconnect_after_ms).toBeGreaterThanOrEqual(0);
    }
    expect(await Promise.all([alice.closed, bob.closed])).toEqual([4000, 4000]);
    expect(await exited).toBe(0);
    await watch;
    expect(performance.now() - from).toBeLessThan(10_000);
    expect(refused).toBeGreaterThan(0);
    // What was accepted before the end is there after it.
    const accepted = alice.frames.filter((f) => f.type === "accepted").map((f) => f.client_msg_id);
    await running.add("again", "all");
    const carol = await RawClient.connect(running.gateways()[0] as string, "carol");
    await carol.received(accepted.length);
    const got = new Set(carol.unique().map((message) => message.client_msg_id));
    expect(accepted.filter((id) => !got.has(id as string))).toEqual([]);
    carol.close();
  },
  TEST_MS,
);

test(
  "kill -9: the next start finds everything that was accepted, and no Redis is left over",
  async () => {
    const [running, node, gateway] = await startAll();
    const alice = await RawClient.connect(gateway, "alice");
    const bob = await RawClient.connect(gateway, "bob");
    bob.acking = false;
    for (let i = 1; i <= 300; i++) {
      alice.chat(i % 2 ? "bob" : "carol", `m${i}`, `c${i}`);
      if (i % 50 === 0) await Bun.sleep(5);
    }
    await alice.until(() => alice.frames.some((f) => f.type === "accepted"), "something accepted");
    await running.kill(node, "SIGKILL");
    const accepted = alice.frames.filter((f) => f.type === "accepted").map((f) => f.client_msg_id);
    expect(accepted.length).toBeGreaterThan(0);
    await running.add("again", "all");
    const back = running.gateways()[0] as string;
    const [bobAgain, carol] = [
      await RawClient.connect(back, "bob"),
      await RawClient.connect(back, "carol"),
    ];
    const got = () =>
      new Set([bobAgain, carol].flatMap((c) => c.unique().map((m) => m.client_msg_id)));
    const until = performance.now() + 15_000;
    while (performance.now() < until && !accepted.every((id) => got().has(id as string))) {
      await Bun.sleep(20);
    }
    expect(accepted.filter((id) => !got().has(id as string))).toEqual([]);
    for (const client of [bobAgain, carol]) {
      const seqs = client.unique().map((message) => message.seq);
      expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
      client.close();
    }
    await running.stop();
    expect(pidsIn(running.dir)).toEqual([]);
  },
  TEST_MS,
);

test(
  "two processes cannot share a data directory: the second says why",
  async () => {
    const [running] = await startAll();
    const second = running.add("second", "all");
    await expect(second).rejects.toThrow(/another process|works in/);
    running.nodes.pop();
  },
  TEST_MS,
);

test(
  "a wrong environment is refused with the variable, what it got and what it takes",
  async () => {
    const child = Bun.spawn(["bun", "src/main.ts"], {
      cwd: join(import.meta.dir, "../.."),
      env: { PATH: process.env.PATH ?? "", GATEWAY_PORT: "eighty", ROLE: "gateway" },
      stderr: "pipe",
    });
    expect(await child.exited).toBe(1);
    const said = await new Response(child.stderr).text();
    expect(said).toContain('GATEWAY_PORT: got "eighty"');
    expect(said).toContain("CLUSTER_SECRET: got nothing");
    expect(said).toContain("REDIS_URL: got nothing");
  },
  TEST_MS,
);

test(
  "a missing redis-server is named with the one command to run",
  async () => {
    const child = Bun.spawn(["bun", "src/main.ts"], {
      cwd: join(import.meta.dir, "../.."),
      env: {
        PATH: process.env.PATH ?? "",
        DATA_DIR: mkdtempSync(join(tmpdir(), "chatify-")),
        REDIS_SERVER_PATH: "redis-server-that-is-not-there",
        LOG_LEVEL: "fatal",
      },
      stdout: "pipe",
    });
    expect(await child.exited).toBe(1);
    const said = await new Response(child.stdout).text();
    expect(said).toContain("redis-server-that-is-not-there");
    expect(said).toMatch(/apt-get install|brew install|scripts\/up/);
  },
  TEST_MS,
);
