/**
 * "Where is message X?", asked of real processes about messages that took each of the ways there are,
 * through the route and through the CLI; also when the node that held one was killed.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import type { Trace, TraceState } from "../../src/core/ledger/trace.ts";
import { chatMsgIds } from "../../src/core/protocol/msg_id.ts";
import { partitionOf } from "../../src/core/topology.ts";
import { PROJECT, type Program, until, Workshop } from "./process_program.ts";
import { RawClient } from "./raw_client.ts";
import { startRedisServer } from "./redis_server.ts";

setDefaultTimeout(60_000);

const workshop = new Workshop();
const dir = workshop.dir();
let program: Program;
let redis: Redis;
beforeAll(async () => {
  const words = join(workshop.dir(), "words.txt");
  writeFileSync(words, "forbidden\n");
  program = await workshop.startAll(dir, { SENSITIVE_WORDS_FILE: words }).ready();
  redis = new Redis(join(dir, "redis/redis.sock"), { disableClientInfo: true });
}, 60_000);
afterAll(async () => {
  redis.disconnect();
  await workshop.clear();
}, 30_000);

async function get(node: Program, path: string): Promise<Trace> {
  const answer = await fetch(`http://${node.gateway}/chatify/offline/v1/messages/${path}`);
  const body = await answer.json();
  if (answer.status !== 200) throw new Error(`${path}: ${JSON.stringify(body)}`);
  return body as Trace;
}

const traced = (msgId: string, node = program) => get(node, `${msgId}/trace`);
const tracedSend = (from: string, id: string, node = program) =>
  get(node, `trace?from_user_id=${from}&client_msg_id=${id}`);

/** Events of other nodes come within a second, and a timer may be late on a busy machine. */
async function tracedAs(state: TraceState, ask: () => Promise<Trace>): Promise<Trace> {
  let trace = await ask();
  await until(async () => {
    trace = await ask();
    return trace.state === state;
  }, `the state ${state}`).catch((error: unknown) => {
    throw new Error(`${String(error)}; it is ${JSON.stringify(trace, null, 1)}`);
  });
  return trace;
}

const steps = ({ timeline }: Trace) => timeline.map(({ what }) => what);

async function send(from: RawClient, to: string, id: string, extra: object = {}): Promise<string> {
  from.chat(to, "hello", id, extra);
  const sent = await from.frame("sent", ({ client_msg_id }) => client_msg_id === id);
  return String(sent.msg_id);
}

test("a delivered message: from the gateway that read it to the device that confirmed it", async () => {
  const [alice, bob] = [
    await RawClient.connect(program.gateway, "d-alice", "laptop"),
    await RawClient.connect(program.gateway, "d-bob", "phone"),
  ];
  const id = await send(alice, "d-bob", "d1");
  await bob.received(1);
  const trace = await tracedAs("delivered", () => traced(id));
  expect(steps(trace)).toEqual(["received", "accepted", "numbered", "written", "acked"]);
  expect(trace).toMatchObject({
    from_user_id: "d-alice",
    to: "d-bob",
    seq: 1,
    client_msg_id: "d1",
  });
  expect(trace.summary).toBe("Delivered: d-bob's device phone confirmed it.");
  expect(trace.recipients).toMatchObject({ total: 1, delivered: 1 });
  const nodes = new Set(trace.timeline.map(({ node }) => node));
  expect([...nodes].join()).toMatch(/^n-\w+\.\w+$/);
  expect(trace.timeline.every(({ after_ms }) => after_ms >= 0 && after_ms < 10_000)).toBe(true);
  expect((await tracedSend("d-alice", "d1")).msg_id).toBe(id);
});

test("a message that waited for its recipient: stored, and after the replay delivered", async () => {
  const alice = await RawClient.connect(program.gateway, "s-alice");
  const id = await send(alice, "s-bob", "s1");
  const stored = await tracedAs("stored", () => traced(id));
  expect(stored.summary).toMatch(/^Stored offline for .*: s-bob has no device online\./);
  expect(steps(stored)).toEqual(["received", "accepted", "numbered", "stored"]);
  const bob = await RawClient.connect(program.gateway, "s-bob", "tablet");
  await bob.received(1);
  const delivered = await tracedAs("delivered", () => traced(id));
  expect(delivered.summary).toBe(
    "Delivered: s-bob's device tablet confirmed it after it had waited in the offline store.",
  );
  expect(steps(delivered).slice(3)).toEqual(["stored", "replayed", "acked"]);
});

test("a message that expired, in the store or before it was confirmed", async () => {
  const alice = await RawClient.connect(program.gateway, "e-alice");
  const deaf = await RawClient.connect(program.gateway, "e-deaf");
  deaf.acking = false;
  const soon = Math.floor(Date.now() / 1_000) + 2;
  const id = await send(alice, "e-bob", "e1", { expire_time: soon });
  expect((await tracedAs("stored", () => traced(id))).to).toBe("e-bob");
  const unconfirmed = await send(alice, "e-deaf", "e2", { expire_time: soon });
  await until(async () => {
    const { summary } = await traced(unconfirmed);
    return /written to device d1 .* ago, which has not confirmed it yet/.test(summary);
  }, "it to be written");
  const trace = await tracedAs("expired", () => traced(id));
  expect(trace.summary).toBe("Expired: e-bob did not get it before its expire_time.");
  const dropped = await tracedAs("expired", () => traced(unconfirmed));
  await until(async () => steps(await traced(unconfirmed)).includes("expired"), "the step");
  expect(dropped.summary).toStartWith("Expired");
});

test("a refused message is found by its sender and the client's own id, with who refused it", async () => {
  const alice = await RawClient.connect(program.gateway, "r-alice");
  alice.chat("r-bob", "this is forbidden", "r1");
  await alice.frame("rejected");
  const trace = await tracedAs("rejected", () => tracedSend("r-alice", "r1"));
  expect(trace).toMatchObject({ msg_id: null, state: "rejected", from_user_id: "r-alice" });
  expect(trace.summary).toBe(
    "Rejected by logic: content_rejected. r-alice's client was told so; nobody got it.",
  );
  alice.send({
    type: "send",
    to_user_id: "r-bob",
    content: "x".repeat(70_000),
    client_msg_id: "r2",
  });
  await alice.frame("rejected", ({ client_msg_id }) => client_msg_id === "r2");
  expect((await tracedSend("r-alice", "r2")).summary).toStartWith("Rejected by gateway: too_large");
  expect((await tracedSend("r-alice", "never-sent")).state).toBe("unknown");
});

test("a message that its client sent again is one message, and the trail says so", async () => {
  const alice = await RawClient.connect(program.gateway, "t-alice");
  const bob = await RawClient.connect(program.gateway, "t-bob");
  const id = await send(alice, "t-bob", "t1");
  await bob.received(1);
  alice.chat("t-bob", "hello", "t1");
  await alice.until(() => alice.frames.filter(({ type }) => type === "sent").length === 2, "sent");
  const trace = await traced(id);
  expect(trace.summary).toEndWith(
    "Its client sent it once more, which was recognised as the same message.",
  );
  expect(steps(trace)).toContain("repeated");
  expect((await tracedSend("t-alice", "t1")).msg_id).toBe(id);
});

test("dead letters: of an entry of chat_input that nobody can read, and of one of push_task", async () => {
  const entry = (await redis.xadd("chat_input:{5}", "*", "b", "no JSON")) ?? "";
  const id = chatMsgIds(5, entry)(0);
  const trace = await tracedAs("dead_lettered", () => traced(id));
  expect(trace.summary).toMatch(
    /chat_input was given up \(entry_not_decodable\); see it with `chatify dead-letter show/,
  );
  await until(async () => steps(await traced(id)).includes("dead_lettered"), "the step");
  const alice = await RawClient.connect(program.gateway, "x-alice");
  const numbered = await send(alice, "x-bob", "x1");
  await tracedAs("stored", () => traced(numbered));
  const broken = `[[],[["${numbered}"]]]\n{"msg_id":"${numbered}"}\n{}`;
  await redis.xadd("push_task:{2}", "*", "b", broken);
  const given = await tracedAs("dead_lettered", () => traced(numbered));
  expect(given.summary).toContain("push_task was given up (entry_not_decodable)");
  await redis.del("dead_letter");
  expect((await traced(numbered)).summary).toContain("replayed, dropped or trimmed since");
});

test("a message to a group: how many have it, and the story of one who has not", async () => {
  const members = Array.from({ length: 40 }, (_, i) => `g-user-${i}`);
  const post = (path: string, body: object) =>
    fetch(`http://${program.gateway}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const made = await post("/chatify/logic/v1/groups", {
    group_id: "g-team",
    owner_id: "g-alice",
    members,
  });
  expect(made.status).toBeLessThan(300);
  const online = await Promise.all(
    members.slice(0, 30).map((user) => RawClient.connect(program.gateway, user)),
  );
  const alice = await RawClient.connect(program.gateway, "g-alice");
  const id = await send(alice, "g-team", "g1", { target_type: "GROUP" });
  await Promise.all(online.map((client) => client.received(1)));
  await until(async () => (await traced(id)).recipients.delivered === 30, "30 confirmations");
  const trace = await traced(id);
  expect(trace.recipients).toMatchObject({ total: 40, delivered: 30, stored: 10, in_delivery: 0 });
  expect(trace.summary).toMatch(
    /^Delivered to 30, stored offline for 10 of 40 recipients\. Stored/,
  );
  expect(trace.by_recipient.slice(0, 10).every(({ state }) => state === "stored")).toBe(true);
  expect(trace.timeline.length).toBeLessThan(20);
  expect(trace.timeline.map(({ text }) => text)).toContainEqual(
    expect.stringMatching(/^written 30 times, 30 users/),
  );
  const one = await get(program, `${id}/trace?user=g-user-35`);
  expect(one.by_recipient).toMatchObject([{ user_id: "g-user-35", state: "stored" }]);
  expect(steps(one)).toEqual(["received", "accepted", "numbered", "stored"]);
  for (const client of online) client.close();
});

test("a system push has a trail from the call to the confirmation", async () => {
  const bob = await RawClient.connect(program.gateway, "p-bob");
  const answer = await fetch(`http://${program.gateway}/chatify/logic/v1/sendSystemPush`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ content: "bmV3cw==", from_user_id: "news", to_user_ids: ["p-bob"] }),
  });
  const { msg_ids } = (await answer.json()) as { msg_ids: string[] };
  await bob.received(1);
  const trace = await tracedAs("delivered", () => traced(msg_ids[0] ?? ""));
  expect(trace).toMatchObject({ from_user_id: "news", to: "p-bob", seq: null });
  expect(steps(trace)).toEqual(["pushed", "written", "acked"]);
});

async function chatify(...args: string[]) {
  const env = { PATH: process.env.PATH ?? "", GATEWAY_PORT: `${program.ports.gateway}` };
  const child = Bun.spawn(["bun", "scripts/chatify.ts", "trace", ...args], {
    cwd: PROJECT,
    env,
    stdout: "pipe",
    stderr: "pipe",
  });
  const out = await new Response(child.stdout).text();
  const err = await new Response(child.stderr).text();
  return { code: await child.exited, out, err };
}

test("the CLI tells it at a glance, as JSON, and with a code where there is nothing to tell", async () => {
  const alice = await RawClient.connect(program.gateway, "c-alice");
  const id = await send(alice, "c-bob", "c1");
  await tracedAs("stored", () => traced(id));
  const { code, out } = await chatify(id);
  expect(code).toBe(0);
  expect(out).toStartWith(`message ${id}   from c-alice to c-bob   seq 1\n\n▣ Stored offline for`);
  expect(out).toMatch(/logic +numbered 1; handed to push for 1 recipient/);
  const json = await chatify("--from", "c-alice", "--client-msg-id", "c1", "--json");
  expect(JSON.parse(json.out)).toMatchObject({ msg_id: id, state: "stored" });
  expect(await chatify("nope")).toMatchObject({ code: 1, out: expect.stringContaining("Unknown") });
  expect(await chatify()).toMatchObject({ code: 2, err: expect.stringContaining("error usage:") });
  expect(await chatify("--from", "c-alice")).toMatchObject({ code: 2 });
});

test("what a killed node took along of the trail, what is at rest makes up for", async () => {
  const server = await startRedisServer();
  try {
    const base = {
      REDIS_URL: server.url,
      CLUSTER_SECRET: "the secret of the cluster",
      AUTH_MODE: "dev",
      DATA_DIR: workshop.dir(),
    };
    const start = (ROLE: string) => workshop.start({ env: { ...base, ROLE } });
    const edge = start("gateway,access,offline");
    const victim = start("logic,push");
    await Promise.all([edge.ready(), victim.ready()]);
    const bob = await RawClient.connect(edge.gateway, "k-bob");
    bob.acking = false;
    const alice = await RawClient.connect(edge.gateway, "k-alice");
    const id = await send(alice, "k-bob", "k1");
    await bob.received(1);
    await victim.kill("SIGKILL");
    const held = await traced(id, edge);
    expect(held.state).toBe("in_delivery");
    const partition = partitionOf("k-bob", 8);
    expect(held.summary).toStartWith(
      `On the way to k-bob: it is not settled in push_task:${partition}`,
    );
    await until(
      async () => (await traced(id, edge)).summary.includes("no push node owns this partition"),
      "the lease to end",
    );
    const waiting = "waits";
    alice.chat("k-bob", waiting, "k2");
    await alice.frame("accepted", ({ client_msg_id }) => client_msg_id === "k2");
    const accepted = await tracedSend("k-alice", "k2", edge);
    expect(accepted.state).toBe("accepted");
    await until(async () => {
      const { summary } = await tracedSend("k-alice", "k2", edge);
      return summary.includes("no logic node owns this partition now");
    }, "the lease of the logic node to end, too");
    await start("logic,push").ready();
    const stored = await tracedAs("stored", () => traced(id, edge));
    expect(stored.summary).toMatch(/^Stored offline for .*k-bob/);
    const again = await RawClient.connect(edge.gateway, "k-bob");
    await again.received(2);
    await until(
      async () => (await traced(id, edge)).summary.includes("k-bob's device d1 confirmed it"),
      "the confirmation",
    );
    expect((await tracedAs("delivered", () => tracedSend("k-alice", "k2", edge))).seq).toBe(2);
  } finally {
    await server.stop();
  }
});
