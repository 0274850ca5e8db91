/**
 * Users in pairs who write to each other. Closed loop: each has `inFlight` messages on the way, and
 * one that reaches its recipient lets the next one go. Open loop: messages leave on a fixed schedule
 * and are timed from the moment they were due, so a server that stalls is charged for all that
 * waited (no coordinated omission).
 */

import type { ChatJob, DialectName, LoadResult } from "../job.ts";
import { present } from "../present.ts";
import { AckWheel } from "./acks.ts";
import { type Link, Outbox } from "./connection.ts";
import {
  COUNTER_DIGITS,
  type Dialect,
  INDEX_DIGITS,
  type Receiver,
  type Template,
} from "./dialects/dialect.ts";
import { centrifuge, chatify, socketio } from "./dialects/json_dialect.ts";
import { mqtt } from "./dialects/mqtt_dialect.ts";
import { failRun } from "./population.ts";
import { MeasuredWindow, tell } from "./window.ts";

const DRAIN_MS = 10_000;
const WARMUP_MS_MAX = 40_000;
/** All users together, before an open loop. */
const WARMUP_IN_FLIGHT = 800;
const OPEN_LOOP_SETTLE_MS = 2_000;
const PACKET_IDS = 65_535;
const ANSWER = '{"type":"sent","client_msg_id":"';
const REJECTED = '"type":"rejected"';

interface Sender {
  readonly link: Link;
  readonly template: Template;
  counter: number;
  /** The counter of the last message that its partner got from it. */
  arrived: number;
}

const DIALECTS: Readonly<Record<DialectName, Dialect>> = { centrifuge, chatify, mqtt, socketio };
const STAMPED = INDEX_DIGITS + COUNTER_DIGITS;

const nowUs = () => Math.round(performance.now() * 1_000);

export class ChatLoad implements Receiver {
  private readonly outbox = new Outbox();
  private readonly dialect: Dialect;
  private readonly acks: AckWheel;
  private readonly window: MeasuredWindow;
  private readonly senders: Sender[] = [];
  private readonly rejected: Record<string, number> = {};
  private sending = true;
  /** True: a message that arrives lets the next one go. */
  private looping = false;
  private sent = 0;
  private total = 0;
  private done = 0;
  private duplicates = 0;

  constructor(private readonly job: ChatJob) {
    this.window = new MeasuredWindow(job.pids);
    this.dialect = DIALECTS[job.dialect];
    const onAck = () => {
      if (this.window.open) this.window.acks += 1;
    };
    this.acks = new AckWheel(job.ackMs, (ids) => this.dialect.ack(ids), onAck);
  }

  async run(): Promise<LoadResult> {
    const { job } = this;
    const links = await this.dialect.connect(job, this.outbox, this);
    for (const [i, link] of links.entries()) {
      const template = this.dialect.template(i, job);
      this.senders.push({ link, template, counter: 0, arrived: 0 });
    }
    tell({ event: "connected" });
    await this.warmUp();
    this.window.begin();
    await Bun.sleep(job.seconds * 1_000);
    while (this.total < job.messagesMin) await Bun.sleep(50);
    this.window.end();
    this.sending = false;
    await this.drain();
    const { done, duplicates, rejected, total } = this;
    const missing = this.sent - total - sum(Object.values(rejected));
    return { ...this.window.result(), done, total, rejected, duplicates, missing };
  }

  /**
   * At full speed also before an open loop, and until enough has been done: a server whose hot
   * functions are not compiled yet would be measured as something that no server is for long.
   */
  private async warmUp(): Promise<void> {
    const { inFlight, rate, users, warmupMessages, warmupS } = this.job;
    this.looping = true;
    const each = inFlight ?? Math.max(1, Math.round(WARMUP_IN_FLIGHT / users));
    for (const user of this.senders) for (let i = 0; i < each; i += 1) this.send(user);
    const startMs = performance.now();
    const passed = () => performance.now() - startMs;
    const warm = () => passed() > warmupS * 1_000 && this.total >= warmupMessages;
    while (!warm() && passed() < WARMUP_MS_MAX) await Bun.sleep(50);
    if (inFlight !== null) return;
    this.looping = false;
    while (this.total < this.sent && passed() < WARMUP_MS_MAX * 2) await Bun.sleep(10);
    this.openLoop(rate);
    await Bun.sleep(OPEN_LOOP_SETTLE_MS);
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
        const user = present(this.senders[written % this.senders.length]);
        this.send(user, startUs + Math.round((written * 1_000_000) / rate));
      }
      if (!this.sending) clearInterval(timer);
    }, 1);
  }

  private send(user: Sender, dueUs = nowUs()): void {
    user.counter += 1;
    this.sent += 1;
    const stamp = `${String(user.counter).padStart(10, "0")}${String(dueUs).padStart(14, "0")}`;
    const { frame, packetIdAt, stampAt } = user.template;
    for (const at of stampAt) frame.write(stamp, at, "latin1");
    if (packetIdAt !== null) frame.writeUInt16BE((user.counter % PACKET_IDS) + 1, packetIdAt);
    user.link.write(Buffer.from(frame));
  }

  onText(_: number, text: string): void {
    if (this.window.open) this.window.received += 1;
    if (this.job.inFlight === null) this.onAnswers(text);
    if (text.includes(REJECTED)) this.onRejected(text);
    else if (text.includes('"type":"error"')) failRun(`the server said ${text.slice(0, 300)}`);
  }

  onMessage(index: number, ackId: string, stamp: string): void {
    this.acks.add(present(this.senders[index]).link, ackId);
    const from = present(this.senders[Number(stamp.slice(0, INDEX_DIGITS))]);
    const counter = Number(stamp.slice(INDEX_DIGITS, STAMPED));
    if (counter <= from.arrived) {
      this.duplicates += 1;
      return;
    }
    from.arrived = counter;
    this.total += 1;
    if (this.window.open) {
      this.done += 1;
      this.window.delivery.record(nowUs() - Number(stamp.slice(STAMPED)));
    }
    if (this.sending && this.looping) this.send(from);
  }

  /** The client message id holds the same stamp as the content. */
  private onAnswers(text: string): void {
    if (!this.window.open) return;
    for (let at = text.indexOf(ANSWER); at >= 0; at = text.indexOf(ANSWER, at + 1)) {
      const stampAt = at + ANSWER.length + STAMPED;
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
      const user = present(this.senders[Number(frame.client_msg_id.slice(0, INDEX_DIGITS))]);
      if (!this.looping) continue;
      setTimeout(() => this.sending && this.send(user), 1_000);
    }
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
