/**
 * The trunk: how nodes talk to each other beside the streams. It is best effort by design. What must
 * not be lost is in a stream or in SQL; the trunk only carries deliveries, replies and acks, all of
 * which are repeated by somebody who notices that they did not arrive.
 *
 * Ordering: messages of one link arrive in the order in which they were sent (FIFO).
 * Loss: only a suffix of a link's messages can be lost, and always visibly: both ends get `onDown`
 * for that link before either gets a message of a later link between the same two nodes. Whoever
 * has state that rides on a link (a session, a delivery in flight) restarts it when the link ends.
 * Duplicates: none within a link. A sender that repeats after `onDown` may cause them end to end.
 * Back-pressure: `send` never blocks. Past TRUNK_BUFFER_BYTES_MAX of unsent bytes the link is closed,
 * which both ends see as `onDown`; a stuck peer therefore costs bounded memory.
 * Authentication: both ends prove that they know the cluster secret before any message passes.
 */
import type { TrunkMessage } from "./messages.ts";
import type { NodeId } from "./node_id.ts";

export interface TrunkHandlers {
  /** A link to or from `peer` works. At most one link per pair is up at a time. */
  onUp(peer: NodeId): void;
  /** The link is gone, with what was still on its way. */
  onDown(peer: NodeId): void;
  /** Synchronous: a handler that needs to wait queues. */
  onMessage(peer: NodeId, message: TrunkMessage): void;
}

export interface Trunk {
  readonly self: NodeId;
  /** Takes the handlers; called once per role, before `start`. Every role sees every message. */
  attach(handlers: TrunkHandlers): void;
  /**
   * Queues `message` for `peer`, to leave with all others of this turn of the event loop.
   * Returns false, and does nothing, when no link to `peer` is up. `peer` may be `self`.
   */
  send(peer: NodeId, message: TrunkMessage): boolean;
  isUp(peer: NodeId): boolean;
  /**
   * Keeps a link to each of `peers`, dialling and redialling with back-off; drops the links to
   * dialled nodes that are not listed any more. Nodes that dial us are not affected.
   */
  dial(peers: readonly TrunkPeer[]): void;
}

export interface TrunkPeer {
  readonly id: NodeId;
  /** Where the peer's trunk listens. */
  readonly host: string;
  readonly port: number;
}
