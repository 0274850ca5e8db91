/**
 * The connections of one gateway and all that happens to them, without any socket of its own: a
 * WebSocket server calls it from one side and the trunk from the other. Nothing in it outlives the
 * process or is missed when it dies; clients come back, and another gateway serves them as well.
 */
import type { Timer } from "../../core/clock.ts";
import { TurnClock } from "../../core/lifecycle/turn_clock.ts";
import type { Span, TraceContext } from "../../core/telemetry/telemetry.ts";
import type { ConnId, ToGateway } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import { AccessLinks } from "./access_links.ts";
import { Bindings } from "./bindings.ts";
import { type ClientSocket, Connection, type Identity } from "./connection.ts";
import { Downlink } from "./downlink.ts";
import type { HubDeps } from "./gateway_deps.ts";
import { isAccepted, settleSends } from "./send_answers.ts";
import { Tally } from "./tally.ts";
import { Uplink } from "./uplink.ts";

/** How often expired tokens, late registrations and moved access nodes are looked for. */
const SWEEP_MS = 500;

export class Hub {
  readonly downlink: Downlink;
  private readonly deps: HubDeps;
  private readonly connections = new Map<ConnId, Connection>();
  private readonly links: AccessLinks;
  private readonly uplink: Uplink;
  private readonly bindings: Bindings;
  private readonly tally: Tally;
  private readonly turn: TurnClock;
  /** Spans of sampled deliveries of this turn. */
  private readonly writing: Span[] = [];
  private nextId = 1;
  private scheduled = false;
  private timer: Timer | null = null;

  constructor(deps: HubDeps) {
    this.deps = deps;
    const schedule = () => this.schedule();
    this.turn = new TurnClock(deps.clock);
    this.tally = new Tally(deps.telemetry.metrics);
    this.links = new AccessLinks(deps.trunk, deps.accessNodes, schedule);
    this.downlink = new Downlink(deps.clock, this.tally, schedule);
    const shared = { ...deps, links: this.links, downlink: this.downlink };
    const { ledger, tracer } = deps.telemetry;
    const { tally, turn } = this;
    this.uplink = new Uplink({ ...shared, ledger, tracer, tally, turn });
    this.bindings = new Bindings({
      ...shared,
      uplink: this.uplink,
      connections: this.connections,
    });
  }

  start(): void {
    this.deps.trunk.attach({
      onUp: () => this.bindings.bindWaiting(),
      onDown: (peer) => this.bindings.lost(peer),
      onMessage: (peer, message) => {
        if (message.to === "gateway") this.onMessage(peer, message);
      },
    });
    this.timer = this.deps.clock.every(SWEEP_MS, () => this.sweep());
    const { clock, limits, onDataLost, onLapse } = this.deps;
    onDataLost?.(() => this.bindings.dataLost());
    onLapse?.(() => {
      this.renew();
      // Once more when nobody can still be acting on an old list of nodes.
      clock.after(limits.NODE_TTL_MS / 2, () => this.renew());
    });
  }

  stop(): void {
    this.timer?.cancel();
    this.flush();
    this.tally.flush();
  }

  get count(): number {
    return this.connections.size;
  }

  all(): Iterable<Connection> {
    return this.connections.values();
  }

  /** True when a connection could be registered now. */
  hasAccess(): boolean {
    this.links.refresh();
    return this.links.open().length > 0;
  }

  /** A connection that is not open yet; it counts from `open` on. */
  create(identity: Identity): Connection {
    const { clock, limits } = this.deps;
    const id = this.nextId++;
    return new Connection(id, identity, clock.now(), clock.monotonic(), limits.MESSAGES_BURST);
  }

  open(conn: Connection, socket: ClientSocket): void {
    conn.socket = socket;
    this.connections.set(conn.id, conn);
    this.deps.telemetry.metrics.connections.inc();
    this.bindings.bind(conn);
  }

  /** Tells a client that came too soon when to come back. */
  turnAway(conn: Connection, socket: ClientSocket): void {
    conn.socket = socket;
    this.downlink.end(conn, "overloaded", conn.turnedAwayMs);
  }

  receive(conn: Connection, text: string): void {
    this.uplink.receive(conn, text);
  }

  receiveBinary(conn: Connection): void {
    this.uplink.refuseBinary(conn);
  }

  /** The socket is gone, whoever closed it; `code` is that of the WebSocket. */
  ended(conn: Connection, code: number): void {
    conn.closed = true;
    conn.socket = null;
    if (!this.connections.delete(conn.id)) return;
    this.uplink.forget(conn);
    if (conn.access !== null) this.links.unregister(conn.access, conn.id);
    const { metrics } = this.deps.telemetry;
    metrics.connections.dec();
    // 1006 is a connection that ended without a close frame, and what broke RFC 6455.
    const reason = conn.closeReason || (code === 1006 ? "lost" : "client");
    metrics.closes.inc({ reason });
  }

  private onMessage(peer: NodeId, message: ToGateway): void {
    switch (message.t) {
      case "write":
        for (const [ids, frames] of message.items) this.write(ids, frames);
        return;
      case "deliver":
        for (const [addresses, frames, trace] of message.items) {
          let reached = 0;
          for (const [gateway, id, epoch] of addresses) {
            if (gateway === this.deps.selfNode) reached += this.deliver(id, epoch, frames);
          }
          if (trace !== undefined) this.traceWrite(trace, reached);
        }
        return;
      case "registered":
        this.bindings.registered(peer, message.conns);
        return;
      case "close":
        for (const [[gateway, id, epoch], reason] of message.conns) {
          const conn = gateway === this.deps.selfNode ? this.connections.get(id) : undefined;
          if (conn !== undefined) this.bindings.deliver(conn, epoch, "", reason);
        }
    }
  }

  private write(ids: readonly ConnId[], frames: string): void {
    for (const id of ids) {
      const conn = this.connections.get(id);
      if (conn === undefined) continue;
      // Answers to sends are one connection's own; what many get is none.
      if (ids.length === 1) settleSends(conn, frames, this.onAccepted);
      if (isAccepted(frames)) this.downlink.queuePatiently(conn, frames);
      else this.downlink.queue(conn, frames);
    }
  }

  /** How many connections it reached: one or none. */
  private deliver(id: ConnId, epoch: number, frames: string): number {
    const conn = this.connections.get(id);
    if (conn !== undefined && this.bindings.deliver(conn, epoch, frames, "")) return 1;
    const reason = conn === undefined ? "connection_gone" : "stale_epoch";
    this.deps.telemetry.metrics.drops.inc({ reason });
    return 0;
  }

  /** The span ends when this turn's texts are handed to the sockets. */
  private traceWrite(parent: TraceContext, reached: number): void {
    const attributes = { "chatify.node": this.deps.selfNode, "chatify.connections": reached };
    const error = reached === 0 ? { error: "no connection of this epoch" } : {};
    const start = this.deps.clock.now();
    this.writing.push({ name: "gateway.write", parent, start, end: start, attributes, ...error });
    this.schedule();
  }

  private readonly onAccepted = (receivedAt: number): void => {
    const seconds = (this.turn.monotonic() - receivedAt) / 1_000;
    this.deps.telemetry.metrics.sendAccepted.observe(seconds);
  };

  /** Registers every connection again; see Bindings.renew. */
  renew(): void {
    this.bindings.renew();
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.deps.clock.endOfTurn(this.flush);
  }

  private readonly flush = (): void => {
    this.scheduled = false;
    for (const access of this.links.flush()) this.bindings.lost(access);
    this.downlink.flush();
    if (this.writing.length === 0) return;
    const end = this.deps.clock.now();
    for (const span of this.writing.splice(0)) this.deps.telemetry.tracer.span({ ...span, end });
  };

  private sweep(): void {
    const { clock, limits } = this.deps;
    this.links.refresh();
    const [now, at, open] = [clock.now(), clock.monotonic(), this.links.open()];
    for (const conn of this.connections.values()) {
      if (conn.closed) continue;
      if (now >= conn.expiresAt) {
        this.bindings.end(conn, "token_expired");
        continue;
      }
      if (conn.inFlight?.size === 0) conn.inFlight = null;
      if (conn.epoch === 0 && this.isOverdue(conn, at, limits.REGISTER_TIMEOUT_MS)) {
        this.bindings.end(conn, "server_error");
      } else if (conn.access !== null) {
        this.bindings.move(conn, open);
      } else if (open.length > 0) {
        this.bindings.bind(conn, open);
      }
    }
    this.tally.flush();
  }

  /** A client that was welcomed stays while there is no access node at all; a new one does not. */
  private isOverdue(conn: Connection, at: number, timeoutMs: number): boolean {
    if (at - conn.boundAt < timeoutMs) return false;
    return conn.access !== null || !conn.welcomed;
  }
}
