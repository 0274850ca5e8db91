/**
 * What passes through access between gateways and partition owners: acks, signals, watches and
 * relays up to the owner of the user's or conversation's partition, closes down to gateways.
 */

import type { CloseReason } from "../../core/protocol/errors.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import type { Address, ConnId, RelayTuple, SignalTuple } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import type { Claims } from "./claims.ts";
import type { SessionTable } from "./session_table.ts";

export interface ForwardingDeps {
  readonly trunk: Trunk;
  readonly partitions: Partitions;
  readonly telemetry: Telemetry;
  readonly sessions: SessionTable;
  readonly claims: Claims;
}

export class Forwarding {
  private readonly deps: ForwardingDeps;

  constructor(deps: ForwardingDeps) {
    this.deps = deps;
  }

  /** Client acks, by user, to the push owner of each user's partition. */
  acks(gateway: NodeId, items: readonly [conn: ConnId, msgIds: string[]][]): void {
    const byOwner = new Map<NodeId, [string, Address, string[]][]>();
    for (const [conn, msgIds] of items) {
      const session = this.deps.sessions.get(gateway, conn);
      if (session === undefined) continue;
      const owner = this.pushOwner(session.user);
      if (owner === null) continue;
      const list = byOwner.get(owner);
      const item: [string, Address, string[]] = [
        session.user,
        [gateway, conn, session.epoch],
        msgIds,
      ];
      if (list === undefined) byOwner.set(owner, [item]);
      else list.push(item);
    }
    for (const [owner, own] of byOwner) {
      this.deps.trunk.send(owner, { to: "push", t: "userAcks", items: own });
    }
  }

  /** Typing and read signals, to the logic owner that knows who may get them. */
  signals(items: readonly SignalTuple[]): void {
    for (const [owner, own] of this.group(items, ([conversation]) => {
      const partition = partitionOf(conversation, this.deps.partitions.chat);
      return this.deps.claims.ownerOf("logic", partition);
    })) {
      this.deps.trunk.send(owner, { to: "logic", t: "signals", items: own });
    }
  }

  /** Frames for users, to the push owners that know their sessions. */
  relay(items: readonly RelayTuple[]): void {
    const single: RelayTuple[] = [];
    for (const [users, frame] of items) {
      for (const user of users) single.push([[user], frame]);
    }
    for (const [owner, own] of this.group(single, ([users]) => this.pushOwner(users[0] ?? ""))) {
      this.deps.trunk.send(owner, { to: "push", t: "relay", items: own });
    }
  }

  watch(gateway: NodeId, items: readonly [conn: ConnId, users: string[]][]): void {
    const single: [Address, string[]][] = [];
    for (const [conn, users] of items) {
      const session = this.deps.sessions.get(gateway, conn);
      if (session === undefined) continue;
      for (const user of users) single.push([[gateway, conn, session.epoch], [user]]);
    }
    for (const [owner, own] of this.group(single, ([, users]) => this.pushOwner(users[0] ?? ""))) {
      this.deps.trunk.send(owner, { to: "push", t: "watch", items: own });
    }
  }

  close(conns: readonly [Address, CloseReason][]): void {
    for (const [gateway, own] of this.group(conns, ([address]) => address[0])) {
      this.deps.trunk.send(gateway, { to: "gateway", t: "close", conns: own });
    }
  }

  private pushOwner(user: string): NodeId | null {
    return this.deps.claims.ownerOf("push", partitionOf(user, this.deps.partitions.user));
  }

  /** Groups by destination; what has none is dropped, which its sender repeats or does without. */
  private group<T>(items: readonly T[], to: (item: T) => NodeId | null): Map<NodeId, T[]> {
    const groups = new Map<NodeId, T[]>();
    let dropped = 0;
    for (const item of items) {
      const node = to(item);
      if (node === null) {
        dropped++;
        continue;
      }
      const list = groups.get(node);
      if (list === undefined) groups.set(node, [item]);
      else list.push(item);
    }
    if (dropped > 0) this.deps.telemetry.metrics.drops.inc({ reason: "no_owner" }, dropped);
    return groups;
  }
}
