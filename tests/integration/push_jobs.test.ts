/**
 * A push job while processes of every role, and Redis, are killed under it. Every recipient gets the message, once
 * after dedup by its id, and the counts are exact: live or stored, acked now or after a replay.
 *
 * The test itself pushes to RECIPIENTS=10 000 users, a fifth of them connected; more of both may be
 * named in the environment: RECIPIENTS=100000 ONLINE=50000.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { JobAnswer } from "../../src/roles/logic/job_routes.ts";
import { Cluster } from "./cluster.ts";
import { Crowd } from "./push_crowd.ts";

const RECIPIENTS = Number(process.env.RECIPIENTS ?? 10_000);
const ONLINE = Number(process.env.ONLINE ?? 2_000);
/** So slow that it lasts for all the kills, on a busy machine too. */
const RATE = Math.ceil(RECIPIENTS / 25);
setDefaultTimeout(120_000 + RECIPIENTS * 10);

const PATH = "/chatify/logic/v1/pushJobs";
const content = Buffer.from("all of you").toString("base64");
const userOf = (i: number) => `user-${i}`;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ layout: "split" });
}, 60_000);
afterAll(async () => {
  await cluster?.stop();
}, 60_000);

async function ask(
  path: string,
  init: RequestInit = {},
): Promise<{ status: number; body: unknown }> {
  for (let attempt = 0; ; attempt++) {
    const [gateway] = cluster.gateways();
    try {
      const answer = await fetch(`http://${gateway}${path}`, init);
      const body: unknown = await answer.json();
      if (answer.status < 500 || attempt > 100) return { status: answer.status, body };
    } catch (error) {
      if (attempt > 100) throw error;
    }
    await Bun.sleep(200);
  }
}

const jobOf = async (id: string) => (await ask(`${PATH}/${id}`)).body as JobAnswer;

async function until(what: string, holds: () => Promise<boolean>, ms: number): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) {
      const { body } = await ask(`${PATH}?limit=3`);
      throw new Error(`waited ${ms} ms for ${what}; the last jobs are ${JSON.stringify(body)}`);
    }
    await Bun.sleep(200);
  }
}

/** Each user is in one state, whenever one looks. */
function expectSum({ counts }: JobAnswer): void {
  const { accepted, acked, cancelled, expired, in_flight, stored_offline, waiting } = counts;
  expect(waiting + in_flight + acked + stored_offline + expired + cancelled).toBe(accepted);
}

test("a job goes on through kill -9 of every role and of Redis, and its counts are exact", async () => {
  const crowd = await Crowd.connect(() => cluster.gateways(), ONLINE, userOf);
  const lines = Array.from({ length: RECIPIENTS }, (_, i) => `"${userOf(i)}"\n`);
  const head = `${JSON.stringify({ content, from_user_id: "news", rate: RATE })}\n`;
  const { body, status } = await ask(PATH, { method: "POST", body: head + lines.join("") });
  const started = performance.now();
  expect(status).toBe(201);
  const { counts, job_id: id } = body as JobAnswer;
  expect(counts).toMatchObject({ accepted: RECIPIENTS, duplicates: 0, failed: 0 });
  // Both logic nodes, one after the other: one of them runs the job.
  for (const role of ["logic", "logic", "push", "access", "gateway", "offline", "redis"]) {
    const before = (await jobOf(id)).counts.waiting;
    expect(before).toBeGreaterThan(0);
    await until("the job to get on", async () => (await jobOf(id)).counts.waiting < before, 30_000);
    if (role === "redis") {
      await cluster.redis?.crash();
      continue;
    }
    const victim = cluster.nodes.find(({ roles }) => roles === role);
    if (victim === undefined) throw new Error(`no node runs ${role}`);
    await cluster.kill(victim, "SIGKILL");
    await cluster.add(victim.name, role);
    expectSum(await jobOf(id));
  }
  await until("its end", async () => (await jobOf(id)).state === "finished", 60_000 + RECIPIENTS);
  const seconds = (performance.now() - started) / 1_000;
  await until("every ack", async () => (await jobOf(id)).counts.acked === ONLINE, 60_000);
  const done = await jobOf(id);
  const offline = RECIPIENTS - ONLINE;
  expect(done.counts).toEqual({
    ...{ accepted: RECIPIENTS, waiting: 0, in_flight: 0, expired: 0, cancelled: 0 },
    ...{ acked: ONLINE, delivered: ONLINE, stored_offline: offline, duplicates: 0, failed: 0 },
  });
  // One message id each, however often it came.
  expect(crowd.faults()).toEqual([]);
  expect(crowd.users()).toBe(ONLINE);
  process.stderr.write(
    `${RECIPIENTS} recipients, ${ONLINE} online: ${seconds.toFixed(1)} s with 7 kills; ` +
      `${crowd.frames} frames for ${ONLINE} users\n`,
  );
  crowd.close();
  // Those who were away come, and their acks count too.
  const late = await Crowd.connect(
    () => cluster.gateways(),
    100,
    (i) => userOf(RECIPIENTS - 1 - i),
  );
  await until("late acks", async () => (await jobOf(id)).counts.acked === ONLINE + 100, 30_000);
  expect((await jobOf(id)).counts.stored_offline).toBe(offline - 100);
  expect(late.faults()).toEqual([]);
  late.close();
  // Over HTTP it counts as well, for those whose it is.
  const [mine, other] = [userOf(ONLINE), userOf(ONLINE + 1)];
  const found = await ask(`/chatify/offline/v1/RetrieveOfflineMessages?user_id=${mine}`);
  const [message] = (found.body as { messages: { msg_id: string }[] }).messages;
  for (const user_id of [other, mine, mine]) {
    const acknowledged = JSON.stringify({ user_id, msg_ids: [message?.msg_id] });
    await ask("/chatify/offline/v1/AcknowledgeMessages", { method: "POST", body: acknowledged });
  }
  expect((await jobOf(id)).counts.acked).toBe(ONLINE + 101);
});

test("a group, a tag, and everybody online are whom a job reaches; each once", async () => {
  const post = (path: string, value: object) =>
    ask(path, { method: "POST", body: JSON.stringify(value) });
  const logic = "/chatify/logic/v1";
  const crowd = await Crowd.connect(
    () => cluster.gateways(),
    4,
    (i) => `some-${i}`,
  );
  const members = ["some-0", "some-1"];
  await post(`${logic}/groups`, { group_id: "g", owner_id: "some-0", members });
  await post(`${logic}/tags/t/users`, { user_ids: ["some-1", "some-2"] });
  for (const [target, users] of [
    [{ to_group_id: "g" }, 2],
    [{ to_tag: "t" }, 2],
    [{ to_online: true }, 4],
    [{ to_user_ids: ["some-0", "some-0", "some-3"] }, 2],
    [{ to_group_id: "nobodys" }, 0],
  ] as const) {
    const { body, status } = await post(PATH, { content, ...target });
    expect([target, status, body]).toEqual([target, 201, expect.anything()]);
    const { job_id: id } = body as JobAnswer;
    await until("its end", async () => (await jobOf(id)).state === "finished", 30_000);
    const { counts } = await jobOf(id);
    expect([target, counts.accepted, counts.acked]).toEqual([target, users, users]);
  }
  expect(crowd.faults()).toEqual([]);
  expect(crowd.frames).toBe(10);
  crowd.close();
});

test("a job is scheduled, paused, resumed, cancelled, and expires", async () => {
  const lines = Array.from({ length: 400 }, (_, i) => `away-${i}`).join("\n");
  const start = async (change: object) => {
    const body = `${JSON.stringify({ content, ...change })}\n${lines}\n`;
    return ((await ask(PATH, { method: "POST", body })).body as JobAnswer).job_id;
  };
  const act = async (id: string, action: string) =>
    (await ask(`${PATH}/${id}/${action}`, { method: "POST" })).body as JobAnswer;
  const cancel = async (id: string) => ask(`${PATH}/${id}`, { method: "DELETE" });

  const later = await start({ start_time: 3_600 });
  expect(await jobOf(later)).toMatchObject({ state: "scheduled", counts: { waiting: 400 } });
  expect((await cancel(later)).body).toMatchObject({
    state: "cancelled",
    counts: { cancelled: 400, waiting: 0 },
  });

  const slow = await start({ rate: 40 });
  await until("some to go out", async () => (await jobOf(slow)).counts.waiting < 400, 20_000);
  const paused = await act(slow, "pause");
  const { waiting } = (await jobOf(slow)).counts;
  expect(waiting).toBeGreaterThan(0);
  await Bun.sleep(1_500);
  expect((await jobOf(slow)).counts.waiting).toBe(waiting);
  expect(paused.state).toBe("paused");
  expect((await act(slow, "resume")).state).toBe("running");
  await until("it to go on", async () => (await jobOf(slow)).counts.waiting < waiting, 20_000);
  await cancel(slow);
  await until("the rest to settle", async () => (await jobOf(slow)).counts.in_flight === 0, 20_000);
  const { counts } = await jobOf(slow);
  expect(counts.cancelled + counts.stored_offline).toBe(400);
  expect(counts.cancelled).toBeGreaterThan(0);
  expect((await act(slow, "resume")) as unknown).toMatchObject({ code: "conflict" });

  const short = await start({ rate: 40, expire_time: 2 });
  await until("its end", async () => (await jobOf(short)).state === "finished", 20_000);
  expect((await jobOf(short)).counts).toMatchObject({ expired: 400, waiting: 0, in_flight: 0 });
}, 90_000);

test("a list comes through the gateway as it is sent, and one that breaks off leaves nothing", async () => {
  const url = `http://${cluster.gateways()[0]}${PATH}`;
  const before = (await ask(PATH)).body as { jobs: JobAnswer[] };
  const encoder = new TextEncoder();
  let wait = Promise.resolve();
  const abort = new AbortController();
  const body = new ReadableStream<Uint8Array>({
    start: (controller) =>
      controller.enqueue(encoder.encode(`${JSON.stringify({ content })}\n${"1\n".repeat(10_000)}`)),
    async pull() {
      // Longer than a lease: the upload is kept alive by more than its lines.
      wait = Bun.sleep(4_000);
      await wait;
      abort.abort();
    },
  });
  const init = { method: "POST", body, signal: abort.signal, duplex: "half" } as RequestInit;
  await fetch(url, init).then(
    async (answer) => {
      throw new Error(`it was answered: ${answer.status} ${await answer.text()}`);
    },
    () => {},
  );
  const left = async () => ((await ask(PATH)).body as { jobs: JobAnswer[] }).jobs.length;
  await until("nothing to be left", async () => (await left()) === before.jobs.length, 15_000);

  // The same key is the same job, also when its list is sent again.
  const send = () =>
    ask(PATH, {
      method: "POST",
      headers: { "idempotency-key": "k1" },
      body: `${JSON.stringify({ content, start_time: 600 })}\nann\nbob\n`,
    });
  const [first, second] = [await send(), await send()];
  expect([first.status, second.status]).toEqual([201, 201]);
  expect((second.body as JobAnswer).job_id).toBe((first.body as JobAnswer).job_id);
  expect((second.body as JobAnswer).counts).toMatchObject({ accepted: 2, duplicates: 0 });
}, 60_000);
