/**
 * Which access node has which connection. A user's connections go to one node, picked by the hash of
 * the user. When a link to an access node goes down, or the node drains or leaves, its connections are
 * registered again through another one. Each registration has a larger session epoch, and `deliver` is
 * dropped where the epoch is another one: that is what keeps order across lost links.
 */
import type { Clock, Random } from "../../core/clock.ts";
import type { Limits } from "../../core/limits.ts";
import type { CloseReason } from "../../core/protocol/errors.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import type { ConnId } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import type { AccessLinks } from "./access_links.ts";
import type { Connection } from "./connection.ts";
import type { Downlink } from "./downlink.ts";
import { errorFrame, welcomeFrame } from "./server_frames.ts";
import type { Uplink } from "./uplink.ts";

export interface BindingsDeps {
  readonly selfNode: NodeId;
  readonly trunk: Trunk;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: Limits;
  readonly links: AccessLinks;
  readonly downlink: Downlink;
  readonly uplink: Uplink;
  readonly connections: ReadonlyMap<ConnId, Connection>;
}

/** Deliveries that wait for one `registered`; more end the connection, and are replayed later. */
const EARLY_MAX = 64;
/** A client repeats after this time what a lost link left unanswered. */
const REPEAT_MS = 100;
/** Those that access or push closed, and that may come back, do so spread over this time. */
const RETURN_SPREAD_MS = 2_000;

export class Bindings {
  private readonly deps: BindingsDeps;

  constructor(deps: BindingsDeps) {
    this.deps = deps;
  }

  /** Binds the connection to an access node and registers it there; leaves it as it is if none is. */
  bind(conn: Connection, open: readonly NodeId[] = this.deps.links.open()): void {
    const access = open[Bun.hash.xxHash32(conn.user) % open.length];
    conn.epoch = 0;
    conn.early = null;
    conn.access = access ?? null;
    conn.boundAt = this.deps.clock.monotonic();
    if (access === undefined) return;
    // Each registration is later than the one before, so that none that is late can undo it.
    const since = conn.since + conn.bindings++;
    this.deps.links.register(access, [conn.user, conn.device, conn.id, since, conn.issuedAt]);
  }

  /** Binds every connection that has no access node. */
  bindWaiting(): void {
    this.deps.links.refresh();
    const open = this.deps.links.open();
    if (open.length === 0) return;
    for (const conn of this.deps.connections.values()) {
      if (conn.access === null && !conn.closed) this.bind(conn, open);
    }
  }

  /**
   * Others may have declared this gateway gone and ended its sessions: registers every connection
   * again. What is in flight goes on, because the links are up.
   */
  renew(): void {
    const open = this.deps.links.open();
    if (open.length === 0) return;
    for (const conn of this.deps.connections.values()) {
      if (!conn.closed && conn.access !== null) this.bind(conn, open);
    }
  }

  /** Sends that have no `sent` yet may be gone, accepted or not. */
  dataLost(): void {
    const text = "the server's queue has lost data; repeat every send that has no sent yet";
    const frame = errorFrame("data_lost", text, REPEAT_MS);
    for (const conn of this.deps.connections.values()) {
      if (!conn.closed && conn.welcomed) this.deps.downlink.queue(conn, frame);
    }
  }

  /** The link to `peer` is gone, and with it every answer that was on its way. */
  lost(peer: NodeId): void {
    const { connections, links } = this.deps;
    links.drop(peer);
    const open = links.open();
    for (const conn of connections.values()) {
      if (conn.closed) continue;
      if (conn.access === peer) {
        this.outcomeUnknown(conn);
        this.bind(conn, open);
      } else if (conn.previousAccess === peer) {
        this.outcomeUnknown(conn);
      }
    }
  }

  /** Moves the connection away from a node that drains or has left, if there is another one. */
  move(conn: Connection, open: readonly NodeId[]): void {
    const { access } = conn;
    if (access === null || open.length === 0 || open.includes(access)) return;
    // The old node is not told: an `unregister` before the new registration would say "offline".
    const owing = (conn.inFlight?.size ?? 0) > 0;
    if (owing && this.deps.trunk.isUp(access)) conn.previousAccess = access;
    else this.outcomeUnknown(conn);
    this.bind(conn, open);
  }

  /** An access node answers `register`; an answer of a node that is not ours any more is ignored. */
  registered(
    peer: NodeId,
    answers: readonly [ConnId, epoch: number, refused: CloseReason | ""][],
  ): void {
    const { clock, connections, downlink, limits, links, selfNode, uplink } = this.deps;
    for (const [id, epoch, refused] of answers) {
      const conn = connections.get(id);
      // It ended while it was being registered, maybe without this node being told.
      if (conn === undefined && refused === "") links.unregister(peer, id);
      if (conn === undefined || conn.closed || conn.access !== peer) continue;
      if (refused !== "") {
        // Its client may be there all the same, where the clocks of two gateways differ.
        this.end(conn, refused === "replaced" && !conn.welcomed ? "rebalance" : refused);
        continue;
      }
      // Bound away from this node and back, a connection gets two answers; the later one counts.
      if (epoch <= conn.epoch) continue;
      conn.epoch = epoch;
      if (!conn.welcomed) {
        conn.welcomed = true;
        downlink.queue(conn, welcomeFrame(conn, selfNode, clock.now(), limits));
      }
      this.takeEarly(conn);
      if (conn.held !== null) uplink.release(conn);
    }
  }

  /**
   * Takes frames or an end for the session with this epoch. They can overtake the `registered` that
   * tells the gateway the epoch, because they come by way of Redis and another node; then they wait.
   * So they do for the second answer when a connection was registered twice.
   */
  deliver(conn: Connection, epoch: number, frames: string, close: CloseReason | ""): boolean {
    if (epoch > conn.epoch && conn.access !== null) {
      conn.early ??= [];
      if (conn.early.length < EARLY_MAX) {
        conn.early.push([epoch, frames, close]);
        return true;
      }
      // What follows it must not overtake what is dropped here: the client starts afresh.
      this.end(conn, "server_error");
      return false;
    }
    if (epoch !== conn.epoch) return false;
    if (close !== "") this.end(conn, close);
    else this.deps.downlink.queue(conn, frames);
    return true;
  }

  /** Closes the connection; where its client may come back, not all of them do at once. */
  end(conn: Connection, reason: CloseReason): void {
    const { downlink, random } = this.deps;
    downlink.end(conn, reason, random.fraction() * RETURN_SPREAD_MS);
  }

  private takeEarly(conn: Connection): void {
    const { early } = conn;
    conn.early = null;
    for (const [epoch, frames, close] of early ?? []) this.deliver(conn, epoch, frames, close);
  }

  /** One frame for all sends without an answer: the client repeats them, with the same ids. */
  private outcomeUnknown(conn: Connection): void {
    conn.previousAccess = null;
    if (conn.inFlight === null || conn.inFlight.size === 0) return;
    conn.inFlight = null;
    const text = "the link to the access node was lost; repeat what is unanswered";
    this.deps.downlink.queue(conn, errorFrame("outcome_unknown", text, REPEAT_MS));
  }
}
