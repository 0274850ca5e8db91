/**
 * The trunk over TCP: one link per pair of nodes, whoever dialled, and a queue for messages to self.
 *
 * Which link of a pair counts: the newest. Its arbiter (tcp_link.ts) takes the old one down, then
 * says `up` on the new one; the other end takes the old one down when it reads that. Either end
 * therefore reports `onDown` for the old link before it can get or send anything on the new one.
 *
 * No handler is ever called from within `send`, `dial` or `attach`: a role that sends in the middle
 * of a loop over its own state does not find that state changed under it. Two queues see to it:
 *
 * - For a peer, messages wait for the end of the turn and leave as one frame in one write.
 * - For self, they wait for the end of the current callback only (a microtask, 0.02 µs), because
 *   each already is a batch of its sender's turn and another turn would only add latency. What
 *   handlers send to self while that queue is drained waits for the end of the turn, so two roles
 *   that answer each other cannot starve the sockets. The queue is bounded by what one turn makes.
 */
import type { TCPSocketListener } from "bun";
import { type Clock, jitter, type Random, type Timer } from "../clock.ts";
import type { Limits } from "../limits.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Trunk, TrunkHandlers, TrunkPeer } from "./contract.ts";
import { DataEncoder } from "./framing.ts";
import type { TrunkMessage } from "./messages.ts";
import type { NodeId } from "./node_id.ts";
import { type LinkOwner, type LinkSocket, TcpLink } from "./tcp_link.ts";

export interface TcpTrunkOptions {
  readonly self: NodeId;
  /** The cluster secret; without it nobody gets a link. Not empty. */
  readonly secret: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

interface Dial {
  peer: TrunkPeer;
  /** Failures since a link to the peer was last up. */
  failures: number;
  link: TcpLink | undefined;
  redial: Timer | undefined;
}

const REDIAL_FIRST_MS = 50;
const REDIAL_MAX_MS = 1_600;
// 1600 ms and a quarter are the 2 s that a redial waits at most.
const REDIAL_SPREAD = 0.25;
/** Connections in their handshake at once; more are reset, and the dialler comes back. */
const HANDSHAKES_MAX = 1_024;

// There is no `error` event on purpose: Bun would hand it what a role's handler throws, and a bug in
// a role is to end the process. Errors of the socket itself come as `close`.
const socketEvents = {
  data: (socket: LinkSocket, chunk: Buffer) => socket.data.received(chunk),
  drain: (socket: LinkSocket) => socket.data.drained(),
  close: (socket: LinkSocket) => socket.data.disconnected(),
};

export class TcpTrunk implements Trunk {
  readonly self: NodeId;
  private phase: "new" | "running" | "stopped" = "new";
  private readonly handlers: TrunkHandlers[] = [];
  private readonly links = new Map<NodeId, TcpLink>();
  /** Every link that is not closed, those in their handshake included. */
  private readonly open = new Set<TcpLink>();
  private readonly dials = new Map<NodeId, Dial>();
  private readonly owner: LinkOwner;
  private listener: TCPSocketListener<TcpLink> | undefined;
  private generation = 0;
  private unflushed: TcpLink[] = [];
  private local: TrunkMessage[] = [];
  private drainingLocal = false;

  constructor(private readonly options: TcpTrunkOptions) {
    if (options.secret === "") throw new Error("the cluster secret is empty");
    this.self = options.self;
    const bytesIn = options.telemetry.metrics.trunkBytes.labels({ direction: "in" });
    const bytesOut = options.telemetry.metrics.trunkBytes.labels({ direction: "out" });
    this.owner = {
      ...options,
      encoder: new DataEncoder(options.limits.TRUNK_FRAME_BYTES_MAX),
      countBytes: (direction, bytes) => (direction === "in" ? bytesIn : bytesOut).inc(bytes),
      nextGeneration: () => ++this.generation,
      onReady: (link) => this.linkReady(link),
      onMessages: (link, messages) => this.deliver(link, messages),
      onClosed: (link, wasUp, reason) => this.linkClosed(link, wasUp, reason),
    };
  }

  attach(handlers: TrunkHandlers): void {
    if (this.phase !== "new") throw new Error("trunk handlers are attached before start");
    this.handlers.push(handlers);
  }

  /** Brings the link to self up. `listen` does it too; a node that does not listen calls this. */
  start(): void {
    if (this.phase !== "new") return;
    this.phase = "running";
    for (const handlers of this.handlers) handlers.onUp(this.self);
  }

  /** Starts, and accepts links. Returns the port, which is chosen where `port` is 0. */
  listen({ host, port }: { host: string; port: number }): number {
    this.start();
    this.listener = Bun.listen<TcpLink>({
      hostname: host,
      port,
      socket: { ...socketEvents, open: (socket) => this.accept(socket) },
    });
    return this.listener.port;
  }

  /** Sends what is queued as far as the kernel takes it at once, and takes every link down. */
  stop(): void {
    if (this.phase === "stopped") return;
    const wasRunning = this.phase === "running";
    this.flush();
    this.phase = "stopped";
    this.listener?.stop();
    for (const dial of this.dials.values()) dial.redial?.cancel();
    this.dials.clear();
    for (const link of [...this.open]) link.close("the trunk stops", true);
    this.local = [];
    if (wasRunning) for (const handlers of this.handlers) handlers.onDown(this.self);
  }

  isUp(peer: NodeId): boolean {
    return peer === this.self ? this.phase === "running" : this.links.has(peer);
  }

  send(peer: NodeId, message: TrunkMessage): boolean {
    if (peer === this.self) return this.sendLocal(message);
    const link = this.links.get(peer);
    if (link === undefined) return false;
    if (link.queue(message) && this.unflushed.push(link) === 1) {
      this.options.clock.endOfTurn(this.flush);
    }
    return true;
  }

  dial(peers: readonly TrunkPeer[]): void {
    if (this.phase === "stopped") return;
    const listed = new Map(peers.map((peer) => [peer.id, peer]));
    listed.delete(this.self);
    for (const [id, dial] of this.dials) {
      if (listed.has(id)) continue;
      dial.redial?.cancel();
      this.dials.delete(id);
    }
    for (const [id, peer] of listed) {
      const known = this.dials.get(id);
      if (known !== undefined) {
        known.peer = peer;
        continue;
      }
      const dial: Dial = { peer, failures: 0, link: undefined, redial: undefined };
      this.dials.set(id, dial);
      void this.connect(dial);
    }
    this.options.clock.endOfTurn(() => this.dropUnlisted());
  }

  private dropUnlisted(): void {
    for (const link of [...this.open]) {
      if (link.role !== "dial" || this.dials.has(link.peer)) continue;
      link.flush();
      link.close("it is not dialled any more", true);
    }
  }

  private async connect(dial: Dial): Promise<void> {
    if (this.links.has(dial.peer.id) || dial.link !== undefined) return;
    const link = new TcpLink(this.owner, "dial", dial.peer.id);
    dial.link = link;
    this.open.add(link);
    try {
      await Bun.connect<TcpLink>({
        hostname: dial.peer.host,
        port: dial.peer.port,
        data: link,
        socket: { ...socketEvents, open: (socket) => link.opened(socket), connectError() {} },
      });
    } catch (error) {
      link.close(`cannot connect: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  private accept(socket: LinkSocket): void {
    const link = new TcpLink(this.owner, "accept", "");
    socket.data = link;
    this.open.add(link);
    link.opened(socket);
    if (this.open.size - this.links.size > HANDSHAKES_MAX) link.close("too many handshakes");
  }

  private linkReady(link: TcpLink): void {
    const { peer } = link;
    this.links.get(peer)?.close("a newer link replaces it");
    for (const other of [...this.open]) {
      if (other === link || other.peer !== peer) continue;
      other.generationSeen = link.generation;
      // Our own dial has lost the race, and the peer cannot count on it before our proof.
      if (other.role === "dial" && other.state === "hello") other.close("another link is up");
    }
    // The handlers that heard `onDown` may have stopped the trunk, which closed this link too.
    if (link.state === "closed" || !link.start()) return;
    this.links.set(peer, link);
    this.options.telemetry.metrics.trunkLinks.set(this.links.size);
    this.options.telemetry.log.info({ peer, role: link.role }, "trunk link up");
    const dial = this.dials.get(peer);
    if (dial !== undefined) dial.failures = 0;
    for (const handlers of this.handlers) handlers.onUp(peer);
  }

  private linkClosed(link: TcpLink, wasUp: boolean, reason: string): void {
    const { log, metrics } = this.options.telemetry;
    const { peer, role } = link;
    this.open.delete(link);
    if (wasUp) {
      this.links.delete(peer);
      metrics.trunkLinks.set(this.links.size);
      log.info({ peer, role, reason }, "trunk link down");
    } else {
      log.debug({ peer, role, reason }, "trunk handshake ended");
    }
    const dial = this.dials.get(peer);
    if (dial?.link === link) dial.link = undefined;
    if (dial !== undefined) this.scheduleRedial(dial, wasUp, reason);
    if (wasUp) for (const handlers of this.handlers) handlers.onDown(peer);
  }

  private scheduleRedial(dial: Dial, wasUp: boolean, reason: string): void {
    if (dial.redial !== undefined || dial.link !== undefined) return;
    const { clock, random, telemetry } = this.options;
    const base = Math.min(REDIAL_MAX_MS, REDIAL_FIRST_MS * 2 ** dial.failures);
    if (!wasUp) dial.failures += 1;
    // Once, when it has failed for about 1.5 s: a node that starts or leaves is no news.
    if (dial.failures === 5) telemetry.log.warn({ ...dial.peer, reason }, "no trunk link yet");
    dial.redial = clock.after(jitter(random, base, REDIAL_SPREAD), () => {
      dial.redial = undefined;
      void this.connect(dial);
    });
  }

  private deliver(link: TcpLink, messages: TrunkMessage[]): void {
    for (const message of messages) {
      for (const handlers of this.handlers) {
        // A handler may take the link down; nothing of it is delivered after that.
        if (link.state !== "up") return;
        handlers.onMessage(link.peer, message);
      }
    }
  }

  private readonly flush = (): void => {
    const links = this.unflushed;
    this.unflushed = [];
    for (const link of links) link.flush();
  };

  private sendLocal(message: TrunkMessage): boolean {
    if (this.phase !== "running") return false;
    if (this.local.push(message) > 1) return true;
    if (this.drainingLocal) this.options.clock.endOfTurn(this.drainLocal);
    else queueMicrotask(this.drainLocal);
    return true;
  }

  private readonly drainLocal = (): void => {
    const messages = this.local;
    this.local = [];
    this.drainingLocal = true;
    try {
      for (const message of messages) {
        for (const handlers of this.handlers) {
          if (this.phase !== "running") return;
          handlers.onMessage(this.self, message);
        }
      }
    } finally {
      this.drainingLocal = false;
    }
  };
}
