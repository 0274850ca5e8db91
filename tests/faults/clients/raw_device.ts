/**
 * A device whose software was written from docs/PROTOCOL.md alone: it sends without waiting for
 * answers, repeats what nobody answered, acks within 20 ms, beats, and comes back when it loses its
 * connection.
 */
import { writeDevToken } from "../../../src/core/auth/dev_tokens.ts";
import type { Device, DeviceDeps, Submission } from "./device.ts";
import { BALANCER, framesOf, RecordingSocket } from "./recording_socket.ts";

const LOOK_MS = 250;
const ACK_MS = 20;
const SILENCE_MS = 6_000;
const PING_MS = 10_000;
const PONG_MS = 8_000;
const WELCOME_MS = 20_000;
const TRIES_MAX = 30;
const BACKOFF_MAX_MS = 2_000;

interface Send {
  readonly submission: Submission;
  /** performance.now() before which it is not written (again). */
  dueAt: number;
  tries: number;
}

export class RawDevice implements Device {
  readonly software = "raw";
  private socket: RecordingSocket | null = null;
  private ready = false;
  private wanted = false;
  private readonly sends = new Map<string, Send>();
  private acks: string[] = [];
  private ackDue = false;
  private dialledAt = 0;
  private heardAt = 0;
  private spokeAt = 0;
  private backoffMs = 50;
  private redial: Timer | null = null;
  private dying: number | null = null;
  private readonly timer: Timer;

  constructor(
    readonly user: string,
    readonly device: string,
    private readonly deps: DeviceDeps,
  ) {
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.comeBack();
  }

  get online(): boolean {
    return this.ready;
  }

  get undecided(): number {
    return this.sends.size;
  }

  submit(submission: Submission): void {
    this.sends.set(submission.op, { submission, dueAt: 0, tries: 0 });
    this.flush();
  }

  leave(how: "close" | "kill"): void {
    this.wanted = false;
    const { socket } = this;
    this.detach();
    if (how === "kill") socket?.kill();
    else socket?.close(1000);
  }

  comeBack(): void {
    this.wanted = true;
    if (this.socket === null) this.dial();
  }

  dieBeforeAck(backAfterMs: number): void {
    this.dying = backAfterMs;
  }

  loginAgain(): void {
    // The first socket lives on until the server replaces it; only the later one counts here.
    this.detach();
    this.wanted = true;
    this.dial();
  }

  forgeAcks(msgIds: readonly string[]): void {
    this.socket?.send(JSON.stringify({ type: "ack", msg_ids: msgIds }));
  }

  stop(): void {
    clearInterval(this.timer);
    this.leave("close");
  }

  private dial(): void {
    const { user, device } = this;
    const url = `ws://${BALANCER}/chatify/access/v1/ws?token=${writeDevToken(user, device)}`;
    const recording = { ...this.deps, party: { user, device } };
    const socket = new RecordingSocket(url, ["chatify.v1"], recording);
    this.socket = socket;
    this.dialledAt = performance.now();
    socket.onmessage = (event) => {
      if (!socket.isGone) this.receive(socket, String(event.data));
    };
    socket.onclose = () => {
      if (socket === this.socket) this.lost();
    };
  }

  private receive(socket: RecordingSocket, text: string): void {
    this.heardAt = performance.now();
    const acks: string[] = [];
    for (const frame of framesOf(text)) {
      const op = String(frame.client_msg_id ?? "");
      if (frame.type === "message") acks.push((frame.message as { msg_id: string }).msg_id);
      else if (frame.type === "welcome" && socket === this.socket) this.welcomed();
      else if (frame.type === "sent") this.sends.delete(op);
      else if (frame.type === "accepted") this.postpone(op, SILENCE_MS);
      else if (frame.type === "rejected") {
        this.rejected(op, frame.retryable === true, Number(frame.retry_after_ms ?? 200));
      } else if (frame.type === "bye") this.backoffMs = Number(frame.reconnect_after_ms ?? 1_000);
    }
    if (acks.length === 0) return;
    if (this.dying !== null) this.die(this.dying);
    else if (socket === this.socket) this.ack(acks);
    // An earlier login that is about to be replaced acks at once, for itself.
    else socket.send(JSON.stringify({ type: "ack", msg_ids: acks }));
  }

  private welcomed(): void {
    this.ready = true;
    this.backoffMs = 50;
    this.spokeAt = performance.now();
    for (const send of this.sends.values()) send.dueAt = 0;
    this.flush();
  }

  private flush(): void {
    if (!this.ready) return;
    const now = performance.now();
    const frames: object[] = [];
    for (const [op, send] of this.sends) {
      if (send.dueAt > now) continue;
      const { content, expireTime, retried, target, to } = send.submission;
      // What became of it is not known, and nobody asks again.
      if (send.tries >= (retried ? TRIES_MAX : 1)) {
        this.sends.delete(op);
        continue;
      }
      send.tries++;
      send.dueAt = now + SILENCE_MS;
      const expiry = expireTime > 0 ? { expire_time: expireTime } : {};
      const base = { type: "send", client_msg_id: op, target_type: target, to_user_id: to };
      frames.push({ ...base, content, ...expiry });
      if (frames.length === 200) this.write(frames.splice(0));
    }
    if (frames.length > 0) this.write(frames);
  }

  private write(frames: readonly object[]): void {
    this.spokeAt = performance.now();
    this.socket?.send(JSON.stringify(frames.length === 1 ? frames[0] : frames));
  }

  private rejected(op: string, retryable: boolean, afterMs: number): void {
    if (retryable) this.postpone(op, afterMs);
    else this.sends.delete(op);
  }

  private postpone(op: string, ms: number): void {
    const send = this.sends.get(op);
    if (send !== undefined) send.dueAt = performance.now() + ms;
  }

  private ack(ids: readonly string[]): void {
    this.acks.push(...ids);
    if (this.ackDue) return;
    this.ackDue = true;
    setTimeout(() => {
      this.ackDue = false;
      const msg_ids = this.acks.splice(0, 1_000);
      if (msg_ids.length > 0 && this.ready) this.write([{ type: "ack", msg_ids }]);
      if (this.acks.length > 0) this.ack([]);
    }, ACK_MS);
  }

  private die(backAfterMs: number): void {
    this.dying = null;
    this.leave("kill");
    setTimeout(() => this.comeBack(), backAfterMs);
  }

  private look(): void {
    const now = performance.now();
    if (this.ready) {
      const silentMs = now - Math.max(this.heardAt, this.spokeAt);
      if (now - this.heardAt > PING_MS + PONG_MS) {
        this.socket?.kill();
        this.lost();
        return;
      }
      if (now - this.heardAt > PING_MS && silentMs > 1_000) this.write([{ type: "ping" }]);
      this.flush();
    } else if (this.socket !== null && now - this.dialledAt > WELCOME_MS) {
      this.socket.kill();
      this.lost();
    }
  }

  private lost(): void {
    this.detach();
    if (!this.wanted) return;
    this.backoffMs = Math.min(BACKOFF_MAX_MS, this.backoffMs * 2);
    this.redial = setTimeout(
      () => {
        this.redial = null;
        if (this.wanted && this.socket === null) this.dial();
      },
      this.backoffMs * (0.5 + Math.random()),
    );
  }

  private detach(): void {
    this.socket = null;
    this.ready = false;
    this.acks = [];
    if (this.redial !== null) clearTimeout(this.redial);
    this.redial = null;
  }
}
