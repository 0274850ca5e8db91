/**
 * Redis loses what it had confirmed, under people who are connected, on the layout where every role
 * runs by itself: it is emptied, streams and groups are deleted, its file is cut short. The cluster
 * goes on by itself within 10 s, numbers never go back, and what is in SQL is delivered.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Glob } from "bun";
import { Cluster, type Node } from "./cluster.ts";
import { RawClient } from "./raw_client.ts";

const START_MS = 90_000;
const RUN_MS = 120_000;
const RECOVERY_MS = 10_000;

let cluster: Cluster;
let run = 0;

beforeAll(async () => {
  cluster = await Cluster.start({ layout: "split" });
}, START_MS);
afterAll(async () => {
  await cluster?.stop();
}, START_MS);

function redis() {
  if (cluster.redis === null) throw new Error("the cluster has no Redis of its own");
  return cluster.redis;
}

/** Two who are connected and have talked, and one who is away and has messages in SQL. */
class People {
  readonly ann: string;
  readonly bob: string;
  readonly cyn: string;
  private sends = 0;

  private constructor(
    readonly a: RawClient,
    readonly b: RawClient,
    readonly name: string,
  ) {
    [this.ann, this.bob, this.cyn] = [`ann-${name}`, `bob-${name}`, `cyn-${name}`];
  }

  static async meet(): Promise<People> {
    const name = `${++run}`;
    const [first, second] = cluster.gateways() as [string, string];
    const a = await RawClient.connect(first, `ann-${name}`);
    const b = await RawClient.connect(second, `bob-${name}`);
    const people = new People(a, b, name);
    for (let i = 1; i <= 3; i++) await people.say(people.bob, `before ${i}`);
    for (let i = 1; i <= 3; i++) await people.say(people.cyn, `stored ${i}`);
    await b.received(3);
    await people.stored(3);
    return people;
  }

  /** Sends, and repeats as docs/PROTOCOL.md says, until it has its number; resolves with that. */
  async say(to: string, content: string): Promise<number> {
    const id = `${this.name}-${++this.sends}`;
    const sent = () => this.a.frames.find((f) => f.type === "sent" && f.client_msg_id === id);
    const deadline = performance.now() + RECOVERY_MS;
    while (performance.now() < deadline && sent() === undefined) {
      this.a.chat(to, content, id);
      await this.a.until(() => sent() !== undefined, "sent", 1_000).catch(() => {});
    }
    const frame = sent();
    if (frame === undefined) throw new Error(`"${content}" had no number within ${RECOVERY_MS} ms`);
    return Number(frame.seq);
  }

  /** Resolves when so many messages of `cyn` are in SQL. */
  async stored(count: number): Promise<void> {
    const url = `${cluster.http("offline")}/chatify/offline/v1/RetrieveOfflineMessages`;
    for (let i = 0; i < 200; i++) {
      const answer = await fetch(`${url}?user_id=${this.cyn}`);
      const { messages } = (await answer.json()) as { messages: unknown[] };
      if (messages.length >= count) return;
      await Bun.sleep(100);
    }
    throw new Error(`${count} messages did not come into the store`);
  }

  /** What everybody is owed after a loss: to go on, above all numbers, and what SQL holds. */
  async expectToGoOn(lastToBob: number, lastToCyn: number): Promise<void> {
    const next = await this.say(this.bob, "after");
    expect(next).toBeGreaterThan(lastToBob);
    await this.b.until(() => this.b.messages.some((m) => m.content === "after"), "after");
    expect(await this.say(this.cyn, "stored later")).toBeGreaterThan(lastToCyn);
    const c = await RawClient.connect(cluster.gateways()[0] as string, this.cyn);
    await c.until(() => c.messages.some((m) => m.content === "stored later"), "all that is stored");
    const contents = c.unique().map(({ content }) => content);
    expect(contents).toEqual(["stored 1", "stored 2", "stored 3", "stored later"]);
    for (const client of [this.a, this.b, c]) client.close();
  }
}

/** Sums the losses that all nodes have counted so far, by what showed them. */
async function losses(): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  for (const { ports } of cluster.nodes) {
    const page = await (await fetch(`http://127.0.0.1:${ports.admin}/metrics`)).text();
    for (const [, what, n] of page.matchAll(/redis_data_lost_total\{what="(\w+)"[^}]*\} (\d+)/g)) {
      sums.set(what ?? "", (sums.get(what ?? "") ?? 0) + Number(n));
    }
  }
  return sums;
}

async function expectLoss(before: Map<string, number>, ...whats: string[]): Promise<void> {
  const deadline = performance.now() + RECOVERY_MS;
  for (;;) {
    const now = await losses();
    if (whats.some((what) => (now.get(what) ?? 0) > (before.get(what) ?? 0))) return;
    if (performance.now() > deadline) throw new Error(`no loss was counted: ${[...now]}`);
    await Bun.sleep(100);
  }
}

const errorsLogged = (): string[] =>
  cluster.nodes.flatMap(({ output }) =>
    output()
      .split("\n")
      .filter((line) => line.includes("Redis has lost")),
  );

test(
  "after FLUSHALL clients are told, repetitions are recognised, numbers go on, and SQL is delivered",
  async () => {
    const people = await People.meet();
    const { a, bob } = people;
    const lastToBob = await people.say(bob, "last");
    const lastToCyn = 3;
    const first = a.frames.find((frame) => frame.type === "sent");
    const before = await losses();
    await redis().flush();
    await a.until(() => a.frames.some((f) => f.code === "data_lost"), "data_lost", RECOVERY_MS);
    await expectLoss(before, "nodes", "lease");
    expect(errorsLogged().length).toBeGreaterThan(0);
    const answers = a.frames.filter((frame) => frame.type === "sent").length;
    // The owners of the conversation live on, and know what they numbered.
    a.chat(bob, "before 1", String(first?.client_msg_id));
    const again = () => a.frames.filter((frame) => frame.type === "sent")[answers];
    await a.until(() => again() !== undefined, "an answer to a repetition");
    expect(again()).toMatchObject({ msg_id: first?.msg_id, seq: first?.seq });
    await people.expectToGoOn(lastToBob, lastToCyn);
  },
  RUN_MS,
);

test(
  "after a stream was deleted its partitions go on, and the loss is counted",
  async () => {
    const people = await People.meet();
    const before = await losses();
    for (const topic of ["chat_input", "push_task", "user_state"]) {
      const keys = await redis().admin.keys(`${topic}:*`);
      expect(keys.length).toBeGreaterThan(0);
      await redis().admin.del(...keys);
    }
    await expectLoss(before, "stream");
    await people.expectToGoOn(3, 3);
  },
  RUN_MS,
);

test(
  "after a consumer group was deleted nothing is missing",
  async () => {
    const people = await People.meet();
    for (const [topic, group] of [
      ["chat_input", "logic"],
      ["push_task", "push"],
      ["user_state", "push"],
    ] as const) {
      const keys = await redis().admin.keys(`${topic}:*`);
      for (const key of keys) await redis().admin.xgroup("DESTROY", key, group);
    }
    await people.expectToGoOn(3, 3);
  },
  RUN_MS,
);

test(
  "after the append-only file was cut short numbers go on above those that are gone",
  async () => {
    const people = await People.meet();
    const size = redis().fileSize();
    const lastToBob = await people.say(people.bob, "gone 1");
    const before = await losses();
    await redis().crash(size);
    await people.expectToGoOn(lastToBob, 3);
    await expectLoss(before, "lease", "numbers");
  },
  RUN_MS,
);

test(
  "even when no owner is left who remembers them",
  async () => {
    const people = await People.meet();
    const size = redis().fileSize();
    const lastToBob = await people.say(people.bob, "gone 1");
    await Bun.sleep(500); // For SQL to hear of it: CHAT_MARK_MS, and some.
    const logics = cluster.nodes.filter(({ roles }) => roles === "logic");
    await Promise.all(logics.map((node: Node) => cluster.kill(node, "SIGKILL")));
    const before = await losses();
    await redis().crash(size);
    await Promise.all([cluster.add("logic-c", "logic"), cluster.add("logic-d", "logic")]);
    await people.expectToGoOn(lastToBob, 3);
    await expectLoss(before, "numbers");
  },
  RUN_MS,
);

test(
  "an epoch in SQL that is above those in Redis is passed, and messages are stored again",
  async () => {
    const people = await People.meet();
    const [path] = new Glob("**/*.{db,sqlite}").scanSync({ cwd: cluster.dir, absolute: true });
    if (path === undefined) throw new Error("the offline database was not found");
    const database = new Database(path);
    database.run("PRAGMA busy_timeout = 5000");
    const ahead = Date.now() + 86_400_000;
    database.run("UPDATE partition_epochs SET epoch = ?", [ahead]);
    await people.say(people.cyn, "stored 4");
    await people.stored(4);
    const { lowest } = database
      .query<{ lowest: number }, []>("SELECT max(epoch) AS lowest FROM partition_epochs")
      .get() as { lowest: number };
    expect(lowest).toBeGreaterThan(ahead);
    database.close();
    for (const client of [people.a, people.b]) client.close();
  },
  RUN_MS,
);
