import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { type Clock, systemClock } from "../../core/clock.ts";
import { silentLedger } from "../../core/ledger/contract.ts";
import type { OfflineRow } from "../../core/offline/contract.ts";
import { createMetrics } from "../../core/telemetry/metrics.ts";
import { silentTracer } from "../../core/telemetry/trace.ts";
import { createOfflineRole, type OfflineRoleDeps } from "./role.ts";
import { openSqliteStore } from "./sqlite_store.ts";
import { SWEEP_EVERY_MS } from "./sweeper.ts";

const directory = mkdtempSync(join(tmpdir(), "chatify-role-"));
afterAll(() => rmSync(directory, { recursive: true }));

const nowS = 1_800_000_000;
const owner = { partition: 0, epoch: 1 };
let files = 0;

const row = (msg_id: string, expire_time: number): OfflineRow => ({
  user_id: "ann",
  msg_id,
  conversation_id: "u:ann:bob",
  seq: 1,
  expire_time,
  stored_at: 1,
  message: "{}",
});

/** A role on a file of its own, whose sweeps happen when the test says so. */
function fixture(options: Partial<OfflineRoleDeps> = {}) {
  const path = join(directory, `${files++}.db`);
  const ticks: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    now: () => nowS * 1_000,
    every(ms, fn) {
      if (ms === SWEEP_EVERY_MS) ticks.push(fn);
      return { cancel() {} };
    },
  };
  const metrics = createMetrics();
  const telemetry = {
    log: pino({ level: "silent" }),
    metrics,
    tracer: silentTracer,
    ledger: silentLedger,
  };
  const config = { databaseUrl: `sqlite:${path}`, host: "127.0.0.1", port: 0, clusterSecret: "s" };
  const role = createOfflineRole({ config, clock, telemetry, ...options });
  const metric = (name: string) => metrics.registry.getSingleMetricAsString(`chatify_${name}`);
  /** Sweeps until `rows` are left. A tick that comes during a round does nothing, so it is repeated. */
  const sweepTo = async (rows: number) => {
    const until = performance.now() + 10_000;
    for (;;) {
      for (const tick of ticks) tick();
      await Bun.sleep(20);
      const done = (await metric("offline_rows")).endsWith(`chatify_offline_rows ${rows}`);
      if (done || performance.now() > until) return;
    }
  };
  return { role, path, metric, sweepTo };
}

test("serves on the port it says, is ready once started and not after drain", async () => {
  const { role } = fixture();
  expect(role.blockers()).toEqual(["the offline store is not open"]);
  expect(role.store.count()).rejects.toMatchObject({ code: "unavailable" });
  await role.start();
  const ready = () => fetch(`http://127.0.0.1:${role.port}/readyz`);
  expect((await ready()).status).toBe(200);
  expect((await fetch(`http://127.0.0.1:${role.port}/healthz`)).status).toBe(200);
  await role.drain(100);
  expect((await ready()).status).toBe(503);
  await role.stop();
  expect(role.store.count()).rejects.toMatchObject({ code: "unavailable" });
});

test("is not ready while the database fails, and ready again when it works", async () => {
  const { role, path } = fixture();
  await role.start();
  await role.stop();
  const blocker = openSqliteStore({ path, clock: systemClock });
  expect(role.start()).rejects.toThrow("in use by another process");
  await blocker.close();
  await role.start();
  expect(role.blockers()).toEqual([]);
  await role.stop();
});

/** A hundred times as fast, for what waits until a dead node is known to be dead. */
const hurried: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * 100,
  after: (ms, fn) => systemClock.after(ms / 100, fn),
};

test("waits for the node that it replaces to be known as dead", async () => {
  let asked = 0;
  const otherOfflineNodes = async () => (asked++ < 3 ? 1 : 0);
  const { role } = fixture({ otherOfflineNodes, clock: hurried });
  await role.start();
  expect(asked).toBe(4);
  await role.stop();
});

test("refuses SQLite while another offline node lives, and says what to do", async () => {
  const { role } = fixture({ otherOfflineNodes: async () => 2, clock: hurried });
  const reason = await role.start().catch((error: Error) => error.message);
  expect(reason).toContain("2 other offline node(s) live");
  expect(reason).toContain("OFFLINE_DATABASE_URL");
  const alone = fixture({ otherOfflineNodes: async () => 0 });
  await alone.role.start();
  await alone.role.stop();
});

test("a taken port is refused, and the file is free again", async () => {
  const first = fixture();
  await first.role.start();
  const { port } = first.role;
  const second = fixture();
  const config = { databaseUrl: `sqlite:${second.path}`, host: "127.0.0.1", clusterSecret: "s" };
  const taken = fixture({ config: { ...config, port } });
  expect(taken.role.start()).rejects.toThrow(`OFFLINE_PORT=${port}`);
  await taken.role.start().catch(() => {});
  await openSqliteStore({ path: second.path, clock: systemClock }).close();
  await first.role.stop();
});

test("sweeps what expired in batches, counts it and says how many rows are left", async () => {
  const { role, metric, sweepTo } = fixture();
  await role.start();
  const expired = Array.from({ length: 1_203 }, (_, i) => row(`old-${i}`, nowS - 1 - i));
  await role.store.archive(owner, [...expired, row("now", nowS), row("never", 0)]);
  await sweepTo(2);
  expect(await role.store.count()).toBe(2);
  expect(await metric("messages_expired_total")).toContain('{stage="offline"} 1203');
  expect(await metric("offline_rows")).toContain("chatify_offline_rows 2");
  expect(await metric("offline_store_seconds")).toContain('operation="archive"');
  await role.stop();
});

test("public routes refuse everybody when nobody was said to be allowed", async () => {
  const { role } = fixture();
  const path = "/chatify/offline/v1/RetrieveOfflineMessages?user_id=ann";
  expect((await role.app.request(path)).status).toBe(401);
});
