import { afterEach, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { type Endpoint, HttpOfflineStore } from "../../src/core/offline/http_store.ts";
import type { OfflineRole } from "../../src/roles/offline/role.ts";
import { CLUSTER_SECRET, makeRow, startRole, temporaryDirectory } from "./offline_stores.ts";

const owner = { partition: 0, epoch: 1 };
const host = "127.0.0.1";
let directory: ReturnType<typeof temporaryDirectory>;
let role: OfflineRole;
let endings: (() => void)[] = [];

beforeEach(async () => {
  directory = temporaryDirectory();
  role = await startRole(join(directory.path, "offline.db"));
});

afterEach(async () => {
  for (const end of endings) end();
  endings = [];
  await role.stop();
  directory.remove();
});

const client = (endpoints: Endpoint[], options: object = {}) => {
  const base = { clusterSecret: CLUSTER_SECRET, clock: systemClock, timeoutMs: 500 };
  return new HttpOfflineStore({ ...base, endpoints: () => endpoints, ...options });
};

/** A node that takes connections and requests but never answers. */
function silentNode(): Endpoint {
  const server = Bun.listen({ hostname: host, port: 0, socket: { data() {} } });
  endings.push(() => server.stop(true));
  return { host, port: server.port };
}

/** A node whose replies are lost: it passes requests on, waits for the answer, then hangs up. */
function lossyNode(): Endpoint & { readonly passed: () => number } {
  let passed = 0;
  const server = Bun.listen<{ upstream: Promise<{ write(data: Uint8Array): number }> }>({
    hostname: host,
    port: 0,
    socket: {
      open(downstream) {
        const upstream = Bun.connect({
          hostname: host,
          port: role.port,
          socket: {
            data() {
              passed++;
              downstream.terminate();
            },
          },
        });
        downstream.data = { upstream };
      },
      async data(downstream, bytes) {
        (await downstream.data.upstream).write(bytes);
      },
    },
  });
  endings.push(() => server.stop(true));
  return { host, port: server.port, passed: () => passed };
}

/** Nothing listens on port 1. A port that was free a moment ago might be the next node's. */
const deadNode = (): Endpoint => ({ host, port: 1 });

const live = (): Endpoint => ({ host, port: role.port });

test("a call goes to the next node when one is dead, silent or loses the reply", async () => {
  for (const failing of [deadNode(), silentNode(), lossyNode()]) {
    const store = client([failing, live()]);
    const user = `user-${failing.port}`;
    const rows = [makeRow(user), makeRow(user)];
    // Two calls, so that each node is asked first once.
    await store.archive(owner, rows.slice(0, 1));
    await store.archive(owner, rows.slice(1));
    expect((await store.page(user, null, 10, 1)).rows).toEqual(rows);
  }
});

test("archiving again after a lost reply stores once", async () => {
  const lossy = lossyNode();
  const row = makeRow("ann");
  const unsure = client([lossy]);
  expect(unsure.archive(owner, [row])).rejects.toMatchObject({ code: "unavailable" });
  await unsure.archive(owner, [row]).catch(() => {});
  expect(lossy.passed()).toBeGreaterThan(0);
  expect(await client([live()]).count()).toBe(1);
  await client([live()]).archive(owner, [row]);
  expect((await role.store.page("ann", null, 10, 1)).rows).toEqual([row]);
});

test("a silent node costs its time once, then it is asked last", async () => {
  const store = client([silentNode(), live()]);
  await store.count();
  await store.count();
  const startedAt = performance.now();
  for (let call = 0; call < 6; call++) await store.count();
  expect(performance.now() - startedAt).toBeLessThan(400);
});

test("without a node that lives, and with a silent one, it is unavailable in time", async () => {
  const startedAt = performance.now();
  expect(
    await client([])
      .count()
      .catch((error) => error.code),
  ).toBe("unavailable");
  expect(
    await client([silentNode()])
      .count()
      .catch((error) => error.code),
  ).toBe("unavailable");
  expect(performance.now() - startedAt).toBeLessThan(1_500);
});

test("a wrong secret is refused, not tried elsewhere", async () => {
  const store = client([live()], { clusterSecret: "another-secret-entirely" });
  expect(store.count()).rejects.toMatchObject({ code: "unauthorized" });
});

test("more calls than may be open are refused as overloaded", async () => {
  const store = client([silentNode()], { callsMax: 2 });
  const open = [store.count(), store.count()];
  expect(store.count()).rejects.toMatchObject({ code: "overloaded" });
  const fates = await Promise.allSettled(open);
  for (const fate of fates) expect(fate).toMatchObject({ reason: { code: "unavailable" } });
});
