/**
 * Pairs that chat through the SDK without a pause while a test ends processes under them. Each
 * message carries its number, so that what arrived can be held against what was accepted; when each
 * was sent and when it first arrived tells how long a fault was felt.
 */
import { type ChatifyClient, connect, type SocketConstructor } from "../../sdk/chatify.ts";

export interface ChatOptions {
  /** The gateways that live now; asked at every dial, as a load balancer would. */
  readonly gateways: () => readonly string[];
  readonly pairs: number;
  /** Between two sends of one direction, in milliseconds. */
  readonly everyMs: number;
}

/** One direction of one pair: who sends, what was accepted, what arrived. */
export class Direction {
  readonly sentAt = new Map<string, number>();
  readonly accepted = new Set<string>();
  /** Contents in order of their first arrival, with their seq. */
  readonly received: { content: string; seq: number; at: number }[] = [];
  readonly failures: string[] = [];
  open = 0;

  constructor(readonly name: string) {}
}

export class Chat {
  readonly directions: Direction[] = [];
  private readonly clients: ChatifyClient[] = [];
  private readonly dialled: { next: number } = { next: 0 };
  private sending = true;
  private readonly senders: Promise<void>[] = [];

  private constructor(private readonly options: ChatOptions) {}

  /** Resolves once every user has received something. */
  static async start(options: ChatOptions): Promise<Chat> {
    const chat = new Chat(options);
    for (let i = 0; i < options.pairs; i++) chat.pair(`left-${i}`, `right-${i}`);
    await chat.until(() => chat.directions.every((d) => d.received.length > 0), "a first message");
    return chat;
  }

  /** Ends the sending and waits until all that was accepted has arrived. */
  async finish(): Promise<void> {
    this.sending = false;
    await Promise.all(this.senders);
    await this.until(() => this.directions.every((d) => d.open === 0), "every send to be decided");
    await this.until(() => this.missing().length === 0, "everything accepted to arrive");
  }

  async close(): Promise<void> {
    this.sending = false;
    await Promise.all(this.clients.map((client) => client.close()));
  }

  /** What was accepted and has not arrived. */
  missing(): string[] {
    return this.directions.flatMap((direction) => {
      const got = new Set(direction.received.map(({ content }) => content));
      return [...direction.accepted].filter((content) => !got.has(content));
    });
  }

  /** Arrivals whose seq or own number is not above the one before, and failed sends. */
  faults(): string[] {
    return this.directions.flatMap((direction) => {
      const found = [...direction.failures];
      for (let i = 1; i < direction.received.length; i++) {
        const [before, after] = [direction.received[i - 1], direction.received[i]];
        if (before === undefined || after === undefined) continue;
        const inOrder = after.seq > before.seq && number(after.content) > number(before.content);
        if (!inOrder)
          found.push(`${after.content}#${after.seq} after ${before.content}#${before.seq}`);
      }
      return found;
    });
  }

  /**
   * How long the fault at `faultAt` (performance.now) was felt, for each direction that felt it: from
   * then until the last arrival, that took longer than `slowMs`.
   */
  heldUpMs(faultAt: number, slowMs: number): number[] {
    return this.directions.flatMap(({ received, sentAt }) => {
      const late = received.filter(({ content, at }) => {
        return at > faultAt && at - (sentAt.get(content) ?? at) > slowMs;
      });
      const last = late.at(-1);
      return last === undefined ? [] : [last.at - faultAt];
    });
  }

  async until(condition: () => boolean, what: string, ms = 30_000): Promise<void> {
    const deadline = performance.now() + ms;
    while (!condition()) {
      if (performance.now() > deadline) {
        const missing = this.missing();
        const open = this.directions.filter((d) => d.open > 0).map((d) => `${d.name}:${d.open}`);
        throw new Error(
          `waited ${ms} ms for ${what}; missing ${missing.length}: ` +
            `${missing.slice(0, 5).join(", ")}; open ${open.join(", ")}`,
        );
      }
      await Bun.sleep(5);
    }
  }

  private pair(left: string, right: string): void {
    const [a, b] = [this.connect(left), this.connect(right)];
    this.direction(a, b, left, right);
    this.direction(b, a, right, left);
  }

  private direction(from: ChatifyClient, to: ChatifyClient, name: string, target: string): void {
    const direction = new Direction(name);
    const seen = new Set<string>();
    this.directions.push(direction);
    to.on("message", (message) => {
      if (seen.has(message.msg_id)) return;
      seen.add(message.msg_id);
      const { content, seq } = message;
      direction.received.push({ content, seq, at: performance.now() });
    });
    this.senders.push(this.talk(from, direction, target));
  }

  private async talk(from: ChatifyClient, direction: Direction, to: string): Promise<void> {
    for (let i = 1; this.sending; i++) {
      const content = `${direction.name} ${i}`;
      direction.sentAt.set(content, performance.now());
      direction.open++;
      const onAccepted = () => void direction.accepted.add(content);
      from
        .send({ to, content, onAccepted })
        .then(
          () => void direction.accepted.add(content),
          (error: unknown) => void direction.failures.push(`${content}: ${String(error)}`),
        )
        .finally(() => direction.open--);
      await Bun.sleep(this.options.everyMs);
    }
  }

  private connect(user: string): ChatifyClient {
    const client = connect({
      url: "ws://balancer.invalid",
      token: `dev.${Buffer.from(user).toString("base64url")}`,
      deviceId: "d1",
      WebSocket: balanced(this.options.gateways, this.dialled),
    });
    this.clients.push(client);
    return client;
  }
}

const number = (content: string) => Number(content.slice(content.indexOf(" ") + 1));

/** A WebSocket that dials the gateways that live in turn, whatever host it is given. */
function balanced(gateways: () => readonly string[], turn: { next: number }): SocketConstructor {
  class Balanced extends WebSocket {
    constructor(url: string, protocols: string[]) {
      const live = gateways();
      const target = live[turn.next++ % Math.max(1, live.length)] ?? "127.0.0.1:1";
      super(url.replace("balancer.invalid", target), protocols);
    }
  }
  return Balanced as unknown as SocketConstructor;
}

/** The smallest value that `share` of them do not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}
