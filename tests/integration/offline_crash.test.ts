import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import type { OfflineStore } from "../../src/core/offline/contract.ts";
import { openOfflineStore } from "../../src/roles/offline/open_store.ts";
import { openPostgresStore } from "../../src/roles/offline/postgres_store.ts";
import { makeRow, silentTelemetry, temporaryDirectory } from "./offline_stores.ts";
import { type PostgresServer, startPostgres } from "./postgres_server.ts";

const fixture = join(import.meta.dir, "offline_writer.fixture.ts");
const owner = { partition: 0, epoch: 1 };
const deps = { clock: systemClock, telemetry: silentTelemetry() };
const open = (url: string) => openOfflineStore({ ...deps, url });

function spawnWriter(url: string) {
  return Bun.spawn(["bun", fixture, url], { stdout: "pipe", stderr: "pipe" });
}

/** Reads lines until `enough` says so; returns them all. */
async function linesUntil(
  stdout: ReadableStream<Uint8Array>,
  enough: (lines: string[]) => boolean,
): Promise<string[]> {
  const reader = stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    text += decoder.decode(value, { stream: true });
    const lines = text.split("\n").slice(0, -1);
    if (done || enough(lines)) return lines;
  }
}

async function archived(store: OfflineStore): Promise<string[]> {
  const found: string[] = [];
  let cursor: string | null = null;
  do {
    const page = await store.page("ann", cursor, 1_000, 1);
    found.push(...page.rows.map((row) => row.msg_id));
    cursor = page.cursor;
  } while (cursor !== null);
  return found;
}

const firstIds = (count: number) => Array.from({ length: count }, (_, i) => `m-${i}`);

describe("the SQLite file", () => {
  test("a kill -9 during writes keeps every call that resolved, whole and in order", async () => {
    const directory = temporaryDirectory();
    const url = `sqlite://${join(directory.path, "offline.db")}`;
    const writer = spawnWriter(url);
    const lines = await linesUntil(writer.stdout, (all) => all.length > 40);
    writer.kill("SIGKILL");
    await writer.exited;
    const resolved = Number(lines.at(-1));
    expect(resolved).toBeGreaterThan(100);
    const store = await open(url);
    const found = await archived(store);
    expect(found.length).toBeGreaterThanOrEqual(resolved);
    expect(found.length % 5).toBe(0);
    expect(found).toEqual(firstIds(found.length));
    expect(await store.count()).toBe(found.length);
    await store.close();
    directory.remove();
  });

  test("a second process is refused with the reason until the first one is killed", async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, "offline.db");
    const first = spawnWriter(`sqlite://${path}`);
    await linesUntil(first.stdout, (all) => all.includes("open"));
    const link = join(directory.path, "another-name.db");
    symlinkSync(path, link);
    for (const name of [path, link]) {
      const second = spawnWriter(`sqlite:${name}`);
      expect(await second.exited).toBe(1);
      const reason = await new Response(second.stderr).text();
      expect(reason).toContain(`${path} is in use by another process`);
      expect(reason).toContain("OFFLINE_DATABASE_URL");
    }
    first.kill("SIGKILL");
    await first.exited;
    const store = await open(`sqlite://${path}`);
    expect(await store.withRows(["ann"])).toEqual(["ann"]);
    await store.close();
    directory.remove();
  });

  test("is refused to a second store in the same process too, and free after close", async () => {
    const directory = temporaryDirectory();
    const url = `sqlite:${join(directory.path, "new/folder/offline.db")}`;
    const first = await open(url);
    expect(open(url)).rejects.toThrow("in use by another process");
    await first.archive(owner, [makeRow("ann")]);
    await first.close();
    expect(first.count()).rejects.toMatchObject({ code: "unavailable" });
    expect(first.archive(owner, [])).rejects.toMatchObject({ code: "unavailable" });
    const second = await open(url);
    expect(await second.count()).toBe(1);
    await second.close();
    directory.remove();
  });

  test("close waits for the writes that were called before it", async () => {
    const directory = temporaryDirectory();
    const url = `sqlite:${join(directory.path, "offline.db")}`;
    const store = await open(url);
    const writes = [1, 2, 3].map(() => store.archive(owner, [makeRow("ann")]));
    await store.close();
    await Promise.all(writes);
    const again = await open(url);
    expect(await again.count()).toBe(3);
    await again.close();
    directory.remove();
  });
});

describe("the Postgres database", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  }, 60_000);
  afterAll(() => server.stop());

  test("a crash of the server during writes keeps every call that resolved", async () => {
    const store = await open(await server.createDatabase());
    let [resolved, called] = [0, 0];
    const writer = (async () => {
      for (;;) {
        const rows = firstIds(called + 5).slice(called);
        called += 5;
        await store.archive(
          owner,
          rows.map((msg_id) => makeRow("ann", { msg_id })),
        );
        resolved = called;
      }
    })().catch((error: unknown) => error);
    await Bun.sleep(300);
    await server.kill();
    expect(await writer).toMatchObject({ code: "unavailable" });
    expect(resolved).toBeGreaterThan(50);
    await server.restart();
    const found = await archived(store);
    expect(found.length).toBeGreaterThanOrEqual(resolved);
    expect(found).toEqual(firstIds(found.length));
    await store.close();
  }, 30_000);

  test("a server that hangs is unavailable in bounded time, and works when it is back", async () => {
    const url = await server.createDatabase();
    const store = await openPostgresStore({ ...deps, url, timeoutMs: 500 });
    await store.archive(owner, [makeRow("ann")]);
    server.freeze(true);
    const startedAt = performance.now();
    const calls = [store.archive(owner, [makeRow("ann")]), store.page("ann", null, 10, 1)];
    const fates = await Promise.allSettled(calls);
    server.freeze(false);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    for (const fate of fates) expect(fate).toMatchObject({ reason: { code: "unavailable" } });
    await store.archive(owner, [makeRow("ann")]);
    expect((await archived(store)).length).toBeGreaterThanOrEqual(2);
    await store.close();
  }, 30_000);

  test("several nodes may open an empty database at once and share it", async () => {
    const url = await server.createDatabase();
    const stores = await Promise.all([open(url), open(url), open(url)]);
    const rows = stores.map(() => makeRow("ann"));
    await Promise.all(stores.map((store, i) => store.archive(owner, rows.slice(i, i + 1))));
    for (const store of stores) expect(await archived(store)).toHaveLength(3);
    const expired = Array.from({ length: 400 }, () => makeRow("bob", { expire_time: 5 }));
    await stores[0]?.archive(owner, expired);
    const swept = await Promise.all(stores.map((store) => store.sweep(10, 150)));
    expect(swept.flat()).toHaveLength(new Set(swept.flat().map((row) => row.msg_id)).size);
    await Promise.all(stores.map((store) => store.close()));
  }, 30_000);

  test("rows of owners and of the public route become visible in their order", async () => {
    const url = await server.createDatabase();
    const stores = await Promise.all([open(url), open(url)]);
    const seen = new Set<string>();
    let [cursor, writing]: [string | null, boolean] = [null, true];
    const [first, second] = stores as [(typeof stores)[0], (typeof stores)[0]];
    const writers = Array.from({ length: 6 }, async (_, i) => {
      const store = i % 2 === 0 ? first : second;
      for (let n = 0; n < 40; n++) {
        const rows = [makeRow("ann"), makeRow("ann")];
        await (i < 4 ? store.archive(owner, rows) : store.archiveUnfenced(rows));
      }
    });
    const reader = (async () => {
      while (true) {
        const last = !writing;
        const { rows } = await first.page("ann", cursor, 1_000, 1);
        for (const row of rows) seen.add(row.msg_id);
        const id = rows.at(-1)?.msg_id;
        if (id !== undefined) cursor = await first.cursorOf("ann", id);
        if (last) return;
      }
    })();
    await Promise.all(writers);
    writing = false;
    await reader;
    expect(seen.size).toBe(480);
    await Promise.all(stores.map((store) => store.close()));
  }, 30_000);

  test("a database that is not there is waited for, then named in the refusal", async () => {
    const url = `postgres://test@127.0.0.1:${server.port}/no_such_database`;
    const opening = openPostgresStore({ ...deps, url, openMsMax: 600 });
    expect(opening).rejects.toThrow('database "no_such_database" does not exist');
    await opening.catch(() => {});
  });
});

test("a URL of another kind is refused without its password", async () => {
  for (const url of ["mysql://a:secret@b/c", "sqlite://host", "sqlite:", ""]) {
    const reason = await open(url).catch((error: Error) => error.message);
    expect(reason).toContain("must be sqlite:");
    expect(reason).not.toContain("secret");
  }
});
