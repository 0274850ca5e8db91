/**
 * What people do all day, all at once: 50 pairs exchange 20 000 messages while one side of each pair
 * comes and goes. On SQLite in one process and on Postgres with every role by itself.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { churn } from "./churn.ts";
import { Cluster, type Layout } from "./cluster.ts";
import { type PostgresServer, startPostgres } from "./postgres_server.ts";

const START_MS = 90_000;
const RUN_MS = 180_000;
const PAIRS = 50;
const MESSAGES = 20_000;

const setups: [layout: Layout, engine: "SQLite" | "Postgres"][] = [
  ["all", "SQLite"],
  ["split", "Postgres"],
];

for (const [layout, engine] of setups) {
  describe(`100 users on layout ${layout} with ${engine}`, () => {
    let cluster: Cluster;
    let postgres: PostgresServer | null = null;

    beforeAll(async () => {
      if (engine === "Postgres") postgres = await startPostgres();
      const database = postgres === null ? {} : { databaseUrl: await postgres.createDatabase() };
      cluster = await Cluster.start({ layout, ...database });
    }, START_MS);
    afterAll(async () => {
      await cluster?.stop();
      await postgres?.stop();
    }, START_MS);

    test(
      "every message arrives once after dedup, and in order, while users come and go",
      async () => {
        const results = await churn({
          gateways: cluster.gateways(),
          pairs: PAIRS,
          messagesPerPair: MESSAGES / PAIRS,
          seed: 1,
        });
        let messages = 0;
        let reconnects = 0;
        for (const { sent, received, reconnects: count } of results) {
          messages += received.length;
          reconnects += count;
          const contents = received.map((message) => message.content).sort();
          expect(contents).toEqual([...sent].sort());
          for (let i = 1; i < received.length; i++) {
            const [before, after] = [received[i - 1]?.seq ?? 0, received[i]?.seq ?? 0];
            if (after <= before) throw new Error(`seq ${after} came after seq ${before}`);
          }
        }
        expect(messages).toBe(MESSAGES);
        expect(reconnects).toBeGreaterThan(PAIRS);
      },
      RUN_MS,
    );
  });
}
