/**
 * The gateway's side of its links to access nodes: what goes to each of them is collected during a
 * turn of the event loop and leaves as one trunk message per kind at its end.
 */
import type { NodeRecord } from "../../core/registry/contract.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import type { ConnId, RegisterTuple, SignalTuple, UplinkTuple } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

/** What waits for one access node until the end of the turn. */
class Batch {
  registers: RegisterTuple[] = [];
  uplink: UplinkTuple[] = [];
  signals: SignalTuple[] = [];
  acks: [conn: ConnId, msgIds: string[]][] = [];
  watches: [conn: ConnId, users: string[]][] = [];
  unregisters: ConnId[] = [];
}

export class AccessLinks {
  private readonly trunk: Trunk;
  private readonly nodes: () => readonly NodeRecord[];
  private readonly schedule: () => void;
  private readonly batches = new Map<NodeId, Batch>();
  private known: readonly NodeId[] | null = null;

  /** `schedule` asks for a `flush` at the end of this turn. */
  constructor(trunk: Trunk, nodes: () => readonly NodeRecord[], schedule: () => void) {
    this.trunk = trunk;
    this.nodes = nodes;
    this.schedule = schedule;
  }

  /**
   * Access nodes that take connections: live, linked, not draining; sorted by id. Looked up again
   * after `refresh`, because a storm of handshakes asks ten thousand times a second.
   */
  open(): readonly NodeId[] {
    this.known ??= this.nodes()
      .filter(({ id, draining }) => !draining && this.trunk.isUp(id))
      .map(({ id }) => id)
      .sort();
    return this.known;
  }

  /** Links or nodes may have changed. */
  refresh(): void {
    this.known = null;
  }

  register(access: NodeId, tuple: RegisterTuple): void {
    this.batch(access).registers.push(tuple);
  }

  unregister(access: NodeId, conn: ConnId): void {
    this.batch(access).unregisters.push(conn);
  }

  uplink(access: NodeId, tuple: UplinkTuple): void {
    this.batch(access).uplink.push(tuple);
  }

  signal(access: NodeId, tuple: SignalTuple): void {
    this.batch(access).signals.push(tuple);
  }

  acks(access: NodeId, conn: ConnId, msgIds: string[]): void {
    this.batch(access).acks.push([conn, msgIds]);
  }

  watch(access: NodeId, conn: ConnId, users: string[]): void {
    this.batch(access).watches.push([conn, users]);
  }

  /** Forgets what waits for a node whose link is gone. */
  drop(access: NodeId): void {
    this.refresh();
    this.batches.delete(access);
  }

  /** Sends every batch; returns the nodes that had no link, whose batches are lost. */
  flush(): NodeId[] {
    const lost: NodeId[] = [];
    for (const [access, batch] of this.batches) {
      if (!this.send(access, batch)) lost.push(access);
    }
    this.batches.clear();
    return lost;
  }

  /** Registrations go first and ends last, so that a connection's life is told in its order. */
  private send(access: NodeId, batch: Batch): boolean {
    const { trunk } = this;
    const { registers, uplink, signals, acks, watches, unregisters } = batch;
    const to = "access";
    return (
      (registers.length === 0 || trunk.send(access, { to, t: "register", conns: registers })) &&
      (uplink.length === 0 || trunk.send(access, { to, t: "uplink", items: uplink })) &&
      (acks.length === 0 || trunk.send(access, { to, t: "acks", items: acks })) &&
      (signals.length === 0 || trunk.send(access, { to, t: "signals", items: signals })) &&
      (watches.length === 0 || trunk.send(access, { to, t: "watch", items: watches })) &&
      (unregisters.length === 0 || trunk.send(access, { to, t: "unregister", conns: unregisters }))
    );
  }

  private batch(access: NodeId): Batch {
    let batch = this.batches.get(access);
    if (batch === undefined) {
      if (this.batches.size === 0) this.schedule();
      batch = new Batch();
      this.batches.set(access, batch);
    }
    return batch;
  }
}
