/** A trunk to access nodes that exist only in a test: it keeps what was sent and says what it likes. */
import type { NodeRecord } from "../../../core/registry/contract.ts";
import type { Trunk, TrunkHandlers } from "../../../core/trunk/contract.ts";
import type { ToAccess, ToGateway, TrunkMessage } from "../../../core/trunk/messages.ts";
import type { NodeId } from "../../../core/trunk/node_id.ts";

export class FakeTrunk implements Trunk {
  readonly self: NodeId = "gateway-1";
  readonly sent: { readonly peer: NodeId; readonly message: TrunkMessage }[] = [];
  /** Answers `register` with the next epoch as an access node would; a test may turn it off. */
  autoRegister = true;
  /** Answers `uplink` with `accepted` for each item. */
  autoAccept = false;
  epoch = 100;
  private readonly up = new Set<NodeId>();
  private readonly handlers: TrunkHandlers[] = [];

  attach(handlers: TrunkHandlers): void {
    this.handlers.push(handlers);
  }

  send(peer: NodeId, message: TrunkMessage): boolean {
    if (!this.up.has(peer)) return false;
    this.sent.push({ peer, message });
    if (message.to === "access") queueMicrotask(() => this.answer(peer, message));
    return true;
  }

  isUp(peer: NodeId): boolean {
    return this.up.has(peer);
  }

  dial(): void {}

  raise(peer: NodeId): void {
    this.up.add(peer);
    for (const handlers of this.handlers) handlers.onUp(peer);
  }

  cut(peer: NodeId): void {
    this.up.delete(peer);
    for (const handlers of this.handlers) handlers.onDown(peer);
  }

  /** Something arrives from `peer`. */
  say(peer: NodeId, message: ToGateway): void {
    for (const handlers of this.handlers) handlers.onMessage(peer, message);
  }

  /** Everything of one kind that was sent, with its destination. */
  of<T extends ToAccess["t"]>(t: T): { peer: NodeId; message: Extract<ToAccess, { t: T }> }[] {
    return this.sent.flatMap(({ peer, message }) => {
      const wanted = message.to === "access" && message.t === t;
      return wanted ? [{ peer, message: message as Extract<ToAccess, { t: T }> }] : [];
    });
  }

  private answer(peer: NodeId, message: ToAccess): void {
    if (!this.up.has(peer)) return;
    if (message.t === "register" && this.autoRegister) {
      for (const [, , conn] of message.conns) {
        this.say(peer, { to: "gateway", t: "registered", conns: [[conn, ++this.epoch, ""]] });
      }
    }
    if (message.t === "uplink" && this.autoAccept) {
      for (const [conn, id] of message.items) this.accept(peer, conn, id);
    }
  }

  accept(peer: NodeId, conn: number, clientMsgId: string): void {
    const frames = `{"type":"accepted","client_msg_id":${JSON.stringify(clientMsgId)}}`;
    this.say(peer, { to: "gateway", t: "write", items: [[[conn], frames]] });
  }
}

export function accessNode(id: NodeId, more: Partial<NodeRecord> = {}): NodeRecord {
  return {
    id,
    roles: ["access"],
    host: "127.0.0.1",
    trunkPort: 0,
    httpPorts: {},
    adminPort: 0,
    version: "test",
    startedAt: 0,
    draining: false,
    ...more,
  };
}
