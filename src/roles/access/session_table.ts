/**
 * The sessions that this access node holds, by gateway and connection. One small object each: with
 * 18 000 connections a field costs 144 KB.
 */
import type { Session } from "../../core/sessions/contract.ts";
import type { ConnId } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

export interface HeldSession {
  readonly user: string;
  readonly device: string;
  readonly gateway: NodeId;
  readonly conn: ConnId;
  readonly since: number;
  readonly issuedAt: number;
  /** 0 until the directory has answered. */
  epoch: number;
  /** The gateway said that the connection is gone. */
  closed: boolean;
}

export class SessionTable {
  private readonly byGateway = new Map<NodeId, Map<ConnId, HeldSession>>();

  add(session: HeldSession): void {
    let conns = this.byGateway.get(session.gateway);
    if (conns === undefined) {
      conns = new Map();
      this.byGateway.set(session.gateway, conns);
    }
    conns.set(session.conn, session);
  }

  get(gateway: NodeId, conn: ConnId): HeldSession | undefined {
    return this.byGateway.get(gateway)?.get(conn);
  }

  remove(session: Pick<Session, "gateway" | "conn">): void {
    const conns = this.byGateway.get(session.gateway);
    if (conns?.delete(session.conn) && conns.size === 0) this.byGateway.delete(session.gateway);
  }

  /** Takes out everything of a gateway. */
  takeGateway(gateway: NodeId): HeldSession[] {
    const conns = this.byGateway.get(gateway);
    this.byGateway.delete(gateway);
    return conns === undefined ? [] : [...conns.values()];
  }

  count(): number {
    let count = 0;
    for (const conns of this.byGateway.values()) count += conns.size;
    return count;
  }
}
