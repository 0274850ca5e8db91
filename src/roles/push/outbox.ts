/**
 * What goes to sessions in this turn of the event loop: one trunk message per access node, and a
 * text that goes to many sessions in a row is carried once.
 */
import type { Clock } from "../../core/clock.ts";
import type { CloseReason } from "../../core/protocol/errors.ts";
import type { Session } from "../../core/sessions/contract.ts";
import type { TraceContext } from "../../core/telemetry/telemetry.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import type { Address, DeliverTuple } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

export class Outbox {
  private readonly trunk: Trunk;
  private readonly clock: Clock;
  private pending = new Map<NodeId, DeliverTuple[]>();
  private scheduled = false;

  constructor(trunk: Trunk, clock: Clock) {
    this.trunk = trunk;
    this.clock = clock;
  }

  canReach(session: Session): boolean {
    return this.trunk.isUp(session.access);
  }

  add(session: Session, frame: string, trace: TraceContext = ""): void {
    this.addTo(session.access, [session.gateway, session.conn, session.epoch], frame, trace);
  }

  addTo(access: NodeId, address: Address, frame: string, trace: TraceContext = ""): void {
    const items = this.pending.get(access);
    if (items === undefined) {
      this.pending.set(access, [tupleOf(address, frame, trace)]);
      this.schedule();
      return;
    }
    const last = items[items.length - 1];
    if (last !== undefined && last[1] === frame) last[0].push(address);
    else items.push(tupleOf(address, frame, trace));
  }

  close(session: Session, reason: CloseReason): void {
    const address: Address = [session.gateway, session.conn, session.epoch];
    this.trunk.send(session.access, { to: "access", t: "close", conns: [[address, reason]] });
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.clock.endOfTurn(this.flush);
  }

  private readonly flush = (): void => {
    this.scheduled = false;
    const pending = this.pending;
    this.pending = new Map();
    for (const [access, items] of pending) {
      this.trunk.send(access, { to: "access", t: "deliver", items });
    }
  };
}

function tupleOf(address: Address, frame: string, trace: TraceContext): DeliverTuple {
  return trace === "" ? [[address], frame] : [[address], frame, trace];
}
