/**
 * The load scripts of k6/, each for a few seconds with the real k6 against a cluster of one process
 * per role and more. A threshold that is crossed ends k6 with 99, so an exit code of 0 says that
 * nothing failed, went missing or came out of order; the times are those of a shared machine, and so
 * their thresholds are wide here.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { Cluster } from "../integration/cluster.ts";
import { PROJECT } from "../integration/process_program.ts";
import { RawClient } from "../integration/raw_client.ts";

setDefaultTimeout(90_000);
let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ layout: "split" });
}, 60_000);
afterAll(() => cluster.stop(), 30_000);

type Metrics = Record<string, { readonly count?: number; readonly passes?: number } | undefined>;

/** Runs a script to its end and gives what it counted. */
async function k6(script: string, args: string[], env: Record<string, string>): Promise<Metrics> {
  const summary = join(cluster.dir, `${script}.json`);
  const variables = Object.entries({ P95_MS: "10000", ...env }).flatMap(([name, value]) => [
    "-e",
    `${name}=${value}`,
  ]);
  const child = Bun.spawn(
    ["k6", "run", "--quiet", "--summary-export", summary, ...args, ...variables, `k6/${script}`],
    {
      cwd: PROJECT,
      env: { PATH: process.env.PATH ?? "", HOME: cluster.dir, K6_NO_USAGE_REPORT: "true" },
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`k6 ${script} ended with ${code}:\n${out.slice(-4_000)}${err}`);
  return ((await Bun.file(summary).json()) as { metrics: Metrics }).metrics;
}

const gateway = () => `http://${cluster.gateways()[0]}`;

test("send-system-push.js: every push is answered 200, and who is online gets every one", async () => {
  const watchers = await Promise.all(
    ["k6-w1", "k6-w2"].map((user) => RawClient.connect(cluster.gateways()[0] ?? "", user)),
  );
  const base = cluster.http("logic");
  const env = { BASE_URL: base, RECIPIENTS: "k6-w1,k6-w2", PER_PUSH: "2" };
  const metrics = await k6("send-system-push.js", ["--vus", "10", "--duration", "3s"], env);
  const requests = metrics.http_reqs?.count ?? 0;
  expect(requests).toBeGreaterThan(20);
  for (const watcher of watchers) expect(await watcher.received(requests)).toHaveLength(requests);
  for (const watcher of watchers) watcher.close();
});

test("send-system-push.js works by way of the gateway, too", async () => {
  const env = { BASE_URL: gateway(), USERS: "50", PER_PUSH: "10" };
  const metrics = await k6("send-system-push.js", ["--vus", "4", "--iterations", "40"], env);
  expect(metrics.http_reqs?.count).toBe(40);
});

test("chat.js: pairs chat, nothing is missing or out of order", async () => {
  const env = { BASE_URL: gateway(), MESSAGES: "20" };
  const metrics = await k6("chat.js", ["--vus", "10", "--iterations", "10"], env);
  expect(metrics.chat_delivered?.count).toBe(400);
});

test("connect.js: connections are opened, held and closed", async () => {
  const env = { BASE_URL: gateway(), PER_VU: "20", RAMP_S: "1", HOLD_S: "2" };
  const metrics = await k6("connect.js", ["--vus", "5", "--iterations", "5"], env);
  expect(metrics.connect_opened?.count).toBe(100);
});

test("offline-replay.js: what waited comes, whole and in order", async () => {
  const env = { BASE_URL: gateway(), MESSAGES: "50" };
  const metrics = await k6("offline-replay.js", ["--vus", "5", "--iterations", "10"], env);
  expect(metrics.replay_messages?.count).toBe(500);
});
