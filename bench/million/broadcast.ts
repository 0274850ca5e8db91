/** One system push to everybody, a thousand recipients a call, and how fast it reaches them. */
import { userName } from "../load/tokens.ts";
import { present } from "../present.ts";
import { API_KEY } from "../targets/target.ts";

const RECIPIENTS_PER_CALL = 1_000;
const CALLS_AT_ONCE = 4;
const CONTENT = Buffer.from("The system will be serviced tonight at two.").toString("base64");
const LOOK_MS = 20;
const POINT_MS = 250;

export interface Progress {
  /** Milliseconds from the first call. */
  readonly ms: number;
  readonly reached: number;
}

export interface Broadcast {
  readonly users: number;
  readonly reached: number;
  readonly ms: number;
  /** Until the last call was answered, and with that durable. */
  readonly acceptedMs: number;
  readonly progress: readonly Progress[];
}

export interface BroadcastOptions {
  readonly ports: readonly number[];
  readonly users: readonly number[];
  /** Calls wait while more than this are still to be reached. */
  readonly aheadMax: number;
  /** How many got it by now. */
  readonly reached: () => number;
  readonly timeoutMs: number;
}

export async function broadcast(options: BroadcastOptions): Promise<Broadcast> {
  const { aheadMax, ports, reached, timeoutMs, users } = options;
  const progress: Progress[] = [];
  const startMs = performance.now();
  const passed = () => Math.round(performance.now() - startMs);
  let called = 0;
  let acceptedMs = 0;
  const caller = async (index: number) => {
    while (called < users.length && passed() < timeoutMs) {
      if (called - reached() > aheadMax) {
        await Bun.sleep(LOOK_MS);
        continue;
      }
      const part = users.slice(called, called + RECIPIENTS_PER_CALL);
      called += part.length;
      await push(present(ports[index % ports.length]), part);
      acceptedMs = passed();
    }
  };
  const calls = Promise.all(Array.from({ length: CALLS_AT_ONCE }, (_, i) => caller(i)));
  while (reached() < users.length && passed() < timeoutMs) {
    progress.push({ ms: passed(), reached: reached() });
    await Bun.sleep(POINT_MS);
  }
  await calls;
  const ms = passed();
  progress.push({ ms, reached: reached() });
  return { users: users.length, reached: reached(), ms, acceptedMs, progress };
}

async function push(port: number, users: readonly number[]): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/chatify/logic/v1/sendSystemPush`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${API_KEY}` },
    body: JSON.stringify({
      content_id: `all-${present(users[0])}`,
      content: CONTENT,
      push_type: "NOTICE",
      from_user_id: "operator",
      to_user_ids: users.map(userName),
      expire_time: 0,
    }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`a push was answered with ${response.status}: ${text}`);
}
