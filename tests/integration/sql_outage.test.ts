/** The database goes away under people who chat: those who are there notice nothing. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Cluster } from "./cluster.ts";
import { type PostgresServer, startPostgres } from "./postgres_server.ts";
import { RawClient } from "./raw_client.ts";

const START_MS = 120_000;
const RUN_MS = 120_000;
const COUNT = 40;

let postgres: PostgresServer;
let cluster: Cluster;

beforeAll(async () => {
  postgres = await startPostgres();
  const databaseUrl = await postgres.createDatabase();
  cluster = await Cluster.start({ layout: "split", databaseUrl });
}, START_MS);
afterAll(async () => {
  await cluster?.stop();
  await postgres?.stop();
}, START_MS);

test(
  "while the database is away people chat on, and who was offline gets everything after it is back",
  async () => {
    const [gateway] = cluster.gateways() as [string];
    const alice = await RawClient.connect(gateway, "alice-sql");
    const bob = await RawClient.connect(gateway, "bob-sql");
    const contents = (name: string) => Array.from({ length: COUNT }, (_, i) => `${name} ${i}`);
    const sent = () => alice.frames.filter(({ type }) => type === "sent").length;
    alice.chat("bob-sql", "before", "l-first");
    await bob.received(1);
    await postgres.kill();
    for (const [i, content] of contents("live").entries()) alice.chat("bob-sql", content, `l${i}`);
    for (const [i, content] of contents("kept").entries())
      alice.chat("carol-sql", content, `k${i}`);
    const live = await bob.received(1 + COUNT);
    expect(live.slice(1).map(({ content }) => content)).toEqual(contents("live"));
    await alice.until(() => sent() === 1 + 2 * COUNT, "all are sent");
    // Longer than it takes to give an offline user's messages to the store.
    await Bun.sleep(7_000);
    alice.chat("bob-sql", "still here", "l-last");
    expect((await bob.received(COUNT + 2)).at(-1)?.content).toBe("still here");
    await postgres.restart();
    const carol = await RawClient.connect(gateway, "carol-sql");
    const kept = await carol.received(COUNT);
    expect(kept.map(({ content }) => content)).toEqual(contents("kept"));
    for (const client of [alice, bob, carol]) client.close();
  },
  RUN_MS,
);
