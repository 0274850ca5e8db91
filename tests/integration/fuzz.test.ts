/**
 * Ten thousand malformed messages over real WebSockets, and bodies over HTTP, against one process
 * that runs everything. It stays up, answers each with a code or closes with a documented one, and
 * what two other people say to each other meanwhile never shows in any answer. FUZZ_SEED repeats a
 * run; the seed is in the error when one fails.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { CLOSE_CODES, ERRORS } from "../../src/core/protocol/errors.ts";
import { answersOwed, type Case, httpBody, malformed } from "./fuzz_cases.ts";
import { type Program, Workshop } from "./process_program.ts";
import { type Frame, RawClient } from "./raw_client.ts";

setDefaultTimeout(120_000);
const FRAMES = 10_000;
const BODIES = 1_500;
const LANES = 8;
const SEED = Number(process.env.FUZZ_SEED ?? 20_261_123);
const ANSWER_MS = 10_000;
const SECRET = "canary-9f1c7e";

const workshop = new Workshop();
let program: Program;
let canary: { readonly alice: RawClient; readonly bob: RawClient; sent: number };
/** Everything that any fuzzing connection was sent. */
const heard: string[] = [];

beforeAll(async () => {
  program = await workshop.startAll(workshop.dir(), { LOG_LEVEL: "warn" }).ready();
  const [alice, bob] = await Promise.all([
    RawClient.connect(program.gateway, `${SECRET}-alice`),
    RawClient.connect(program.gateway, `${SECRET}-bob`),
  ]);
  canary = { alice, bob, sent: 0 };
}, 60_000);
afterAll(() => workshop.clear(), 30_000);

function canarySpeaks(): void {
  canary.sent++;
  canary.alice.chat(`${SECRET}-bob`, `${SECRET} says ${canary.sent}`, `c${canary.sent}`);
}

/** One fuzzing connection after the other: the server may end any of them with a documented code. */
class Lane {
  readonly counts = { answered: 0, closed: 0 };
  readonly codes = new Set<string>();
  private socket: WebSocket | null = null;
  private answers: Frame[] = [];
  private code: number | null = null;
  private wake: () => void = () => {};

  constructor(private readonly name: string) {}

  /** Sends one case and waits for all answers that it is owed, or for the end of the connection. */
  async check(one: Case): Promise<void> {
    const socket = this.socket ?? (await this.open());
    const owed = answersOwed(one);
    this.answers = [];
    if (socket.readyState !== WebSocket.OPEN)
      throw new Error(`the connection ended before ${show(one)}`);
    socket.send(one);
    await this.until(() => this.answers.length >= owed || this.code !== null, one);
    // The end follows a bye; without waiting for it the next case would go into a dead socket.
    if (this.answers.some(({ type }) => type === "bye")) {
      await this.until(() => this.code !== null, "bye");
    }
    for (const frame of this.answers) {
      if (frame.type === "bye") continue;
      this.codes.add(String(frame.code));
      const coded = frame.type === "error" || frame.type === "rejected";
      if (!coded || !(String(frame.code) in ERRORS)) throw new Error(`answer: ${show(frame)}`);
    }
    if (this.code === null) {
      this.counts.answered++;
      return;
    }
    const documented: number[] = [...Object.values(CLOSE_CODES), 1002, 1007, 1009];
    if (!documented.includes(this.code)) throw new Error(`closed with ${this.code}: ${show(one)}`);
    this.counts.closed++;
    this.socket = null;
  }

  close(): void {
    this.socket?.close();
  }

  private async open(): Promise<WebSocket> {
    const url = `ws://${program.gateway}/chatify/access/v1/ws?token=dev:${this.name}:d1`;
    const socket = new WebSocket(url, "chatify.v1");
    let welcomed = false;
    this.code = null;
    socket.addEventListener("message", ({ data }) => {
      heard.push(String(data));
      for (const frame of [JSON.parse(String(data)) as Frame | Frame[]].flat()) {
        if (frame.type === "welcome") welcomed = true;
        else this.answers.push(frame);
      }
      this.wake();
    });
    socket.addEventListener("close", ({ code }) => {
      if (this.socket === socket || !welcomed) this.code = code;
      this.wake();
    });
    this.socket = socket;
    await this.until(() => welcomed, "the handshake");
    return socket;
  }

  private async until(condition: () => boolean, what: Case): Promise<void> {
    const deadline = performance.now() + ANSWER_MS;
    while (!condition()) {
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`no answer in ${ANSWER_MS} ms to ${show(what)}`);
      const woken = new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      const timer = Promise.withResolvers<void>();
      const handle = setTimeout(timer.resolve, left);
      await Promise.race([woken, timer.promise]);
      clearTimeout(handle);
    }
  }
}

const show = (value: unknown) =>
  (typeof value === "string" ? value : JSON.stringify(value)).slice(0, 300);

async function expectHealthy(): Promise<void> {
  expect(program.process.exitCode).toBeNull();
  expect(await program.readiness()).toBe(200);
  const messages = await canary.bob.received(canary.sent);
  expect(messages.map(({ seq }) => seq)).toEqual([...messages.keys()].map((i) => i + 1));
  expect(heard.filter((text) => text.includes(SECRET))).toEqual([]);
  expect(program.output).not.toContain("a bug ended the process");
}

test(`${FRAMES} malformed messages are each answered with a code, and leak nothing`, async () => {
  const cases = fc.sample(malformed, { numRuns: FRAMES, seed: SEED });
  const lanes = Array.from({ length: LANES }, (_, i) => new Lane(`fuzz-${i}`));
  let next = 0;
  await Promise.all(
    lanes.map(async (lane) => {
      while (next < cases.length) {
        const at = next++;
        if (at % 50 === 0) canarySpeaks();
        try {
          await lane.check(cases[at] as Case);
        } catch (error) {
          throw new Error(`case ${at} of seed ${SEED}: ${String(error)}`);
        }
      }
    }),
  );
  const sum = (name: "answered" | "closed") => lanes.reduce((n, lane) => n + lane.counts[name], 0);
  expect(sum("answered") + sum("closed")).toBe(FRAMES);
  // Twenty bad ones in a row end a connection, so both ways out were taken many times.
  expect(sum("answered")).toBeGreaterThan(FRAMES / 2);
  expect(sum("closed")).toBeGreaterThan(100);
  const codes = new Set(lanes.flatMap((lane) => [...lane.codes]));
  expect([...codes].sort()).toEqual(["bad_frame", "too_large"]);
  for (const lane of lanes) lane.close();
  await expectHealthy();
});

const ROUTES = [
  "/chatify/logic/v1/sendSystemPush",
  "/chatify/logic/v1/groups",
  "/chatify/logic/v1/groups/fuzz/members",
  "/chatify/push/v1/BatchQueryOnline",
  "/chatify/offline/v1/AcknowledgeMessages",
  "/chatify/offline/v1/ArchiveMessages",
  "/chatify/no/such/route",
];

test(`${BODIES} odd HTTP bodies never cause a 5xx, and every refusal has a code`, async () => {
  const cases = fc.sample(fc.tuple(fc.constantFrom(...ROUTES), httpBody), {
    numRuns: BODIES,
    seed: SEED,
  });
  let next = 0;
  const lane = async () => {
    while (next < cases.length) {
      const [path, body] = cases[next++] as [string, string];
      if (next % 50 === 0) canarySpeaks();
      const answer = await fetch(`http://${program.gateway}${path}`, { method: "POST", body });
      const text = await answer.text();
      heard.push(text);
      // What was odd but allowed is served; the fuzzer may by chance ask for something real.
      if (answer.status < 300) continue;
      const { code } = JSON.parse(text) as { code?: string };
      const told = code !== undefined && code in ERRORS && answer.status < 500;
      if (!told) throw new Error(`${answer.status} ${path} ${show(body)}: ${show(text)}`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  await expectHealthy();
});

test("queries that ask for another's rows without a valid id get codes, not rows", async () => {
  const path = "/chatify/offline/v1/RetrieveOfflineMessages";
  const queries = fc.sample(
    fc.record({
      user_id: fc.string({ maxLength: 8 }).map((text) => `:${text}`),
      last_message_id: fc.string({ maxLength: 20 }),
      limit: fc.oneof(fc.integer(), fc.string({ maxLength: 5 })).map(String),
    }),
    { numRuns: 200, seed: SEED },
  );
  for (const query of queries) {
    const answer = await fetch(`http://${program.gateway}${path}?${new URLSearchParams(query)}`);
    const text = await answer.text();
    heard.push(text);
    expect(answer.status).toBeWithin(400, 500);
    expect((JSON.parse(text) as { code: string }).code in ERRORS).toBe(true);
  }
  await expectHealthy();
});
