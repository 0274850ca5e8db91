/**
 * Messages to somebody who is away, and the replay when that user comes back; each iteration is one
 * such user:
 *   k6 run --vus 20 --iterations 200 k6/offline-replay.js
 *
 *   BASE_URL     http://127.0.0.1:8080: the gateway
 *   MESSAGES     that wait for each user; default 100
 *   P95_MS       threshold of the 95th percentile of a whole replay; default 3000
 *   JWT_SECRET   outside the dev mode
 *
 * `replay` is the time from the handshake to the last message that waited.
 */
import { Counter, Trend } from "k6/metrics";
import { Client } from "./client.js";
import { baseUrl, GATEWAY, number, runId, socketUrl } from "./target.js";

const BASE = baseUrl(GATEWAY);
const MESSAGES = number("MESSAGES", 100);
const LIMIT_MS = 30_000;

const replay = new Trend("replay", true);
const replayed = new Counter("replay_messages");
const missing = new Counter("replay_missing");
const disorder = new Counter("replay_out_of_order");

export const options = {
  thresholds: {
    replay: [`p(95)<${number("P95_MS", 3_000)}`],
    replay_messages: ["count>0"],
    replay_missing: ["count==0"],
    replay_out_of_order: ["count==0"],
  },
};

export function setup() {
  return { run: runId() };
}

export default function absence({ run }) {
  const name = `k6-${run}-${__VU}-${__ITER}`;
  const [away, sender] = [`${name}-away`, `${name}-sender`];
  let numbered = 0;
  let got = 0;
  let lastSeq = 0;
  let settled = false;
  let reader = null;

  const writer = new Client(socketUrl(BASE, sender), {
    onWelcome() {
      for (let i = 0; i < MESSAGES; i++) writer.chat(away, `message ${i}`, `${name}-${i}`);
    },
    onFrame(frame) {
      if (frame.type !== "sent") return;
      numbered++;
      if (numbered === MESSAGES) comeBack();
    },
    onError: () => finish(),
  });

  function comeBack() {
    const started = Date.now();
    reader = new Client(socketUrl(BASE, away), {
      onWelcome() {},
      onMessage(message) {
        if (message.seq <= lastSeq) disorder.add(1);
        lastSeq = message.seq;
        got++;
        replayed.add(1);
        if (got < MESSAGES) return;
        replay.add(Date.now() - started);
        finish();
      },
      onError: () => finish(),
      onClose: () => finish(),
    });
  }

  function finish() {
    if (settled) return;
    settled = true;
    clearTimeout(limit);
    missing.add(MESSAGES - got);
    writer.close();
    if (reader !== null) reader.close();
  }

  const limit = setTimeout(finish, LIMIT_MS);
}
