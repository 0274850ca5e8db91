/**
 * Pairs of users who chat over WebSocket; each virtual user is one pair:
 *   k6 run --vus 50 --iterations 50 k6/chat.js
 *
 *   BASE_URL     http://127.0.0.1:8080: the gateway
 *   MESSAGES     sends of each side of a pair; default 200
 *   PER_SECOND   of each side; default 10
 *   P95_MS       threshold of the delivery's 95th percentile; default 200
 *   JWT_SECRET   outside the dev mode
 *
 * `chat_delivery` is the time from a send to its arrival at the other side, acks every 20 ms.
 */
import { Counter, Trend } from "k6/metrics";
import { Client } from "./client.js";
import { baseUrl, GATEWAY, number, runId, socketUrl } from "./target.js";

const BASE = baseUrl(GATEWAY);
const MESSAGES = number("MESSAGES", 200);
const PER_SECOND = number("PER_SECOND", 10);
/** How long the last messages may take. */
const TAIL_MS = 15_000;

const delivery = new Trend("chat_delivery", true);
const sent = new Counter("chat_sent");
const delivered = new Counter("chat_delivered");
const missing = new Counter("chat_missing");
const disorder = new Counter("chat_out_of_order");
const repeated = new Counter("chat_repeated");
const refused = new Counter("chat_refused");

export const options = {
  thresholds: {
    chat_delivery: [`p(95)<${number("P95_MS", 200)}`],
    chat_delivered: ["count>0"],
    chat_missing: ["count==0"],
    chat_out_of_order: ["count==0"],
    chat_refused: ["count==0"],
  },
};

export function setup() {
  return { run: runId() };
}

export default function pair({ run }) {
  const name = `k6-${run}-${__VU}-${__ITER}`;
  const sides = [`${name}-a`, `${name}-b`];
  const got = [0, 0];
  const lastSeq = [0, 0];
  let welcomed = 0;
  let settled = false;
  const clients = sides.map(
    (user, me) =>
      new Client(socketUrl(BASE, user), {
        onWelcome() {
          welcomed++;
          if (welcomed === 2) start();
        },
        onMessage(message) {
          delivery.add(Date.now() - Number(message.content.split(" ")[0]));
          delivered.add(1);
          if (message.seq <= lastSeq[me]) disorder.add(1);
          lastSeq[me] = message.seq;
          got[me]++;
          if (got[0] === MESSAGES && got[1] === MESSAGES) finish();
        },
        onFrame(frame) {
          if (frame.type === "rejected" || frame.type === "error") refused.add(1);
        },
        onError: () => finish(),
        onClose: () => finish(),
      }),
  );

  function start() {
    let count = 0;
    const timer = setInterval(() => {
      for (const me of [0, 1]) {
        clients[me].chat(sides[1 - me], `${Date.now()} hello`, `${name}-${me}-${count}`);
        sent.add(1);
      }
      count++;
      if (count === MESSAGES) clearInterval(timer);
    }, 1_000 / PER_SECOND);
  }

  function finish() {
    if (settled) return;
    settled = true;
    clearTimeout(limit);
    missing.add(2 * MESSAGES - got[0] - got[1]);
    for (const client of clients) {
      repeated.add(client.repeated);
      client.close();
    }
  }

  const limit = setTimeout(finish, (MESSAGES / PER_SECOND) * 1_000 + TAIL_MS);
}
