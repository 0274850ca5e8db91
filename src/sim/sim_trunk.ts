/**
 * A process' end of the trunk. Between the in-memory trunk and the roles it puts what a process that
 * was stopped does not know yet: links that it still believes in, messages that wait in its sockets.
 */
import type { Trunk, TrunkHandlers, TrunkPeer } from "../core/trunk/contract.ts";
import type { MemoryTrunk } from "../core/trunk/memory_trunk.ts";
import type { TrunkMessage } from "../core/trunk/messages.ts";
import type { NodeId } from "../core/trunk/node_id.ts";
import type { Host } from "./host.ts";

/** What may stand between the network and the roles: nothing, unless a bug is planted. */
export interface TrunkTap {
  /** What the process gets for a message that arrives; usually that message alone. */
  receive?(self: NodeId, peer: NodeId, message: TrunkMessage): readonly TrunkMessage[];
  /** False keeps the process from hearing that a link is up. */
  up?(self: NodeId, peer: NodeId): boolean;
  /** The same of a link that is down. */
  down?(self: NodeId, peer: NodeId): boolean;
}

export class SimTrunk implements Trunk {
  private readonly handlers: TrunkHandlers[] = [];
  /** The links that this process knows of. */
  private readonly known = new Set<NodeId>();

  constructor(
    private readonly inner: MemoryTrunk,
    private readonly host: Host,
    private readonly tap: TrunkTap,
  ) {
    inner.attach({
      onUp: (peer) => host.deliver("trunk", () => this.up(peer)),
      onDown: (peer) => host.deliver("trunk", () => this.down(peer)),
      onMessage: (peer, message) => host.deliver("trunk", () => this.message(peer, message)),
    });
  }

  get self(): NodeId {
    return this.inner.self;
  }

  start(): void {
    this.inner.start();
  }

  stop(): void {
    this.inner.stop();
  }

  attach(handlers: TrunkHandlers): void {
    this.handlers.push(handlers);
  }

  send(peer: NodeId, message: TrunkMessage): boolean {
    if (!this.host.alive || !this.known.has(peer)) return false;
    // Where the link is gone already, what is written to it is lost.
    this.inner.send(peer, message);
    return true;
  }

  isUp(peer: NodeId): boolean {
    return this.known.has(peer);
  }

  dial(peers: readonly TrunkPeer[]): void {
    this.inner.dial(peers);
  }

  private up(peer: NodeId): void {
    this.known.add(peer);
    if (this.tap.up?.(this.self, peer) === false) return;
    for (const handlers of this.handlers) handlers.onUp(peer);
  }

  private down(peer: NodeId): void {
    this.known.delete(peer);
    if (this.tap.down?.(this.self, peer) === false) return;
    for (const handlers of this.handlers) handlers.onDown(peer);
  }

  private message(peer: NodeId, message: TrunkMessage): void {
    const messages = this.tap.receive?.(this.self, peer, message) ?? [message];
    for (const each of messages) {
      for (const handlers of this.handlers) handlers.onMessage(peer, each);
    }
  }
}
