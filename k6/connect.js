/**
 * A ramp of connections that stay; each virtual user opens PER_VU of them, RAMP_S long, and holds
 * them for HOLD_S:
 *   k6 run --vus 100 --iterations 100 k6/connect.js
 *
 *   BASE_URL     http://127.0.0.1:8080: the gateway
 *   PER_VU       connections of a virtual user; default 50
 *   RAMP_S       seconds over which it opens them; default 10
 *   HOLD_S       seconds for which it holds them; default 30
 *   P95_MS       threshold of the 95th percentile from handshake to `welcome`; default 1000
 *   JWT_SECRET   outside the dev mode
 */
import { Counter, Trend } from "k6/metrics";
import { Client } from "./client.js";
import { baseUrl, GATEWAY, number, runId, socketUrl } from "./target.js";

const BASE = baseUrl(GATEWAY);
const PER_VU = number("PER_VU", 50);
const RAMP_MS = number("RAMP_S", 10) * 1_000;
const HOLD_MS = number("HOLD_S", 30) * 1_000;

const welcome = new Trend("connect_welcome", true);
const opened = new Counter("connect_opened");
const failed = new Counter("connect_failed");
const lost = new Counter("connect_lost");

export const options = {
  thresholds: {
    connect_welcome: [`p(95)<${number("P95_MS", 1_000)}`],
    connect_opened: ["count>0"],
    connect_failed: ["count==0"],
    connect_lost: ["count==0"],
  },
};

export function setup() {
  return { run: runId() };
}

export default function connections({ run }) {
  for (let i = 0; i < PER_VU; i++) {
    setTimeout(() => open(`k6-${run}-${__VU}-${__ITER}-${i}`), (RAMP_MS * i) / PER_VU);
  }
}

function open(user) {
  const started = Date.now();
  let state = "opening";
  const client = new Client(socketUrl(BASE, user), {
    onWelcome() {
      welcome.add(Date.now() - started);
      opened.add(1);
      state = "open";
      setTimeout(() => {
        state = "done";
        client.close();
      }, HOLD_MS);
    },
    onError: () => ended(),
    onClose: () => ended(),
  });

  function ended() {
    if (state === "opening") failed.add(1);
    if (state === "open") lost.add(1);
    state = "done";
  }
}
