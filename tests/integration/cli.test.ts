/** The operator's command line, run as an operator runs it, against a process that runs. */
import { afterAll, beforeAll, expect, onTestFinished, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { Redis } from "ioredis";
import { createTokenVerifier } from "../../src/core/auth/tokens.ts";
import { systemClock } from "../../src/core/clock.ts";
import { chatInputBody, encodeChatInput } from "../../src/core/protocol/chat_input.ts";
import { conversationId } from "../../src/core/protocol/message.ts";
import { partitionOf } from "../../src/core/topology.ts";
import { PROJECT, type Program, Workshop } from "./process_program.ts";
import { RawClient } from "./raw_client.ts";
import { startRedisServer } from "./redis_server.ts";

setDefaultTimeout(60_000);
const SECRET = "a JWT secret of more than 32 characters";
/** Not the default one, so that the CLI is seen to follow it. */
const PREFIX = "cli-test";
const API_KEY = "an-api-key-of-16-or-more";

const workshop = new Workshop();
const dir = workshop.dir();
let program: Program;
beforeAll(async () => {
  program = await workshop.startAll(dir, { KEY_PREFIX: PREFIX }).ready();
}, 60_000);
afterAll(() => workshop.clear(), 30_000);

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** The last line of stdout, which --json promises to be JSON. */
  readonly json: Record<string, unknown>;
}

/** The environment of the process that it shall find, as a shell in the same directory has it. */
function environment(): Record<string, string> {
  const ports = Object.entries(program.ports).map(([name, port]) => {
    return [`${name.toUpperCase()}_PORT`, `${port}`] as const;
  });
  return {
    PATH: process.env.PATH ?? "",
    DATA_DIR: dir,
    KEY_PREFIX: PREFIX,
    ...Object.fromEntries(ports),
  };
}

async function chatify(
  args: readonly string[],
  options: { readonly env?: Record<string, string>; readonly stdin?: string } = {},
): Promise<Result> {
  const child = Bun.spawn(["bun", "scripts/chatify.ts", ...args], {
    cwd: PROJECT,
    env: { ...environment(), ...options.env },
    stdin: new Blob([options.stdin ?? ""]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const last = out.trimEnd().split("\n").at(-1) ?? "";
  const json = args.includes("--json") ? (JSON.parse(last) as Record<string, unknown>) : {};
  return { code, out, err, json };
}

test("every command has --help and refuses options that it does not know", async () => {
  const commands = ["token", "send", "listen", "job", "status", "doctor", "dead-letter"];
  const all = await chatify(["--help"]);
  for (const name of commands) expect(all.out).toContain(name);
  await Promise.all(
    commands.map(async (name) => {
      const help = await chatify([name, "--help"]);
      expect([help.code, help.out]).toEqual([0, expect.stringContaining("--json")]);
      const wrong = await chatify([name, "--no-such-option"]);
      expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("error usage:")]);
    }),
  );
  expect((await chatify(["no-such-command"])).code).toBe(2);
});

test("token mints what the gateway takes: signed with a secret, of the dev mode without", async () => {
  const args = ["token", "--user", "alice", "--device", "d1", "--ttl", "60", "--json"];
  const env = { JWT_SECRET: SECRET, JWT_AUDIENCE: "chat" };
  const signed = await chatify([...args, "--scopes", "admin,other"], { env });
  const verifier = createTokenVerifier({
    mode: "jwt",
    secret: SECRET,
    audience: "chat",
    clock: systemClock,
  });
  const claims = await verifier.verify(String(signed.json.token));
  expect(claims).toMatchObject({ userId: "alice", deviceId: "d1", scopes: ["admin", "other"] });
  expect((claims.expiresAt ?? 0) / 1_000 - systemClock.now() / 1_000).toBeWithin(50, 61);
  const refused = await chatify(args);
  expect([refused.code, refused.json]).toMatchObject([2, { error: { code: "usage" } }]);
  const dev = await chatify(["token", "--user", "alice"]);
  const sent = await chatify(["send", "--token", dev.out.trim(), "--to", "bob", "by token"]);
  expect([sent.code, sent.err]).toEqual([0, ""]);
});

test("what send sends, listen prints and acks; the same id again is the same message", async () => {
  const user = ["--user", "cli-a", "--to", "cli-b"];
  const one = await chatify(["send", ...user, "--id", "once", "hello", "--json"]);
  expect(one.json).toMatchObject({ seq: 1, client_msg_id: "once" });
  const same = await chatify(["send", ...user, "--id", "once", "hello", "--json"]);
  expect(same.json.msg_id).toBe(one.json.msg_id);
  const lines = await chatify(["send", ...user, "--json"], { stdin: "two\n\nthree\nfour" });
  expect(lines.json).toEqual({ sent: 3, failed: 0 });
  expect(lines.out.trim().split("\n")).toHaveLength(4);

  const look = await chatify(["listen", "--user", "cli-b", "--count", "4", "--no-ack", "--json"]);
  expect(look.json).toEqual({ received: 4, acked: false });
  const two = await chatify(["listen", "--user", "cli-b", "--count", "2"]);
  expect(two.out).toBe("cli-a #1: hello\ncli-a #2: two\n");
  const rest = await chatify(["listen", "--user", "cli-b", "--count", "2", "--json"]);
  const contents = rest.out.trim().split("\n").slice(0, 2);
  expect(contents.map((line) => (JSON.parse(line) as { content: string }).content)).toEqual([
    "three",
    "four",
  ]);
});

test("send tells a refusal by its code: of the token, the place and the message", async () => {
  const bad = await chatify(["send", "--token", "nonsense", "--to", "bob", "x", "--json"]);
  expect([bad.code, bad.json]).toMatchObject([1, { error: { code: "unauthorized" } }]);
  const nowhere = ["send", "--user", "a", "--to", "b", "x", "--url", "http://127.0.0.1:1"];
  const away = await chatify([...nowhere, "--json"]);
  expect([away.code, away.json]).toMatchObject([1, { error: { code: "unavailable" } }]);
  const group = await chatify(["send", "--user", "a", "--to", "g", "--group", "x", "--json"]);
  expect([group.code, group.json]).toMatchObject([1, { error: { code: "not_found" } }]);
  const long = await chatify(["send", "--user", "a", "--to", "b"], { stdin: "x".repeat(70_000) });
  expect([long.code, long.err]).toEqual([1, expect.stringContaining("error too_large")]);
});

test("status finds the embedded Redis and shows nodes, owners and who is online", async () => {
  const carol = await RawClient.connect(program.gateway, "carol");
  const { code, json } = await chatify(["status", "--json"]);
  expect(code).toBe(0);
  expect(json).toMatchObject({ users_online: 1, offline_rows: expect.any(Number) });
  const nodes = json.nodes as { id: string; roles: string[] }[];
  expect(nodes[0]?.roles).toEqual(["gateway", "access", "logic", "push", "offline"]);
  const { logic, push } = json.partitions as Record<string, { owner: string; epoch: number }[]>;
  for (const leases of [logic, push]) {
    expect(leases).toHaveLength(8);
    expect(leases?.every(({ owner }) => owner === nodes[0]?.id)).toBe(true);
  }
  const { out } = await chatify(["status"]);
  for (const text of ["NODES", "gateway", "0-7", "chat_input", "dead letters"]) {
    expect(out).toContain(text);
  }
  const where = await chatify(["status", "--users", "carol,nobody", "--json"]);
  expect(where.json.users).toMatchObject([
    { user_id: "carol", online: true },
    { user_id: "nobody", online: false },
  ]);
  carol.close();
});

test("doctor passes on what runs, and fails with what to do on what would not", async () => {
  const well = await chatify(["doctor", "--json"]);
  expect([well.code, well.json.fail]).toEqual([0, 0]);
  const checks = well.json.checks as { check: string; level: string; found: string }[];
  expect(checks.find(({ check }) => check.startsWith("GATEWAY_PORT"))?.found).toContain("ready");
  expect(checks.map(({ check }) => check)).toContain("push partitions");
  const { code, out } = await chatify(["doctor"], { env: { GATEWAY_PORT: "eighty" } });
  expect([code, out]).toEqual([1, expect.stringContaining('GATEWAY_PORT: got "eighty"')]);

  const redis = await startRedisServer();
  try {
    await redis.admin.config("SET", "appendfsync", "everysec");
    const weak = await chatify(["doctor", "--redis", redis.url]);
    expect([weak.code, weak.out]).toEqual([1, expect.stringContaining("CONFIG SET appendfsync")]);
  } finally {
    await redis.stop();
  }
});

test("dead-letter lists, shows, replays and drops", async () => {
  const redis = new Redis(`${dir}/redis/redis.sock`);
  onTestFinished(() => redis.disconnect());
  const poison = (topic: string) => redis.xadd(`${PREFIX}:${topic}:{3}`, "*", "b", `no ${topic}`);
  const listed = async () => (await chatify(["dead-letter", "--json"])).json;
  const waitFor = async (total: number) => {
    let found = await listed();
    for (let i = 0; i < 50 && found.total !== total; i++) found = await listed();
    expect(found.total).toBe(total);
    return found.letters as { id: string; topic: string; partition: number }[];
  };
  await poison("chat_input");
  await poison("push_task");
  const letters = await waitFor(2);
  const task = letters.find(({ topic }) => topic === "push_task");
  expect(task).toMatchObject({ partition: 3 });
  const shown = await chatify(["dead-letter", "show", task?.id ?? "", "--json"]);
  expect(shown.json).toMatchObject({ reason: "entry_not_decodable", body: "no push_task" });
  // It is still poison, so it comes back, as a letter of its own.
  const again = await chatify(["dead-letter", "replay", task?.id ?? "", "--json"]);
  expect([again.code, again.json]).toEqual([0, { replayed: 1, failed: 0 }]);
  expect((await waitFor(2)).map(({ id }) => id)).not.toContain(task?.id);

  // One that was good after all is delivered.
  const bob = await RawClient.connect(program.gateway, "letter-bob");
  const body = goodBody("letter-alice", "letter-bob");
  const partition = partitionOf(conversationId("USER", "letter-alice", "letter-bob"), 8);
  const letter = { topic: "chat_input", partition, id: "1-1", reason: "a test", body };
  const id = await redis.xadd(`${PREFIX}:dead_letter`, "*", "b", JSON.stringify(letter));
  expect((await chatify(["dead-letter", "replay", id ?? ""])).code).toBe(0);
  expect((await bob.received(1))[0]).toMatchObject({
    content: "late",
    from_user_id: "letter-alice",
  });
  bob.close();

  const gone = await chatify(["dead-letter", "drop", "--all", "--json"]);
  expect(gone.json).toEqual({ dropped: 2, failed: 0 });
  expect((await chatify(["dead-letter", "show", "1-1"])).code).toBe(1);
});

/** What access writes to chat_input for one message. */
function goodBody(from: string, to: string): string {
  const conversation = conversationId("USER", from, to);
  const item = encodeChatInput([
    conversation,
    from,
    "d1",
    "c1",
    "CHAT",
    "USER",
    to,
    "late",
    0,
    Date.now(),
    "g",
    "a",
    1,
    "",
  ]);
  return chatInputBody([item]);
}

test("with AUTH_MODE=jwt the CLI gets in by secret and by key, and not without", async () => {
  const data = workshop.dir();
  const env = { AUTH_MODE: "jwt", JWT_SECRET: SECRET, API_KEYS: API_KEY, HOST: "127.0.0.1" };
  const closed = await workshop.startAll(data, env).ready();
  const url = ["--url", `http://${closed.gateway}`];
  const secret = { JWT_SECRET: SECRET };
  const sent = await chatify(["send", "--user", "a", "--to", "b", "hi", ...url], { env: secret });
  expect([sent.code, sent.err]).toEqual([0, ""]);
  const stranger = await chatify(["send", "--user", "a", "--to", "b", "hi", "--json", ...url]);
  expect(stranger.json).toMatchObject({ error: { code: "unauthorized" } });
  const query = ["status", "--users", "a", "--json", ...url];
  expect((await chatify([...query, "--key", API_KEY])).code).toBe(0);
  expect((await chatify(query)).json).toMatchObject({ error: { code: "unauthorized" } });
});

test("job pushes to a list from a file, shows how far it is, and pauses, resumes and cancels", async () => {
  const list = join(dir, "users.txt");
  await Bun.write(list, "cli-ann\ncli-bob\ncli-ann\nno such user\n");
  const client = await RawClient.connect(program.gateway, "cli-ann");
  const made = await chatify(["job", "create", "hello all", "--list", list, "--watch", "--json"]);
  expect(made.code).toBe(0);
  expect(made.json).toMatchObject({
    state: "finished",
    counts: { accepted: 2, acked: 1, stored_offline: 1, duplicates: 1, failed: 1 },
  });
  const [message] = await client.received(1);
  expect(Buffer.from(message?.content ?? "", "base64").toString()).toBe("hello all");
  client.close();

  const later = ["--start", "3600", "--rate", "5", "--from", "ops", "--type", "INFORM"];
  const piped = await chatify(["job", "create", "x", "--list", "-", ...later, "--json"], {
    stdin: "1\n2\n3\n",
  });
  const id = String(piped.json.job_id);
  expect(piped.json).toMatchObject({ state: "scheduled", rate: 5, from_user_id: "ops" });
  const shown = await chatify(["job", "show", "latest"]);
  expect(shown.out).toContain(`${id}  scheduled  to a list`);
  expect(shown.out).toMatch(/waiting +3 +100%/);
  for (const [action, state] of [
    ["pause", "paused"],
    ["resume", "scheduled"],
    ["cancel", "cancelled"],
  ] as const) {
    expect((await chatify(["job", action, id, "--json"])).json.state).toBe(state);
  }
  const all = await chatify(["job", "list"]);
  expect(all.out).toMatch(new RegExp(`${id}  cancelled`));
  for (const [args, code] of [
    [["job", "show", "1m86cqh8f83dejr4m"], 1],
    [["job", "create", "x"], 1],
    [["job", "create", "x", "--list", "/no/such/file"], 1],
    [["job", "create"], 2],
    [["job", "explode", id], 2],
  ] as const) {
    const wrong = await chatify(args);
    expect([args, wrong.code]).toEqual([args, code]);
    expect(wrong.err).toStartWith("error ");
  }
});
