/**
 * System push under load:
 *   k6 run --vus 100 --duration 10m k6/send-system-push.js
 *
 *   BASE_URL     http://127.0.0.1:8034: the logic role's own port; the gateway's works as well
 *   RECIPIENTS   comma list of user ids; default: USERS made-up ones
 *   USERS        how many to make up; default 1000
 *   PER_PUSH     recipients of one request, 1 to 1000; default 1
 *   P95_MS       threshold of the 95th percentile; default 500
 *   API_KEY      outside the dev mode
 */
import { check } from "k6";
import encoding from "k6/encoding";
import http from "k6/http";
import { baseUrl, jsonHeaders, number, runId } from "./target.js";

const BASE = baseUrl("http://127.0.0.1:8034");
const PER_PUSH = number("PER_PUSH", 1);
const USERS = __ENV.RECIPIENTS
  ? __ENV.RECIPIENTS.split(",")
  : Array.from({ length: number("USERS", 1_000) }, (_, i) => `k6-user-${i}`);

export const options = {
  thresholds: {
    http_req_failed: ["rate<0.001"],
    checks: ["rate>0.999"],
    http_req_duration: [`p(95)<${number("P95_MS", 500)}`],
  },
};

export function setup() {
  return { run: runId() };
}

export default function push({ run }) {
  const first = Math.floor(Math.random() * USERS.length);
  const count = Math.min(PER_PUSH, USERS.length);
  const recipients = Array.from({ length: count }, (_, i) => USERS[(first + i) % USERS.length]);
  const body = {
    content_id: `${run}-${__VU}-${__ITER}`,
    content: encoding.b64encode(`notice ${__ITER} of ${__VU}`),
    timestamp: String(Math.floor(Date.now() / 1_000)),
    push_type: 1,
    from_user_id: "k6",
    to_user_ids: recipients,
    expire_time: String(Math.floor(Date.now() / 1_000) + 3_600),
  };
  const response = http.post(`${BASE}/chatify/logic/v1/sendSystemPush`, JSON.stringify(body), {
    headers: jsonHeaders(),
  });
  check(response, {
    "status is 200": ({ status }) => status === 200,
    "every recipient has a message id": (r) =>
      r.status === 200 && r.json("msg_ids").length === recipients.length,
  });
}
