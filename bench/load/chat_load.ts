/**
 * Users in pairs who write to each other. Closed loop: each has `inFlight` messages on the way, and
 * one that reaches its recipient lets the next one go. Open loop: messages leave on a fixed schedule
 * and are timed from the moment they were due, so a server that stalls is charged for all that
 * waited (no coordinated omission).
 */
import type { ChatJob, LoadResult } from "../job.ts";
import { AckWheel } from "./acks.ts";
import { type Connection, Outbox } from "./connection.ts";
import { textFrame } from "./frames.ts";
import { connectAll, failRun } from "./population.ts";
import { userName } from "./tokens.ts";
import { MeasuredWindow, tell } from "./window.ts";

const DRAIN_MS = 10_000;
const HANDSHAKES_AT_ONCE = 50;
/** Content begins with the sender's index (6 digits), a counter (10) and microseconds (14). */
const STAMP = 30;
const CONTENT = '"content":"';
const MESSAGE = '"message":{"msg_id":"';
const ANSWER = '{"type":"sent","client_msg_id":"';
const REJECTED = '"type":"rejected"';

interface Sender {
  connection: Connection;
  readonly template: Buffer;
  readonly stampAt: readonly number[];
  counter: number;
  /** The counter of the last message that its partner got from it. */
  arrived: number;
}

const nowUs = () => Math.round(performance.now() * 1_000);

export class ChatLoad {
  private readonly outbox = new Outbox();
  private readonly acks: AckWheel;
  private readonly window: MeasuredWindow;
  private readonly senders: Sender[] = [];
  private readonly rejected: Record<string, number> = {};
  private sending = true;
  private sent = 0;
  private total = 0;
  private done = 0;
  private duplicates = 0;

  constructor(private readonly job: ChatJob) {
    this.acks = new AckWheel(job.ackMs);
    this.window = new MeasuredWindow(job.pids);
  }

  async run(): Promise<LoadResult> {
    const { job } = this;
    const options = { ...job, inFlight: HANDSHAKES_AT_ONCE, welcomes: true };
    const connections = await connectAll(options, this.outbox, (i) => this.textOf(i));
    for (const [i, connection] of connections.entries())
      this.senders.push(sender(i, connection, job));
    tell({ event: "connected" });
    if (job.inFlight === null) this.openLoop(job.rate);
    else for (const user of this.senders) for (let i = 0; i < job.inFlight; i += 1) this.send(user);
    await Bun.sleep(job.warmupS * 1_000);
    this.window.begin();
    await Bun.sleep(job.seconds * 1_000);
    this.window.end();
    this.sending = false;
    await this.drain();
    const { done, duplicates, rejected, total } = this;
    const missing = this.sent - total - sum(Object.values(rejected));
    return { ...this.window.result(), done, total, rejected, duplicates, missing };
  }

  private async drain(): Promise<void> {
    const until = performance.now() + DRAIN_MS;
    const open = () => this.sent - this.total - sum(Object.values(this.rejected));
    while (open() > 0 && performance.now() < until) await Bun.sleep(10);
    this.acks.stop();
    await Bun.sleep(500);
  }

  /** Catches up after a late timer; each message keeps the time at which it was due. */
  private openLoop(rate: number): void {
    const startUs = nowUs();
    let written = 0;
    const timer = setInterval(() => {
      const due = Math.floor(((nowUs() - startUs) * rate) / 1_000_000);
      for (; written < due && this.sending; written += 1) {
        const user = this.senders[written % this.senders.length]!;
        this.send(user, startUs + Math.round((written * 1_000_000) / rate));
      }
      if (!this.sending) clearInterval(timer);
    }, 1);
  }

  private send(user: Sender, dueUs = nowUs()): void {
    user.counter += 1;
    this.sent += 1;
    const stamp = `${String(user.counter).padStart(10, "0")}${String(dueUs).padStart(14, "0")}`;
    for (const at of user.stampAt) user.template.write(stamp, at, "latin1");
    user.connection.write(Buffer.from(user.template));
  }

  private textOf(index: number) {
    return (data: Buffer, start: number, end: number): void => {
      const text = data.toString("latin1", start, end);
      let at = text.indexOf(MESSAGE);
      for (; at >= 0; at = text.indexOf(MESSAGE, at)) {
        const idAt = at + MESSAGE.length;
        const idEnd = text.indexOf('"', idAt);
        const stampAt = text.indexOf(CONTENT, idEnd) + CONTENT.length;
        this.acks.add(this.senders[index]!.connection, text.slice(idAt, idEnd));
        this.onMessage(text.slice(stampAt, stampAt + STAMP));
        at = stampAt;
      }
      if (this.job.inFlight === null) this.onAnswers(text);
      if (text.includes(REJECTED)) this.onRejected(text);
      else if (text.includes('"type":"error"')) failRun(`the server said ${text.slice(0, 300)}`);
    };
  }

  private onMessage(stamp: string): void {
    const from = this.senders[Number(stamp.slice(0, 6))]!;
    const counter = Number(stamp.slice(6, 16));
    if (counter <= from.arrived) {
      this.duplicates += 1;
      return;
    }
    from.arrived = counter;
    this.total += 1;
    if (this.window.open) {
      this.done += 1;
      this.window.delivery.record(nowUs() - Number(stamp.slice(16)));
    }
    if (this.sending && this.job.inFlight !== null) this.send(from);
  }

  /** The client message id holds the same stamp as the content. */
  private onAnswers(text: string): void {
    if (!this.window.open) return;
    for (let at = text.indexOf(ANSWER); at >= 0; at = text.indexOf(ANSWER, at + 1)) {
      const stampAt = at + ANSWER.length + 16;
      this.window.answer.record(nowUs() - Number(text.slice(stampAt, stampAt + 14)));
    }
  }

  /** Counted, and replaced by another message a second later, so that the loop goes on. */
  private onRejected(text: string): void {
    const frames = [JSON.parse(text) as unknown].flat() as {
      type: string;
      code: string;
      client_msg_id: string;
    }[];
    for (const frame of frames) {
      if (frame.type !== "rejected") continue;
      this.rejected[frame.code] = (this.rejected[frame.code] ?? 0) + 1;
      const user = this.senders[Number(frame.client_msg_id.slice(0, 6))]!;
      if (this.job.inFlight === null) continue;
      setTimeout(() => this.sending && this.send(user), 1_000);
    }
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/** The frame of one user with room for the stamps: patched, never encoded again. */
function sender(index: number, connection: Connection, job: ChatJob): Sender {
  const number = String(index).padStart(6, "0");
  const room = "0".repeat(STAMP - number.length);
  const partner = userName(index ^ 1);
  const body = `${number}${room}`.padEnd(job.bodyBytes, "lorem ipsum dolor ");
  const ids = `"client_msg_id":"${number}${room}","to_user_id":"${partner}"`;
  const template = textFrame(`{"type":"send",${ids},"content":"${body}"}`);
  const first = template.indexOf('"client_msg_id":"') + '"client_msg_id":"'.length;
  const second = template.indexOf(CONTENT) + CONTENT.length;
  const stampAt = [first + number.length, second + number.length];
  return { connection, template, stampAt, counter: 0, arrived: 0 };
}
