/**
 * Hostile input against a whole cluster in one process: 10 000 malformed frames and 1 000 malformed
 * HTTP bodies. Nothing crashes, everything is answered with a code, and two people who chat beside it
 * see nothing but each other.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { CLOSE_CODES, ERRORS } from "../../src/core/protocol/errors.ts";
import { Cluster } from "./cluster.ts";
import { type Frame, RawClient } from "./raw_client.ts";

const START_MS = 60_000;
const RUN_MS = 120_000;
const FRAMES = 10_000;
const PER_CONNECTION = 500;
const CANARY = "canary-7f3a";

let cluster: Cluster;
let gateway: string;

beforeAll(async () => {
  cluster = await Cluster.start({ layout: "all" });
  gateway = cluster.gateways()[0] as string;
}, START_MS);
afterAll(async () => {
  await cluster?.stop();
}, START_MS);

const field = fc.oneof(fc.jsonValue(), fc.string(), fc.constant("\ud800"), fc.constant(undefined));
const frame = fc.record(
  {
    type: fc.constantFrom("send", "ack", "typing", "read", "watch", "ping", "welcome", "", 7, null),
    client_msg_id: field,
    to_user_id: field,
    target_type: fc.constantFrom("USER", "GROUP", "SYSTEM", 1, null),
    message_type: fc.constantFrom("CHAT", "CONTROL", "DATAREPORT", "NOTHING", {}),
    content: field,
    expire_time: field,
    msg_ids: field,
    user_ids: field,
    seq: field,
    from_user_id: fc.constant("witness-a"),
    __proto__: field,
  },
  { requiredKeys: ["type"] },
);
const text = fc.oneof(
  frame.map((value) => JSON.stringify(value)),
  fc.array(frame, { maxLength: 4 }).map((value) => JSON.stringify(value)),
  fc.json(),
  fc.string(),
);

const documented = new Set<number>([...Object.values(CLOSE_CODES), 1002, 1003, 1006, 1007, 1009]);

function checkFrames(frames: readonly Frame[]): void {
  for (const got of frames) {
    if (JSON.stringify(got).includes(CANARY)) throw new Error("somebody else's message was seen");
    if (got.type !== "error" && got.type !== "rejected") continue;
    expect(ERRORS).toHaveProperty(got.code as string);
  }
}

test(
  "10 000 malformed frames are answered with codes and disturb nobody",
  async () => {
    const a = await RawClient.connect(gateway, "witness-a");
    const b = await RawClient.connect(gateway, "witness-b");
    const texts = fc.sample(text, { numRuns: FRAMES, seed: 42 });
    let chats = 0;
    for (let from = 0; from < texts.length; ) {
      const mallory = await RawClient.connect(gateway, "mallory", `d${from}`);
      let code = 0;
      void mallory.closed.then((closed) => {
        code = closed;
      });
      const until = Math.min(from + PER_CONNECTION, texts.length);
      for (; from < until && code === 0; from++) {
        mallory.raw(texts[from] as string);
        if (from % 10 === 0) await Bun.sleep(0);
      }
      a.chat("witness-b", `${CANARY} ${++chats}`, `w${chats}`);
      await b.received(chats);
      // The connection lives and answers, or it was closed with a code that the protocol names.
      if (code === 0) mallory.send({ type: "ping" });
      await mallory.until(
        () => code !== 0 || mallory.frames.some((f) => f.type === "pong"),
        "a pong or a close",
      );
      if (code !== 0) expect(documented).toContain(code);
      checkFrames(mallory.frames);
      mallory.close();
    }
    expect(b.messages.every((m) => m.from_user_id === "witness-a")).toBe(true);
    expect(cluster.nodes[0]?.process.exitCode).toBeNull();
    a.close();
    b.close();
  },
  RUN_MS,
);

test(
  "1 000 malformed HTTP bodies get a coded error or an answer, never a 5xx",
  async () => {
    const paths = [
      "/chatify/logic/v1/sendSystemPush",
      "/chatify/logic/v1/groups",
      "/chatify/push/v1/BatchQueryOnline",
      "/chatify/offline/v1/AcknowledgeMessages",
      "/chatify/offline/v1/ArchiveMessages",
      "/chatify/nothing",
    ];
    const bodies = fc.sample(fc.tuple(fc.constantFrom(...paths), text), {
      numRuns: 1_000,
      seed: 7,
    });
    for (let from = 0; from < bodies.length; from += 20) {
      const answers = await Promise.all(
        bodies.slice(from, from + 20).map(async ([path, body]) => {
          const response = await fetch(`http://${gateway}${path}`, { method: "POST", body });
          return { path, status: response.status, said: await response.text() };
        }),
      );
      for (const { path, status, said } of answers) {
        if (status >= 500) throw new Error(`${path} answered ${status}: ${said}`);
        if (status >= 400) expect(ERRORS).toHaveProperty(JSON.parse(said).code);
      }
    }
    expect((await fetch(`http://${gateway}/readyz`)).status).toBe(200);
  },
  RUN_MS,
);
