/**
 * One TCP connection between two nodes: handshake, frames, what is unsent, heartbeat. It knows
 * nothing of other links; which link of a pair counts is the trunk's decision (tcp_trunk.ts).
 *
 * hello ⇄ hello, dialler's proof →, ← acceptor's proof, then `up` from the arbiter: the end with the
 * smaller node id. It alone puts the links of a pair in order, by a generation in `up`, so both
 * ends always agree on the newest one, even when they dial each other at the same moment.
 */
import type { Socket } from "bun";
import type { Clock, Random, Timer } from "../clock.ts";
import type { Limits } from "../limits.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { isProof, type LinkRole, prove } from "./auth.ts";
import {
  type DataEncoder,
  decodeData,
  decodeHello,
  decodeUp,
  encodeFrame,
  encodeHello,
  encodeUp,
  FrameDecoder,
  type Hello,
  KIND,
  NONCE_CHARS,
} from "./framing.ts";
import type { TrunkMessage } from "./messages.ts";
import type { NodeId } from "./node_id.ts";

export interface LinkOwner {
  readonly self: NodeId;
  readonly secret: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: Limits;
  readonly telemetry: Telemetry;
  readonly encoder: DataEncoder;
  countBytes(direction: "in" | "out", bytes: number): void;
  nextGeneration(): number;
  /** Both ends are proved and the arbiter wants this link: calls `link.start()`, or closes it. */
  onReady(link: TcpLink): void;
  onMessages(link: TcpLink, messages: TrunkMessage[]): void;
  /** Called once, from `close`. */
  onClosed(link: TcpLink, wasUp: boolean, reason: string): void;
}

export type LinkSocket = Socket<TcpLink>;

// Small frames of a congested link share a segment, so that draining takes few system calls.
const SEGMENT_BYTES = 65_536;
const ping = encodeFrame(KIND.ping);
const pong = encodeFrame(KIND.pong);

export class TcpLink {
  /** hello: waits for it. proof: likewise. ready: waits for `up`. */
  state: "hello" | "proof" | "ready" | "up" | "closed" = "hello";
  /** The order of the links of a pair, given by its arbiter; 0 until then. */
  generation = 0;
  /** A link of the same pair with this generation was up: `up` for an older one comes too late. */
  generationSeen = 0;
  private socket: LinkSocket | undefined;
  private readonly decoder = new FrameDecoder();
  private readonly hello: Hello;
  private peerHello: Hello | undefined;
  private pending: TrunkMessage[] = [];
  private unsent: { bytes: Buffer; from: number; to: number }[] = [];
  private unsentBytes = 0;
  private heardAt: number;
  private watchdog: Timer;
  private pinger: Timer | undefined;

  /** `peer` is whom a dialled link must reach; an accepted link learns it from the hello. */
  constructor(
    private readonly owner: LinkOwner,
    readonly role: LinkRole,
    public peer: NodeId,
  ) {
    this.hello = { node: owner.self, nonce: owner.random.token(NONCE_CHARS) };
    this.heardAt = owner.clock.monotonic();
    // Runs from here and not from `opened`, so that it also bounds connecting.
    this.watchdog = this.watch(owner.limits.TRUNK_TIMEOUT_MS);
  }

  opened(socket: LinkSocket): void {
    this.socket = socket;
    if (this.state === "closed") {
      socket.terminate();
      return;
    }
    socket.setNoDelay(true);
    this.write(encodeHello(this.hello));
  }

  received(chunk: Buffer): void {
    if (this.state === "closed") return;
    this.owner.countBytes("in", chunk.length);
    // A handshake is given its time as a whole, or a stranger could stretch it byte by byte.
    if (this.state === "up") this.heardAt = this.owner.clock.monotonic();
    const fault = this.decoder.feed(chunk, this.onFrame);
    if (fault !== undefined) this.close(fault);
  }

  /** True if it is the first of this turn: the caller then sees to it that `flush` is called. */
  queue(message: TrunkMessage): boolean {
    return this.pending.push(message) === 1;
  }

  flush(): void {
    if (this.state !== "up") return;
    const messages = this.pending;
    this.pending = [];
    if (messages.length === 0) return;
    const fits = this.owner.encoder.encode(messages, (frame) => this.write(frame));
    if (!fits) this.close("a message is larger than a trunk frame");
  }

  drained(): void {
    if (this.state === "closed" || this.socket === undefined) return;
    let done = 0;
    for (const segment of this.unsent) {
      const sent = this.socket.write(segment.bytes.subarray(segment.from, segment.to));
      if (sent < 0) {
        this.close("the socket does not take bytes any more");
        return;
      }
      segment.from += sent;
      this.unsentBytes -= sent;
      if (segment.from < segment.to) break;
      done += 1;
    }
    this.unsent.splice(0, done);
  }

  /** Makes the link the one of its pair: from here on messages pass. False if it just broke. */
  start(): boolean {
    const { clock, limits } = this.owner;
    if (this.isArbiter()) this.write(encodeUp(this.generation));
    if (this.state === "closed") return false;
    this.state = "up";
    this.heardAt = clock.monotonic();
    this.decoder.frameBytesMax = limits.TRUNK_FRAME_BYTES_MAX;
    this.pinger = clock.every(limits.TRUNK_PING_MS, () => {
      // Bytes that wait will be heard as well as a ping would, and pings must not pile up.
      if (this.unsentBytes === 0) this.write(ping);
    });
    return true;
  }

  /** The peer closed the connection, or it broke. */
  disconnected(): void {
    // A peer that refuses our proof can only hang up; this is what its operator looks for here.
    const refused = this.role === "dial" && this.state === "proof";
    this.close(refused ? "the peer hung up: has it the same cluster secret?" : "the peer hung up");
  }

  /** `gracefully` lets the kernel deliver what it has taken; otherwise the connection is reset. */
  close(reason: string, gracefully = false): void {
    if (this.state === "closed") return;
    const wasUp = this.state === "up";
    this.state = "closed";
    this.watchdog.cancel();
    this.pinger?.cancel();
    this.pending = [];
    this.unsent = [];
    this.unsentBytes = 0;
    if (gracefully) this.socket?.end();
    else this.socket?.terminate();
    this.owner.onClosed(this, wasUp, reason);
  }

  private isArbiter(): boolean {
    return this.owner.self < this.peer;
  }

  private readonly onFrame = (kind: number, payload: Buffer): boolean => {
    const understood =
      this.state === "up" ? this.onUpFrame(kind, payload) : this.onHandshakeFrame(kind, payload);
    if (!understood) this.close(`a frame of kind ${kind} makes no sense in state "${this.state}"`);
    // Read afresh: what the frame did may have closed the link.
    return (this.state as TcpLink["state"]) !== "closed";
  };

  private onUpFrame(kind: number, payload: Buffer): boolean {
    if (kind === KIND.data) {
      const messages = decodeData(payload);
      if (messages === undefined) return false;
      this.owner.onMessages(this, messages);
      return true;
    }
    if (kind === KIND.ping) {
      if (this.unsentBytes === 0) this.write(pong);
      return true;
    }
    return kind === KIND.pong;
  }

  private onHandshakeFrame(kind: number, payload: Buffer): boolean {
    if (this.state === "hello" && kind === KIND.hello) return this.onHello(payload);
    if (this.state === "proof" && kind === KIND.proof) return this.onProof(payload);
    if (this.state !== "ready" || kind !== KIND.up || this.isArbiter()) return false;
    const generation = decodeUp(payload);
    if (generation === undefined) return false;
    if (generation <= this.generationSeen) this.close("a newer link was up before this one");
    else this.ready(generation);
    return true;
  }

  private onHello(payload: Buffer): boolean {
    const hello = decodeHello(payload);
    if (hello === undefined) return false;
    if (hello.node === this.owner.self) {
      this.close("the link leads to this node itself");
    } else if (this.role === "dial" && hello.node !== this.peer) {
      this.close(`"${hello.node}" answered in its place`);
    } else {
      this.peer = hello.node;
      this.peerHello = hello;
      this.state = "proof";
      if (this.role === "dial") this.sendProof(hello);
    }
    return true;
  }

  private onProof(payload: Buffer): boolean {
    if (this.peerHello === undefined) return false;
    const { secret, telemetry } = this.owner;
    const peerRole = this.role === "dial" ? "accept" : "dial";
    if (!isProof(secret, peerRole, this.hellos(this.peerHello), payload)) {
      telemetry.metrics.authFailures.inc({ reason: "trunk" });
      const remote = this.socket?.remoteAddress;
      telemetry.log.warn({ peer: this.peer, remote }, "a trunk peer has another cluster secret");
      this.close("the proof is wrong");
      return true;
    }
    if (this.role === "accept") this.sendProof(this.peerHello);
    if (this.state === "closed") return true;
    this.state = "ready";
    if (this.isArbiter()) this.ready(this.owner.nextGeneration());
    return true;
  }

  private ready(generation: number): void {
    this.generation = generation;
    this.owner.onReady(this);
  }

  private sendProof(peerHello: Hello): void {
    const proof = prove(this.owner.secret, this.role, this.hellos(peerHello));
    this.write(encodeFrame(KIND.proof, proof));
  }

  private hellos(peer: Hello) {
    return this.role === "dial"
      ? { dialler: this.hello, acceptor: peer }
      : { dialler: peer, acceptor: this.hello };
  }

  /** Takes a copy of whatever the kernel does not take, so `frame` may be reused afterwards. */
  private write(frame: Buffer): void {
    if (this.state === "closed" || this.socket === undefined) return;
    const { limits } = this.owner;
    if (this.unsentBytes + frame.length > limits.TRUNK_BUFFER_BYTES_MAX) {
      this.close(`${this.unsentBytes} bytes wait for a peer that does not read`);
      return;
    }
    this.owner.countBytes("out", frame.length);
    const sent = this.unsentBytes === 0 ? this.socket.write(frame) : 0;
    if (sent < 0) this.close("the socket does not take bytes any more");
    else if (sent < frame.length) this.keep(frame.subarray(sent));
  }

  private keep(rest: Buffer): void {
    let tail = this.unsent.at(-1);
    if (tail === undefined || tail.bytes.length - tail.to < rest.length) {
      const bytes = Buffer.allocUnsafeSlow(Math.max(rest.length, SEGMENT_BYTES));
      tail = { bytes, from: 0, to: 0 };
      this.unsent.push(tail);
    }
    rest.copy(tail.bytes, tail.to);
    tail.to += rest.length;
    this.unsentBytes += rest.length;
  }

  /** Closes the link when nothing was heard for TRUNK_TIMEOUT_MS. */
  private watch(ms: number): Timer {
    const { clock, limits } = this.owner;
    const due = clock.monotonic() + ms;
    return clock.after(ms, () => {
      const now = clock.monotonic();
      const left = this.heardAt + limits.TRUNK_TIMEOUT_MS - now;
      // A timer this late means that we slept, not the peer: first hear what arrived meanwhile.
      const slept = now - due > limits.TRUNK_PING_MS;
      if (slept) this.watchdog = this.watch(Math.max(left, limits.TRUNK_PING_MS));
      else if (left > 0) this.watchdog = this.watch(left);
      else this.close(`silent for ${limits.TRUNK_TIMEOUT_MS} ms`);
    });
  }
}
