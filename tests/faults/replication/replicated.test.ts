/**
 * DURABILITY=replicated, where it counts: the replica hangs, the primary dies with everything that
 * the replica has not got, and the replica is promoted by Sentinels, all under people who chat. Push
 * stands still meanwhile, so that what is accepted is in Redis and nowhere else. The same with
 * DURABILITY=fsync loses messages: that is what the first test would see.
 */
import { afterEach, expect, test } from "bun:test";
import { checkHistory } from "../../../src/sim/checker.ts";
import { SeededRandom } from "../../../src/sim/seeded_random.ts";
import { Cluster } from "../../integration/cluster.ts";
import { ClientLog } from "../clients/client_log.ts";
import { Population } from "../clients/population.ts";
import { Traffic } from "../clients/traffic.ts";
import { ReplicatedRedis } from "./replicated_redis.ts";

const TEST_MS = 120_000;
const MESSAGES = 1_800;
const SECONDS = 9;
/** Before the replica hangs, while it does, and after the promotion. */
const PHASE_MS = 1_500;
/** What was confirmed by the replica just before it hung is still on its way to the client. */
const ON_THE_WAY_MS = 500;
/** So long push stands still before the replica hangs: what is confirmed then must survive. */
const BACKLOG_MS = 300;
const REST_MS = 60_000;

const now = () => performance.timeOrigin + performance.now();
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function people(durability: "replicated" | "fsync") {
  const redis = await ReplicatedRedis.start();
  cleanups.push(() => redis.stop());
  const env = { REDIS_URL: redis.url, DURABILITY: durability };
  const cluster = await Cluster.start({ layout: "split", env });
  cleanups.push(() => cluster.stop());
  const random = new SeededRandom(61);
  const log = new ClientLog(now);
  const gateways = cluster.gateways();
  const population = new Population({ log, random, users: 16, gateways });
  cleanups.push(() => population.stop());
  expect(await population.untilOnline(20_000)).toBe(true);
  const load = { messages: MESSAGES, seconds: SECONDS };
  const traffic = new Traffic({ log, random, population, gateways, ...load });
  cleanups.push(() => traffic.stop());
  await traffic.createGroups();
  traffic.start();
  const push = (signal: "SIGSTOP" | "SIGCONT") => {
    for (const { process, roles } of cluster.nodes) if (roles === "push") process.kill(signal);
  };
  cleanups.push(() => push("SIGCONT"));
  return { log, population, push, redis, traffic };
}

type People = Awaited<ReturnType<typeof people>>;

/** Returns how many were accepted before the replica hung, and in all when the primary died. */
async function loseThePrimary({ log, push, redis }: People) {
  await Bun.sleep(PHASE_MS);
  push("SIGSTOP");
  await Bun.sleep(BACKLOG_MS);
  redis.stallReplica();
  await Bun.sleep(ON_THE_WAY_MS);
  const before = log.accepted;
  await Bun.sleep(PHASE_MS);
  const after = log.accepted;
  await redis.promoteReplica();
  await redis.addReplica();
  push("SIGCONT");
  return { after, before };
}

test(
  "promoting a replica that hung loses nothing that was accepted, and nothing is accepted meanwhile",
  async () => {
    const all = await people("replicated");
    const { log, population, traffic } = all;
    const { after, before } = await loseThePrimary(all);
    expect(before).toBeGreaterThan(50);
    expect(after).toBe(before);
    const lastFaultAt = now();
    const until = performance.now() + REST_MS;
    while (log.accepted < MESSAGES && performance.now() < until) await Bun.sleep(50);
    traffic.stop();
    while (population.undecided() > 0 && performance.now() < until) await Bun.sleep(50);
    // Stored by now, if it was accepted and not delivered.
    await Bun.sleep(PHASE_MS);
    const verdict = checkHistory(log.history.events, { lastFaultAt, recoveryMs: 15_000 });
    expect(verdict.violations).toEqual([]);
    expect(verdict.accepted).toBeGreaterThan(before + 100);
  },
  TEST_MS,
);

test(
  "with the disk of the primary alone, the same loses what was accepted while the replica hung",
  async () => {
    const all = await people("fsync");
    const { after, before } = await loseThePrimary(all);
    expect(after).toBeGreaterThan(before + 50);
    await Bun.sleep(PHASE_MS);
    const verdict = checkHistory(all.log.history.events, { lastFaultAt: now() });
    const lost = verdict.violations.filter(({ rule }) => rule.startsWith("what was accepted"));
    expect(lost.length).toBeGreaterThan(10);
  },
  TEST_MS,
);
