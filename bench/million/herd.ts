/**
 * Many silent users in one process: each connects, is welcomed, answers pings, acks what it gets, and
 * comes back when it is sent away, after the time it was told. A user is a few numbers in typed
 * arrays; a buffer of its own it has only while half a frame has come.
 */
import { Histogram } from "../histogram.ts";
import {
  FrameReader,
  OPCODE_CLOSE,
  OPCODE_PING,
  OPCODE_TEXT,
  pongFrame,
  textFrame,
} from "../load/frames.ts";
import { tokenOf, userName } from "../load/tokens.ts";
import { present } from "../present.ts";
import { close, Poll, receive, send, startConnect } from "./libc.ts";
import type { HerdJob, HerdReport } from "./orders.ts";

/** More than a process may have open. */
const FDS_MAX = 65_536;
const READ_BYTES = 262_144;
/** A refused or lost connection is tried again after this, unless the server says otherwise. */
const RETRY_MS = 1_000;
const SOURCES = 16;
const HEAD_END = "\r\n\r\n";
const MESSAGE = '"message":{"msg_id":"';
const KEY = "Y2hhdGlmeS1iZW5jaC0wMA==";

enum State {
  Free = 0,
  Connecting = 1,
  Upgrading = 2,
  Registering = 3,
  Here = 4,
}

interface Return {
  readonly user: number;
  readonly at: number;
  readonly since: number;
}

export class Herd {
  private readonly poll = new Poll();
  private readonly buffer = Buffer.allocUnsafe(READ_BYTES);
  private readonly state = new Uint8Array(FDS_MAX);
  private readonly userOf = new Uint32Array(FDS_MAX);
  private readonly portOf = new Uint16Array(FDS_MAX);
  private readonly startedAt = new Float64Array(FDS_MAX);
  /** Of those that were told to go: when. */
  private readonly awaySince = new Float64Array(FDS_MAX);
  private readonly returnIn = new Float64Array(FDS_MAX).fill(RETRY_MS);
  private readonly partial = new Map<number, FrameReader>();
  /** What each user got last, hashed: a repetition comes right after, or not at all. */
  private readonly lastMessage = new Map<number, string>();

  private readonly queue: [port: number, users: number][] = [];
  private returns: Return[] = [];
  private ports: readonly number[] = [];
  private atOnce = 1;
  private opening = 0;
  private nextUser = 0;

  private here = 0;
  private messages = 0;
  private repeated = 0;
  private pings = 0;
  private ended = 0;
  private byes = 0;
  private refused = 0;
  /** Ended before they were there: without an answer, and without a welcome. */
  private unanswered = 0;
  private unwelcomed = 0;
  private readonly welcome = new Histogram();
  private readonly away = new Histogram();
  /** Of the read at hand. */
  private acks: string[] = [];

  constructor(private readonly job: HerdJob) {}

  connect(to: readonly (readonly [number, number])[], atOnce: number): void {
    for (const [port, users] of to) this.queue.push([port, users]);
    this.atOnce = atOnce;
  }

  setPorts(ports: readonly number[]): void {
    this.ports = ports;
  }

  report(): HerdReport {
    const { byes, ended, here, messages, nextUser: wanted, pings, refused, repeated } = this;
    const { unanswered, unwelcomed } = this;
    const failed = { refused, unanswered, unwelcomed };
    const figures = (histogram: Histogram) => ({
      p50: histogram.percentile(50),
      p99: histogram.percentile(99),
      max: histogram.max,
    });
    const [welcomeMs, awayMs] = [figures(this.welcome), figures(this.away)];
    return { wanted, here, messages, repeated, pings, ended, byes, failed, welcomeMs, awayMs };
  }

  /** Does what there is to do; waits at most `waitMs` for more. */
  turn(waitMs: number): void {
    this.poll.wait(this.mayOpen() ? 1 : waitMs, this.onReady);
    const now = performance.now();
    if (this.returns.length > 0) this.comeBack(now);
    this.openMore();
  }

  private mayOpen(): boolean {
    return this.queue.length > 0 && this.opening < this.atOnce;
  }

  private openMore(): void {
    while (this.mayOpen()) {
      const first = present(this.queue[0]);
      this.open(this.nextUser, first[0], 0);
      this.nextUser += 1;
      first[1] -= 1;
      // In turn, so that no gateway is stormed while others wait.
      this.queue.shift();
      if (first[1] > 0) this.queue.push(first);
    }
  }

  private comeBack(now: number): void {
    const due = this.returns.filter(({ at }) => at <= now);
    if (due.length === 0 || this.ports.length === 0) return;
    this.returns = this.returns.filter(({ at }) => at > now);
    for (const { since, user } of due) {
      const port = present(this.ports[Math.floor(Math.random() * this.ports.length)]);
      this.open(user, port, since);
    }
  }

  private open(user: number, port: number, since: number): void {
    const source = ((127 << 24) | ((this.job.herd + 1) << 16) | (1 + (user % SOURCES))) >>> 0;
    const fd = startConnect(source, port);
    if (fd < 0) {
      this.refused += 1;
      this.returns.push({ user, since, at: performance.now() + RETRY_MS });
      return;
    }
    this.state[fd] = State.Connecting;
    this.userOf[fd] = user;
    this.portOf[fd] = port;
    this.startedAt[fd] = performance.now();
    this.awaySince[fd] = since;
    this.returnIn[fd] = RETRY_MS;
    this.opening += 1;
    this.poll.add(fd);
  }

  private readonly onReady = (fd: number, broken: boolean): void => {
    const state = this.state[fd];
    if (state === State.Free) return;
    if (state === State.Connecting && !this.request(fd)) return;
    for (;;) {
      const length = receive(fd, this.buffer);
      if (length === 0 || (length < 0 && broken)) this.lost(fd);
      if (length <= 0) return;
      this.read(fd, this.buffer.subarray(0, length));
      if (this.state[fd] === State.Free || length < READ_BYTES) return;
    }
  };

  private request(fd: number): boolean {
    const token = tokenOf(userName(this.job.firstUser + present(this.userOf[fd])), this.job.secret);
    const text =
      `GET ${this.job.path} HTTP/1.1\r\nHost: 127.0.0.1:${this.portOf[fd]}\r\n` +
      "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Protocol: chatify.v1\r\n` +
      `Authorization: Bearer ${token}\r\n\r\n`;
    if (send(fd, Buffer.from(text, "latin1")) < 0) {
      this.lost(fd);
      return false;
    }
    this.state[fd] = State.Upgrading;
    return true;
  }

  private read(fd: number, data: Buffer): void {
    if (this.state[fd] !== State.Upgrading) {
      this.readFrames(fd, data);
      return;
    }
    // A head of some hundred bytes on loopback comes whole.
    const end = data.indexOf(HEAD_END);
    if (end < 0 || !data.toString("latin1", 0, 12).endsWith(" 101")) {
      const wait = /"retry_after_ms":(\d+)/.exec(data.toString("latin1"))?.[1];
      if (wait !== undefined) this.returnIn[fd] = Number(wait);
      this.refused += 1;
      // It was answered, if not as it was hoped.
      this.unanswered -= 1;
      this.lost(fd);
      return;
    }
    this.state[fd] = State.Registering;
    const rest = data.subarray(end + HEAD_END.length);
    if (rest.length > 0) this.readFrames(fd, rest);
  }

  private readFrames(fd: number, data: Buffer): void {
    const reader = this.partial.get(fd) ?? new FrameReader();
    reader.read(data, (opcode, bytes, start, end) => this.onFrame(fd, opcode, bytes, start, end));
    if (reader.isEmpty || this.state[fd] === State.Free) this.partial.delete(fd);
    else this.partial.set(fd, reader);
    if (this.acks.length === 0) return;
    const ids = this.acks.splice(0);
    send(fd, textFrame(`{"type":"ack","msg_ids":["${ids.join('","')}"]}`));
  }

  private onFrame(fd: number, opcode: number, data: Buffer, start: number, end: number): void {
    if (opcode === OPCODE_PING) {
      this.pings += 1;
      send(fd, pongFrame(data.subarray(start, end)));
    } else if (opcode === OPCODE_TEXT) {
      this.onText(fd, data.toString("latin1", start, end));
    } else if (opcode === OPCODE_CLOSE) {
      this.lost(fd);
    }
  }

  private onText(fd: number, text: string): void {
    const user = present(this.userOf[fd]);
    for (let at = text.indexOf(MESSAGE); at >= 0; at = text.indexOf(MESSAGE, at)) {
      at += MESSAGE.length;
      const id = text.slice(at, text.indexOf('"', at));
      this.acks.push(id);
      if (this.lastMessage.get(user) === id) this.repeated += 1;
      else this.messages += 1;
      this.lastMessage.set(user, id);
    }
    if (this.state[fd] === State.Registering && text.includes('"type":"welcome"')) this.arrive(fd);
    if (!text.includes('"type":"bye"')) return;
    this.byes += 1;
    this.awaySince[fd] = performance.now();
    this.returnIn[fd] = Number(/"reconnect_after_ms":(\d+)/.exec(text)?.[1] ?? RETRY_MS);
  }

  private arrive(fd: number): void {
    const now = performance.now();
    this.state[fd] = State.Here;
    this.opening -= 1;
    this.here += 1;
    this.welcome.record(now - present(this.startedAt[fd]));
    const since = present(this.awaySince[fd]);
    if (since > 0) this.away.record(now - since);
    this.awaySince[fd] = 0;
  }

  private lost(fd: number): void {
    const now = performance.now();
    const state = this.state[fd];
    if (state === State.Here) this.here -= 1;
    else this.opening -= 1;
    if (state === State.Connecting || state === State.Upgrading) this.unanswered += 1;
    if (state === State.Registering) this.unwelcomed += 1;
    this.ended += 1;
    this.state[fd] = State.Free;
    this.partial.delete(fd);
    close(fd);
    const since = present(this.awaySince[fd]) || now;
    this.returns.push({
      user: present(this.userOf[fd]),
      since,
      at: now + present(this.returnIn[fd]),
    });
  }
}
