/**
 * 100 users in 50 pairs exchange messages through the SDK while one side of each pair goes away and
 * comes back at random. Returns what each receiver's handler saw, in order.
 */
import { type ChatifyClient, connect } from "../../sdk/chatify.ts";

export interface ChurnOptions {
  readonly gateways: readonly string[];
  readonly pairs: number;
  readonly messagesPerPair: number;
  readonly seed: number;
  /** Pause of each lane between two sends. */
  readonly paceMs?: number;
  /** How long to wait for the last message. */
  readonly waitMs?: number;
}

export interface PairResult {
  readonly sent: string[];
  readonly received: { content: string; seq: number }[];
  readonly reconnects: number;
}

/** Sends of one pair that wait for their answer at a time. */
const IN_FLIGHT = 8;

export async function churn(options: ChurnOptions): Promise<PairResult[]> {
  const pairs: Promise<PairResult[]>[] = [];
  for (let i = 0; i < options.pairs; i++) pairs.push(runPair(options, i));
  return (await Promise.all(pairs)).flat();
}

/** Both directions of one pair: `stays` keeps its connection, `roams` comes and goes. */
async function runPair(options: ChurnOptions, index: number): Promise<PairResult[]> {
  const draw = seeded(options.seed * 1_000 + index);
  const stays = new Side(options, `stays-${options.seed}-${index}`, index);
  const roams = new Side(options, `roams-${options.seed}-${index}`, index + 1);
  const half = Math.floor(options.messagesPerPair / 2);
  let sending = true;
  const roaming = (async () => {
    while (sending) {
      await Bun.sleep(200 + 800 * draw());
      if (sending) await roams.reconnect(draw() < 0.5, 300 * draw());
    }
  })();
  const [fromStays, fromRoams] = await Promise.all([
    stays.sendAll(roams.user, half),
    roams.sendAll(stays.user, half),
  ]);
  sending = false;
  await roaming;
  await Promise.all([stays.waitFor(half), roams.waitFor(half)]);
  await Promise.all([stays.close(), roams.close()]);
  return [
    { sent: fromStays, received: roams.received, reconnects: roams.reconnects },
    { sent: fromRoams, received: stays.received, reconnects: stays.reconnects },
  ];
}

class Side {
  readonly received: { content: string; seq: number }[] = [];
  reconnects = 0;
  private readonly seen = new Set<string>();
  private client: ChatifyClient;

  constructor(
    private readonly options: ChurnOptions,
    readonly user: string,
    private hop: number,
  ) {
    this.client = this.open();
  }

  /** Resends what was not answered when the connection went, under the same client message id. */
  async sendAll(to: string, count: number): Promise<string[]> {
    const contents = [...Array(count)].map((_, i) => `${this.user} ${i + 1}`);
    let next = 0;
    const lane = async () => {
      while (next < count) {
        const content = contents[next++] as string;
        await this.sendUntilSent(to, content);
        if (this.options.paceMs !== undefined) await Bun.sleep(this.options.paceMs);
      }
    };
    await Promise.all([...Array(IN_FLIGHT)].map(lane));
    return contents;
  }

  async reconnect(politely: boolean, awayMs: number): Promise<void> {
    this.reconnects++;
    const leaving = this.client.close();
    if (politely) await leaving;
    await Bun.sleep(awayMs);
    this.client = this.open();
  }

  async waitFor(count: number): Promise<void> {
    const until = performance.now() + (this.options.waitMs ?? 60_000);
    while (this.received.length < count) {
      if (performance.now() > until) {
        throw new Error(`${this.user} has ${this.received.length} of ${count} messages`);
      }
      await Bun.sleep(20);
    }
    // Anything beyond would be a surprise; give it a moment to show.
    await Bun.sleep(100);
  }

  async close(): Promise<void> {
    await this.client.close();
  }

  private async sendUntilSent(to: string, content: string): Promise<void> {
    for (;;) {
      try {
        await this.client.send({ to, content, clientMsgId: content.replaceAll(" ", ".") });
        return;
      } catch {
        await Bun.sleep(20);
      }
    }
  }

  private open(): ChatifyClient {
    const { gateways } = this.options;
    const url = `ws://${gateways[this.hop++ % gateways.length]}`;
    const client = connect({ url, token: `dev:${this.user}`, deviceId: "d1" });
    client.on("message", (message) => {
      // A new client of the SDK knows nothing of the last one's messages: dedup by msg_id.
      if (this.seen.has(message.msg_id)) return;
      this.seen.add(message.msg_id);
      this.received.push({ content: message.content, seq: message.seq });
    });
    return client;
  }
}

/** mulberry32: a small seeded generator, so that a run can be repeated. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
