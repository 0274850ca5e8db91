/**
 * One writes to a group that everybody is in; when the message has reached all others, the next one
 * goes. Deliveries a second is thus the recipients divided by the time until the last one has it.
 */

import type { FanoutJob, LoadResult } from "../job.ts";
import { present } from "../present.ts";
import { AckWheel } from "./acks.ts";
import { type Connection, Outbox } from "./connection.ts";
import { chatify } from "./dialects/json_dialect.ts";
import { textFrame } from "./frames.ts";
import { connectAll, WELCOME } from "./population.ts";
import { MeasuredWindow, tell } from "./window.ts";

const ACK_MS = 20;
const HANDSHAKES_AT_ONCE = 200;
const ROUND_MS = 10_000;
const MESSAGE = '"message":{"msg_id":"';
const CONTENT = '"content":"';
const COUNTER = 10;
const BODY_BYTES = 100;

export class FanoutLoad {
  private readonly outbox = new Outbox();
  private readonly acks = new AckWheel(ACK_MS, (ids) => chatify.ack(ids));
  private readonly window: MeasuredWindow;
  private connections: Connection[] = [];
  /** The counter of the last message that each user got. */
  private readonly last: Float64Array;
  private counter = 0;
  private reached = 0;
  private sentMs = 0;
  private all = Promise.withResolvers<void>();
  private done = 0;
  private total = 0;
  private duplicates = 0;
  private missing = 0;

  constructor(private readonly job: FanoutJob) {
    this.window = new MeasuredWindow(job.pids);
    this.last = new Float64Array(job.users);
  }

  async run(): Promise<LoadResult> {
    const { job } = this;
    const options = { ...job, inFlight: HANDSHAKES_AT_ONCE, greeting: WELCOME };
    this.connections = await connectAll(options, this.outbox, (i) => this.textOf(i));
    tell({ event: "connected" });
    await this.rounds(job.warmupS);
    this.window.begin();
    await this.rounds(job.seconds);
    this.window.end();
    this.acks.stop();
    await Bun.sleep(500);
    const { done, duplicates, missing, total } = this;
    return { ...this.window.result(), done, total, rejected: {}, duplicates, missing };
  }

  private async rounds(seconds: number): Promise<void> {
    const until = performance.now() + seconds * 1_000;
    while (performance.now() < until) await this.round();
  }

  private async round(): Promise<void> {
    this.counter += 1;
    this.reached = 0;
    this.all = Promise.withResolvers();
    this.sentMs = performance.now();
    const number = String(this.counter).padStart(COUNTER, "0");
    const content = number.padEnd(BODY_BYTES, "lorem ipsum dolor ");
    const to = `"target_type":"GROUP","to_user_id":"${this.job.group}"`;
    const id = `"client_msg_id":"f${number}"`;
    present(this.connections[0]).write(
      textFrame(`{"type":"send",${id},${to},"content":"${content}"}`),
    );
    const timer = setTimeout(() => this.all.resolve(), ROUND_MS);
    await this.all.promise;
    clearTimeout(timer);
    this.missing += this.job.users - 1 - this.reached;
  }

  private textOf(index: number) {
    return (data: Buffer, start: number, end: number): void => {
      const text = data.toString("latin1", start, end);
      for (let at = text.indexOf(MESSAGE); at >= 0; at = text.indexOf(MESSAGE, at)) {
        const idAt = at + MESSAGE.length;
        const id = text.slice(idAt, text.indexOf('"', idAt));
        at = text.indexOf(CONTENT, idAt) + CONTENT.length;
        if (this.job.acks) this.acks.add(present(this.connections[index]), id);
        this.onMessage(index, Number(text.slice(at, at + COUNTER)));
      }
    };
  }

  /** A bare publish also reaches the writer, who is not counted. */
  private onMessage(index: number, counter: number): void {
    if (index === 0) return;
    if (counter <= present(this.last[index])) {
      this.duplicates += 1;
      return;
    }
    this.last[index] = counter;
    this.total += 1;
    this.reached += 1;
    if (this.window.open) {
      this.done += 1;
      this.window.delivery.record((performance.now() - this.sentMs) * 1_000);
    }
    if (this.reached === this.job.users - 1) this.all.resolve();
  }
}
