/**
 * What a process refuses to start with, and how it says so.
 */
import { expect, test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster } from "./cluster.ts";

const TEST_MS = 90_000;
const PROJECT = join(import.meta.dir, "../..");

/** Runs the program until it ends, and returns its exit code and what it said. */
async function run(env: Record<string, string>): Promise<[code: number, said: string]> {
  const child = Bun.spawn(["bun", "src/main.ts"], {
    cwd: PROJECT,
    env: { PATH: process.env.PATH ?? "", ...env },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = [new Response(child.stdout).text(), new Response(child.stderr).text()];
  return [await child.exited, (await out) + (await err)];
}

test(
  "two processes cannot share a data directory: the second says why",
  async () => {
    const cluster = await Cluster.start({ layout: "all" });
    try {
      await expect(cluster.add("second", "all")).rejects.toThrow(/another process|works in/);
      cluster.nodes.pop();
    } finally {
      await cluster.stop();
    }
  },
  TEST_MS,
);

test(
  "a wrong environment is refused with the variable, what it got and what it takes",
  async () => {
    const [code, said] = await run({ GATEWAY_PORT: "eighty", ROLE: "gateway" });
    expect(code).toBe(1);
    expect(said).toContain('GATEWAY_PORT: got "eighty"; it takes a port number');
    expect(said).toContain("CLUSTER_SECRET: got nothing");
    expect(said).toContain("REDIS_URL: got nothing");
  },
  TEST_MS,
);

test(
  "a missing redis-server is named with the one command to run",
  async () => {
    const [code, said] = await run({
      DATA_DIR: mkdtempSync(join(tmpdir(), "chatify-")),
      REDIS_SERVER_PATH: "redis-server-that-is-not-there",
    });
    expect(code).toBe(1);
    expect(said).toContain("redis-server-that-is-not-there");
    expect(said).toMatch(/apt-get install|brew install|scripts\/up/);
  },
  TEST_MS,
);
