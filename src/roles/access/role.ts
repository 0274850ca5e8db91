/**
 * access: connections and sessions. It registers users in Redis and publishes `user_state`, puts
 * uplink messages on `chat_input`, hands downlink messages to the right gateway, and passes client
 * acks to the push owner of the user's partition. It keeps nothing that cannot be rebuilt: when it
 * dies, gateways register their connections again through another access node.
 */

import type { Clock } from "../../core/clock.ts";
import type { Membership } from "../../core/lifecycle/membership.ts";
import type { Service } from "../../core/lifecycle/service.ts";
import type { Limits } from "../../core/limits.ts";
import type { Registered, SessionDirectory } from "../../core/sessions/contract.ts";
import type { Streams } from "../../core/streams/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Partitions } from "../../core/topology.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import type {
  ConnId,
  DeliverTuple,
  RegisterTuple,
  ToAccess,
  WriteTuple,
} from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import { Claims } from "./claims.ts";
import { Forwarding } from "./forwarding.ts";
import { Registrar } from "./registrar.ts";
import { type HeldSession, SessionTable } from "./session_table.ts";
import { Uplink } from "./uplink.ts";

export interface AccessDeps {
  readonly self: NodeId;
  readonly trunk: Trunk;
  readonly streams: Streams;
  readonly directory: SessionDirectory;
  readonly membership: Membership;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

export function createAccessRole(deps: AccessDeps): Service {
  return new AccessRole(deps);
}

class AccessRole implements Service {
  readonly name = "access";
  private readonly deps: AccessDeps;
  private readonly sessions = new SessionTable();
  private readonly claims = new Claims();
  private readonly registrar: Registrar;
  private readonly uplink: Uplink;
  private readonly forwarding: Forwarding;
  private draining = false;
  private started = false;

  constructor(deps: AccessDeps) {
    this.deps = deps;
    const { clock, directory, limits, self, streams, telemetry, trunk } = deps;
    this.registrar = new Registrar({
      self,
      directory,
      clock,
      telemetry,
      onRegistered: (session, result) => this.registered(session, result),
    });
    const write = (gateway: NodeId, items: WriteTuple[]) => {
      trunk.send(gateway, { to: "gateway", t: "write", items });
    };
    this.uplink = new Uplink({ streams, clock, telemetry, limits, write });
    this.forwarding = new Forwarding({ ...deps, sessions: this.sessions, claims: this.claims });
  }

  async start(): Promise<void> {
    this.deps.trunk.attach({
      onUp: () => {},
      onDown: (peer) => {
        this.claims.drop(peer);
        this.linkLost(peer);
      },
      onMessage: (peer, message) => {
        if (message.to === "access") this.onMessage(peer, message);
      },
    });
    this.started = true;
  }

  blockers(): string[] {
    if (!this.started) return ["access has not started"];
    if (this.draining) return ["access drains"];
    return this.deps.membership.isConnected() ? [] : ["Redis cannot be reached"];
  }

  /** Gateways see `draining` in the registry and move their connections away by themselves. */
  async drain(_budgetMs: number): Promise<void> {
    this.draining = true;
    await Promise.all([this.uplink.idle(), this.registrar.idle()]);
  }

  async stop(): Promise<void> {
    this.draining = true;
  }

  private onMessage(peer: NodeId, message: ToAccess): void {
    const { forwarding } = this;
    switch (message.t) {
      case "register":
        this.register(peer, message.conns);
        break;
      case "unregister":
        this.unregister(peer, message.conns);
        break;
      case "uplink":
        this.uplink.take(peer, message.items);
        break;
      case "acks":
        forwarding.acks(peer, message.items);
        break;
      case "deliver":
        this.deliver(message.items);
        break;
      case "write":
        this.deps.trunk.send(message.gateway, { to: "gateway", t: "write", items: message.items });
        break;
      case "close":
        forwarding.close(message.conns);
        break;
      case "claims":
        this.claims.set(message.group, peer, message.owned);
        break;
      case "signals":
        forwarding.signals(message.items);
        break;
      case "relay":
        forwarding.relay(message.items);
        break;
      case "watch":
        forwarding.watch(peer, message.items);
        break;
    }
  }

  private register(gateway: NodeId, conns: readonly RegisterTuple[]): void {
    for (const [user, device, conn, since, issuedAt] of conns) {
      const held = { user, device, gateway, conn, since, issuedAt };
      const session = { ...held, epoch: 0, closed: false };
      this.sessions.add(session);
      this.registrar.register(session);
    }
    this.deps.telemetry.metrics.sessions.set(this.sessions.count());
  }

  private unregister(gateway: NodeId, conns: readonly ConnId[]): void {
    for (const conn of conns) {
      const session = this.sessions.get(gateway, conn);
      if (session === undefined) continue;
      this.sessions.remove(session);
      this.registrar.unregister(session);
    }
    this.deps.telemetry.metrics.sessions.set(this.sessions.count());
  }

  private registered(session: HeldSession, result: Registered): void {
    const { gateway, conn } = session;
    const old = result.replaced;
    // Superseded by a later one, or only by a clock that is ahead of its gateway's: so it may return.
    const refusal = old === null ? "too_many_devices" : "rebalance";
    const refused = result.epoch === 0 ? (result.barred ?? refusal) : "";
    // A late answer about a connection that has been registered here again since.
    if (refused !== "" && this.sessions.get(gateway, conn) !== session) return;
    if (refused !== "") this.sessions.remove(session);
    this.deps.trunk.send(gateway, {
      to: "gateway",
      t: "registered",
      conns: [[conn, result.epoch, refused]],
    });
    if (old !== null && refused === "") {
      this.deps.trunk.send(old.access, {
        to: "access",
        t: "close",
        conns: [[[old.gateway, old.conn, old.epoch], "replaced"]],
      });
    }
  }

  /** Passes messages on, one trunk message per gateway however many sessions it has. */
  private deliver(items: readonly DeliverTuple[]): void {
    const byGateway = new Map<NodeId, DeliverTuple[]>();
    const add = (gateway: NodeId, item: DeliverTuple) => {
      const list = byGateway.get(gateway);
      if (list === undefined) byGateway.set(gateway, [item]);
      else list.push(item);
    };
    for (const item of items) {
      const [addresses, frames, trace] = item;
      const gateway = addresses[0]?.[0];
      if (gateway === undefined) continue;
      if (addresses.every((address) => address[0] === gateway)) {
        add(gateway, item);
        continue;
      }
      for (const [g, own] of Map.groupBy(addresses, (address) => address[0])) {
        add(g, trace === undefined ? [own, frames] : [own, frames, trace]);
      }
    }
    for (const [gateway, own] of byGateway) {
      this.deps.trunk.send(gateway, { to: "gateway", t: "deliver", items: own });
    }
  }

  /**
   * A gateway that lives registers its connections again, here or elsewhere. What it does not, it has
   * lost meanwhile and cannot tell, or it is dead itself: those sessions end when the others have had
   * their time. The epoch keeps those that were registered again.
   */
  private linkLost(gateway: NodeId): void {
    const lost = this.sessions.takeGateway(gateway);
    if (lost.length === 0) return;
    this.deps.telemetry.metrics.sessions.set(this.sessions.count());
    this.deps.clock.after(this.deps.limits.NODE_TTL_MS, () => {
      for (const session of lost) this.registrar.unregister(session);
    });
  }
}
