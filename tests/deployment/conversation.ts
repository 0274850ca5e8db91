/**
 * Two people who use a deployment as real clients do: the SDK, over the published port, with tokens
 * that the gateway checks. Whatever happens to the servers, what was sent is what arrives.
 */
import { expect } from "bun:test";
import { type ChatifyClient, connect } from "../../sdk/chatify.ts";
import { signToken } from "../../src/core/auth/tokens.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { Message } from "../../src/core/protocol/message.ts";
import { eventually } from "./deployment.ts";

export class Conversation {
  readonly received: Message[] = [];
  readonly sent: string[] = [];
  private readonly sends: Promise<unknown>[] = [];
  private readonly alice: ChatifyClient;
  private bob: ChatifyClient;

  constructor(
    private readonly gateway: string,
    private readonly jwtSecret: string,
    private readonly name: string,
  ) {
    this.alice = this.client("alice");
    this.bob = this.client("bob");
    this.listen();
  }

  /** Sends `count` more, each as soon as the one before it is durable; does not wait for them. */
  send(count: number): void {
    for (let i = 0; i < count; i++) {
      const content = `${this.name} ${this.sent.length}`;
      this.sent.push(content);
      this.sends.push(this.alice.send({ to: `bob-${this.name}`, content }));
    }
  }

  /** Waits until everything that was sent has been answered and received; checks that it is it. */
  async settle(ms: number): Promise<void> {
    await Promise.all(this.sends.splice(0));
    const until = performance.now() + ms;
    while (this.received.length < this.sent.length && performance.now() < until) {
      await Bun.sleep(20);
    }
    expect(this.received.map((message) => message.content)).toEqual(this.sent);
    expect(this.received.map((message) => message.seq)).toEqual(this.sent.map((_, i) => i + 1));
  }

  /** As a backend of the operator's would, to bob. */
  systemPush(headers: Record<string, string>): Promise<Response> {
    const push = { content_id: "1", content: btoa("news"), push_type: "NOTICE" };
    return fetch(`http://${this.gateway}/chatify/logic/v1/sendSystemPush`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ ...push, to_user_ids: [`bob-${this.name}`] }),
    });
  }

  async pushArrives(ms: number): Promise<void> {
    await eventually("the system push arrives", ms, async () =>
      this.received.some((message) => message.target_type === "SYSTEM"),
    );
  }

  async bobLeaves(): Promise<void> {
    await this.bob.close();
  }

  bobReturns(): void {
    this.bob = this.client("bob");
    this.listen();
  }

  async close(): Promise<void> {
    await Promise.all([this.alice.close(), this.bob.close()]);
  }

  private client(who: string): ChatifyClient {
    const [clock, secret] = [systemClock, this.jwtSecret];
    const token = () =>
      signToken({ clock, secret, userId: `${who}-${this.name}`, ttlSeconds: 600 });
    return connect({ url: `http://${this.gateway}`, token, deviceId: "d1" });
  }

  private listen(): void {
    this.bob.on("message", (message) => {
      this.received.push(message);
    });
  }
}
