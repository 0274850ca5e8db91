import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  generateDrizzleJson,
  generateMigration,
  generateSQLiteDrizzleJson,
  generateSQLiteMigration,
} from "drizzle-kit/api";
import * as postgresSchema from "../schema_postgres.ts";
import * as sqliteSchema from "../schema_sqlite.ts";
import { journalTags, migrationList } from "./generate.ts";
import { hashOf, type Migration, pendingMigrations, statementsOf } from "./migration.ts";
import { postgresMigrations } from "./postgres_list.ts";
import { sqliteMigrations } from "./sqlite_list.ts";

const read = (path: string) => readFileSync(join(import.meta.dir, path), "utf8");

function latestSnapshot(engine: string): string {
  const names = readdirSync(join(import.meta.dir, engine, "meta"));
  return read(
    join(
      engine,
      "meta",
      names
        .filter((name) => name.endsWith("snapshot.json"))
        .sort()
        .at(-1) ?? "",
    ),
  );
}

test("the migrations of SQLite make what its schema says", async () => {
  const latest = JSON.parse(latestSnapshot("sqlite"));
  const now = await generateSQLiteDrizzleJson(sqliteSchema, latest.id);
  expect(await generateSQLiteMigration(latest, now)).toEqual([]);
});

test("the migrations of Postgres make what its schema says", async () => {
  const latest = JSON.parse(latestSnapshot("postgres"));
  const now = generateDrizzleJson(postgresSchema, latest.id);
  expect(await generateMigration(latest, now)).toEqual([]);
});

test("the program holds every generated migration, in order", async () => {
  const lists = { sqlite: sqliteMigrations, postgres: postgresMigrations };
  for (const [engine, list] of Object.entries(lists)) {
    const tags = await journalTags(engine);
    expect(read(`${engine}_list.ts`)).toBe(migrationList(engine, tags));
    const texts = tags.map((tag): Migration => ({ tag, sql: read(`${engine}/${tag}.sql`) }));
    expect([...list]).toEqual(texts);
    for (const statement of list.flatMap(statementsOf)) expect(statement).not.toBe("");
  }
});

test("what was applied is not applied again, and what was changed since is refused", () => {
  const [a, b] = [
    { tag: "0000_a", sql: "CREATE TABLE a (b text)" },
    { tag: "0001_b", sql: "CREATE TABLE b (c text)" },
  ];
  const applied = [{ tag: "0000_a", hash: hashOf(a) }];
  expect(pendingMigrations([a, b], applied)).toEqual([b]);
  expect(pendingMigrations([a, b], [])).toEqual([a, b]);
  expect(() => pendingMigrations([{ ...a, sql: "CREATE TABLE x (y text)" }], applied)).toThrow(
    "0000_a differs",
  );
});
