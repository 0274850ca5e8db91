/**
 * A backend that pushes to one user per request over keep-alive connections, and the users, who are
 * connected and ack. With a target that delivers, work is done when it has arrived.
 */

import type { LoadResult, PushJob } from "../job.ts";
import { present } from "../present.ts";
import { AckWheel } from "./acks.ts";
import { type Connection, Outbox } from "./connection.ts";
import { chatify } from "./dialects/json_dialect.ts";
import { HttpClient } from "./http_client.ts";
import { connectAll, failRun, WELCOME } from "./population.ts";
import { userName } from "./tokens.ts";
import { MeasuredWindow, tell } from "./window.ts";

const ACK_MS = 20;
const DRAIN_MS = 5_000;
const HANDSHAKES_AT_ONCE = 50;
const MESSAGE = '"message":{"msg_id":"';
/** Content of as many bytes as that of the chat bench, in base64. */
const CONTENT = Buffer.alloc(75, "lorem ipsum dolor ").toString("base64");

export class PushLoad {
  private readonly outbox = new Outbox();
  private readonly acks = new AckWheel(ACK_MS, (ids) => chatify.ack(ids));
  private readonly window: MeasuredWindow;
  private connections: Connection[] = [];
  private readonly seen = new Set<string>();
  private sending = true;
  private turn = 0;
  private answered = 0;
  private arrived = 0;
  private duplicates = 0;
  private before = 0;
  private after = 0;

  constructor(private readonly job: PushJob) {
    this.window = new MeasuredWindow(job.pids);
  }

  async run(): Promise<LoadResult> {
    const { job } = this;
    const count = () => (job.delivers ? this.arrived : this.answered);
    if (job.delivers) {
      const options = { ...job, inFlight: HANDSHAKES_AT_ONCE, greeting: WELCOME };
      this.connections = await connectAll(options, this.outbox, (i) => this.textOf(i));
    }
    tell({ event: "connected" });
    await Promise.all(Array.from({ length: job.inFlight }, (_, i) => this.backend(i)));
    await Bun.sleep(job.warmupS * 1_000);
    this.window.begin();
    this.before = count();
    await Bun.sleep(job.seconds * 1_000);
    this.after = count();
    this.window.end();
    this.sending = false;
    const until = performance.now() + DRAIN_MS;
    while (job.delivers && this.arrived < this.answered && performance.now() < until) {
      await Bun.sleep(10);
    }
    this.acks.stop();
    await Bun.sleep(500);
    const { duplicates } = this;
    const missing = job.delivers ? this.answered - this.arrived : 0;
    const done = this.after - this.before;
    return { ...this.window.result(), done, total: count(), rejected: {}, duplicates, missing };
  }

  private async backend(index: number): Promise<void> {
    const { apiKey, httpPorts } = this.job;
    const head =
      "POST /chatify/logic/v1/sendSystemPush HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
      `Authorization: Bearer ${apiKey}\r\nContent-Type: application/json\r\nContent-Length: `;
    let sentMs = 0;
    const next = () => {
      if (!this.sending) return;
      sentMs = performance.now();
      this.turn += 1;
      const to = userName(this.turn % this.job.users);
      const fields = `"content_id":"c${this.turn}","content":"${CONTENT}","push_type":"NOTICE"`;
      const body = `{${fields},"from_user_id":"bench","to_user_ids":["${to}"],"expire_time":0}`;
      client.send(`${head}${body.length}\r\n\r\n${body}`);
    };
    const client = new HttpClient((status, body) => {
      if (status !== 200) failRun(`a push was answered with ${status}: ${body}`);
      this.answered += 1;
      if (this.window.open) this.window.answer.record((performance.now() - sentMs) * 1_000);
      next();
    });
    await client.connect(present(httpPorts[index % httpPorts.length]));
    next();
  }

  private textOf(index: number) {
    return (data: Buffer, start: number, end: number): void => {
      const text = data.toString("latin1", start, end);
      for (let at = text.indexOf(MESSAGE); at >= 0; at = text.indexOf(MESSAGE, at)) {
        at += MESSAGE.length;
        const id = text.slice(at, text.indexOf('"', at));
        this.acks.add(present(this.connections[index]), id);
        if (this.seen.has(id)) this.duplicates += 1;
        else this.arrived += 1;
        this.seen.add(id);
      }
    };
  }
}
