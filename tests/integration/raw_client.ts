/**
 * A client written from docs/PROTOCOL.md alone, without the SDK: it sends frames, acks what it gets
 * (unless told not to) and remembers everything in the order in which it came.
 */
import type { Message } from "../../src/core/protocol/message.ts";

export interface Frame {
  readonly type: string;
  readonly [field: string]: unknown;
}

export class RawClient {
  readonly frames: Frame[] = [];
  /** Every delivery, repetitions included. */
  readonly messages: Message[] = [];
  readonly closed: Promise<number>;
  acking = true;
  private readonly socket: WebSocket;
  private readonly waiters: (() => void)[] = [];

  private constructor(url: string) {
    this.socket = new WebSocket(url, "chatify.v1");
    this.closed = new Promise((resolve) => {
      this.socket.addEventListener("close", (event) => {
        resolve(event.code);
        this.wake();
      });
    });
    this.socket.addEventListener("message", (event) => this.onText(String(event.data)));
  }

  /** Resolves at `welcome`. */
  static async connect(gateway: string, user: string, device = "d1"): Promise<RawClient> {
    const client = RawClient.open(gateway, `dev:${user}:${device}`);
    await client.frame("welcome");
    return client;
  }

  /** Connects, and waits for nothing: the server may have reasons to refuse. */
  static open(gateway: string, token: string, device = ""): RawClient {
    const name = device === "" ? "" : `&device_id=${device}`;
    return new RawClient(`ws://${gateway}/chatify/access/v1/ws?token=${token}${name}`);
  }

  send(...frames: object[]): void {
    this.socket.send(JSON.stringify(frames.length === 1 ? frames[0] : frames));
  }

  /** Sends text as it is. */
  raw(text: string): void {
    this.socket.send(text);
  }

  chat(to: string, content: string, clientMsgId: string, extra: object = {}): void {
    const frame = { type: "send", to_user_id: to, content, client_msg_id: clientMsgId, ...extra };
    this.send(frame);
  }

  /** The first frame of this type that fits, waiting for it if need be. */
  async frame(type: string, fits: (frame: Frame) => boolean = () => true): Promise<Frame> {
    let found: Frame | undefined;
    await this.until(() => {
      found = this.frames.find((frame) => frame.type === type && fits(frame));
      return found !== undefined;
    }, `a ${type} frame`);
    return found as Frame;
  }

  /** Waits until `count` different messages are there. */
  async received(count: number): Promise<Message[]> {
    await this.until(() => this.unique().length >= count, `${count} messages`);
    return this.unique();
  }

  /** Messages after dedup by msg_id, in order of their first arrival. */
  unique(): Message[] {
    return [...new Map(this.messages.map((m) => [m.msg_id, m])).values()];
  }

  async until(condition: () => boolean, what: string, ms = 15_000): Promise<void> {
    const deadline = performance.now() + ms;
    while (!condition()) {
      const left = deadline - performance.now();
      if (left <= 0) {
        const got = JSON.stringify(this.frames.slice(-5));
        throw new Error(`waited ${ms} ms for ${what}; the last frames are ${got}`);
      }
      await Promise.race([
        new Promise<void>((resolve) => this.waiters.push(resolve)),
        Bun.sleep(left),
      ]);
    }
  }

  close(): void {
    this.socket.close();
  }

  /** Goes away without a word, as a phone in a tunnel does. */
  terminate(): void {
    (this.socket as unknown as { terminate(): void }).terminate();
  }

  private onText(text: string): void {
    const value: unknown = JSON.parse(text);
    const acks: string[] = [];
    for (const frame of (Array.isArray(value) ? value : [value]) as Frame[]) {
      this.frames.push(frame);
      if (frame.type !== "message") continue;
      const message = frame.message as Message;
      this.messages.push(message);
      acks.push(message.msg_id);
    }
    if (acks.length > 0 && this.acking) this.send({ type: "ack", msg_ids: acks });
    this.wake();
  }

  private wake(): void {
    for (const resolve of this.waiters.splice(0)) resolve();
  }
}
