/**
 * A load that leaves no metric at rest: people who chat, people who are away and come back, system
 * pushes, and callers that are refused.
 */
import type { Cluster } from "../integration/cluster.ts";
import { RawClient } from "../integration/raw_client.ts";

const PAIRS = 4;
const SEND_EVERY_MS = 20;

export class Load {
  private running = true;
  private readonly work: Promise<void>[];
  sent = 0;

  constructor(private readonly cluster: Cluster) {
    const pairs = [...Array(PAIRS).keys()].map((i) => this.chat(i));
    this.work = [...pairs, this.comeAndGo(), this.push(), this.beRefused()];
  }

  async stop(): Promise<void> {
    this.running = false;
    await Promise.all(this.work);
  }

  private gateway(i: number): string {
    const gateways = this.cluster.gateways();
    return gateways[i % gateways.length] as string;
  }

  private async chat(pair: number): Promise<void> {
    const [from, to] = [`left${pair}`, `right${pair}`];
    const a = await RawClient.connect(this.gateway(pair), from);
    const b = await RawClient.connect(this.gateway(pair + 1), to);
    for (let i = 0; this.running; i++) {
      a.chat(to, `message ${i}`, `c${i}`);
      // A repetition, which logic recognises.
      if (i % 10 === 0) a.chat(to, `message ${i}`, `c${i}`);
      this.sent++;
      await Bun.sleep(SEND_EVERY_MS);
    }
    a.close();
    b.close();
  }

  /** Somebody who gets messages while away. */
  private async comeAndGo(): Promise<void> {
    const a = await RawClient.connect(this.gateway(0), "writer");
    for (let round = 0; this.running; round++) {
      for (let i = 0; i < 5; i++) a.chat("roamer", `${round} ${i}`, `r${round}-${i}`);
      await Bun.sleep(150);
      const b = await RawClient.connect(this.gateway(1), "roamer");
      await Bun.sleep(250);
      b.close();
      await b.closed;
    }
    a.close();
  }

  private async push(): Promise<void> {
    const url = `http://${this.gateway(0)}/chatify/logic/v1/sendSystemPush`;
    for (let i = 0; this.running; i++) {
      const body = { content_id: `${i}`, content: btoa("news"), push_type: "NOTICE" };
      const to_user_ids = ["right0", "right1", "nobody"];
      await fetch(url, { method: "POST", body: JSON.stringify({ ...body, to_user_ids }) });
      await Bun.sleep(200);
    }
  }

  /** No token, no such group, no frame at all. */
  private async beRefused(): Promise<void> {
    const url = `http://${this.gateway(1)}/chatify/access/v1/ws`;
    const a = await RawClient.connect(this.gateway(1), "clumsy");
    for (let i = 0; this.running; i++) {
      await fetch(url, { headers: { upgrade: "websocket", connection: "upgrade" } });
      a.chat("nowhere", "x", `x${i}`, { target_type: "GROUP" });
      a.send({ type: "nonsense" });
      a.send({ type: "ping" });
      await Bun.sleep(300);
    }
    a.close();
  }
}
