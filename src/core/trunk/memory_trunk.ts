/**
 * The trunk between nodes that live in one process: for tests and for the simulator. Everything it
 * does, it does from its clock, in an order that depends on nothing else, so a virtual clock makes
 * a run repeatable. One contract suite holds it and the TCP trunk to the same behaviour. Messages
 * cross it as JSON text, so that nodes can neither share an object nor send what has no JSON.
 */
import type { Clock } from "../clock.ts";
import type { Limits } from "../limits.ts";
import type { Trunk, TrunkHandlers, TrunkPeer } from "./contract.ts";
import type { TrunkMessage } from "./messages.ts";
import type { NodeId } from "./node_id.ts";

const REDIAL_FIRST_MS = 50;
const REDIAL_MAX_MS = 2_000;

/** One way of a link. */
interface Way {
  pending: TrunkMessage[];
  /** Batches on their way; every delivery takes the first, so no delay can change their order. */
  flying: string[];
  flyingChars: number;
  /** When the last of `flying` arrives, monotonic ms. */
  lastDue: number;
}

interface Link {
  readonly dialler: MemoryTrunk;
  readonly acceptor: MemoryTrunk;
  /** False as soon as nothing passes any more, which the ends may learn later. */
  passes: boolean;
  readonly ways: Map<MemoryTrunk, Way>;
}

export class MemoryTrunkHub {
  private readonly nodes = new Map<NodeId, MemoryTrunk>();
  private readonly delays = new Map<string, number>();
  private readonly blocked = new Set<string>();

  constructor(
    readonly clock: Clock,
    readonly limits: Limits,
  ) {}

  /** A new node. Ids are unique per incarnation, as in production: a crashed one does not return. */
  node(id: NodeId): MemoryTrunk {
    if (this.nodes.has(id)) throw new Error(`the hub has a node "${id}" already`);
    const node = new MemoryTrunk(id, this);
    this.nodes.set(id, node);
    return node;
  }

  /**
   * Cuts the link: what is on its way is lost at once. `a` and `b` get `onDown` after as many
   * milliseconds as given, 0 being from within this call. A late notice is a half-open link; a new
   * link before it takes the old one down at both ends first. Diallers redial.
   */
  cut(a: NodeId, b: NodeId, aNoticesMs = 0, bNoticesMs = aNoticesMs): void {
    const nodeA = this.nodes.get(a);
    const nodeB = this.nodes.get(b);
    const link = nodeA?.linkTo(b) ?? nodeB?.linkTo(a);
    if (nodeA === undefined || nodeB === undefined || link === undefined) return;
    link.passes = false;
    this.after(aNoticesMs, () => nodeA.lose(link));
    this.after(bNoticesMs, () => nodeB.lose(link));
  }

  /** No new link between the two until `unblock`. The present one stays: `cut` it. */
  block(a: NodeId, b: NodeId): void {
    this.blocked.add(pairKey(a, b));
  }

  unblock(a: NodeId, b: NodeId): void {
    this.blocked.delete(pairKey(a, b));
  }

  /** How long a batch takes between the two from now on, either way; 0 is the next turn. */
  delay(a: NodeId, b: NodeId, ms: number): void {
    this.delays.set(pairKey(a, b), ms);
  }

  delayOf(a: NodeId, b: NodeId): number {
    return this.delays.get(pairKey(a, b)) ?? 0;
  }

  /** Kills a node: its handlers hear nothing ever again, and its peers `onDown` after `noticeMs`. */
  crash(id: NodeId, noticeMs = 0): void {
    const node = this.nodes.get(id);
    if (node === undefined) return;
    this.nodes.delete(id);
    for (const link of node.die()) {
      link.passes = false;
      const survivor = otherEnd(link, node);
      this.after(noticeMs, () => survivor.lose(link));
    }
  }

  /** Runs `fn` now, or after `ms`. */
  private after(ms: number, fn: () => void): void {
    if (ms === 0) fn();
    else this.clock.after(ms, fn);
  }

  /** Links the two if it can; the node calls it when it dials. */
  connect(dialler: MemoryTrunk, peer: NodeId): boolean {
    const acceptor = this.nodes.get(peer);
    const reachable = (): boolean =>
      dialler.isRunning() && acceptor?.isRunning() === true && this.nodes.get(peer) === acceptor;
    if (acceptor === undefined || this.blocked.has(pairKey(dialler.self, peer)) || !reachable()) {
      return false;
    }
    for (const [end, other] of [
      [dialler, acceptor],
      [acceptor, dialler],
    ] as const) {
      const old = end.linkTo(other.self);
      if (old === undefined) continue;
      old.passes = false;
      end.lose(old);
    }
    // The handlers that heard `onDown` may have stopped or crashed a node.
    if (!reachable()) return false;
    const ways = new Map([dialler, acceptor].map((end) => [end, newWay()]));
    const link: Link = { dialler, acceptor, passes: true, ways };
    dialler.gain(link);
    // Likewise the handlers that heard the dialler's `onUp`.
    if (link.passes && acceptor.isRunning()) acceptor.gain(link);
    else dialler.lose(link);
    return true;
  }
}

interface Dial {
  failures: number;
  /** An attempt is due. */
  waiting: boolean;
}

export class MemoryTrunk implements Trunk {
  private phase: "new" | "running" | "stopped" = "new";
  private readonly handlers: TrunkHandlers[] = [];
  private readonly links = new Map<NodeId, Link>();
  private readonly dials = new Map<NodeId, Dial>();
  private local: TrunkMessage[] = [];

  /** Made by `MemoryTrunkHub.node`. */
  constructor(
    readonly self: NodeId,
    private readonly hub: MemoryTrunkHub,
  ) {}

  attach(handlers: TrunkHandlers): void {
    if (this.phase !== "new") throw new Error("trunk handlers are attached before start");
    this.handlers.push(handlers);
  }

  start(): void {
    if (this.phase !== "new") return;
    this.phase = "running";
    for (const handlers of this.handlers) handlers.onUp(this.self);
  }

  /** Takes every link down, at both ends at once. */
  stop(): void {
    if (this.phase !== "running") return;
    const links = this.die();
    for (const link of links) {
      const peer = otherEnd(link, this);
      link.passes = false;
      for (const handlers of this.handlers) handlers.onDown(peer.self);
      peer.lose(link);
    }
    for (const handlers of this.handlers) handlers.onDown(this.self);
  }

  isUp(peer: NodeId): boolean {
    return peer === this.self ? this.isRunning() : this.links.has(peer);
  }

  send(peer: NodeId, message: TrunkMessage): boolean {
    if (peer === this.self) return this.sendLocal(message);
    const link = this.links.get(peer);
    const way = link?.ways.get(this);
    if (link === undefined || way === undefined) return false;
    if (way.pending.push(message) === 1) this.hub.clock.endOfTurn(() => this.flush(link, way));
    return true;
  }

  /** Addresses do not matter here: nodes are found by their id. */
  dial(peers: readonly TrunkPeer[]): void {
    const listed = new Set(peers.map((peer) => peer.id));
    listed.delete(this.self);
    for (const id of this.dials.keys()) if (!listed.has(id)) this.dials.delete(id);
    for (const id of listed) {
      if (this.dials.has(id)) continue;
      this.dials.set(id, { failures: 0, waiting: false });
      this.redial(id, this.hub.delayOf(this.self, id));
    }
    this.hub.clock.endOfTurn(() => this.dropUnlisted());
  }

  isRunning(): boolean {
    return this.phase === "running";
  }

  /** For the hub: the link to `peer` that this end believes in. */
  linkTo(peer: NodeId): Link | undefined {
    return this.links.get(peer);
  }

  /** For the hub: a link is there. */
  gain(link: Link): void {
    const peer = otherEnd(link, this).self;
    this.links.set(peer, link);
    const dial = this.dials.get(peer);
    if (dial !== undefined) dial.failures = 0;
    for (const handlers of this.handlers) handlers.onUp(peer);
  }

  /** For the hub: this end learns that `link` is gone, unless it knows. */
  lose(link: Link): void {
    const peer = otherEnd(link, this).self;
    if (this.links.get(peer) !== link) return;
    this.links.delete(peer);
    this.redial(peer, REDIAL_FIRST_MS);
    for (const handlers of this.handlers) handlers.onDown(peer);
  }

  /** For the hub: stops without a word, and returns the links that it had. */
  die(): Link[] {
    const links = [...this.links.values()];
    this.phase = "stopped";
    this.links.clear();
    this.dials.clear();
    this.local = [];
    return links;
  }

  private redial(peer: NodeId, ms: number): void {
    const dial = this.dials.get(peer);
    if (dial === undefined || dial.waiting) return;
    dial.waiting = true;
    this.hub.clock.after(ms, () => {
      dial.waiting = false;
      if (this.dials.get(peer) !== dial || this.links.has(peer)) return;
      if (this.hub.connect(this, peer)) return;
      dial.failures += 1;
      this.redial(peer, Math.min(REDIAL_MAX_MS, REDIAL_FIRST_MS * 2 ** dial.failures));
    });
  }

  private dropUnlisted(): void {
    for (const [peer, link] of [...this.links]) {
      if (link.dialler === this && !this.dials.has(peer)) this.hub.cut(this.self, peer);
    }
  }

  private flush(link: Link, way: Way): void {
    const { clock, limits } = this.hub;
    const messages = way.pending;
    way.pending = [];
    if (!link.passes) return;
    const peer = otherEnd(link, this);
    const text = JSON.stringify(messages);
    way.flyingChars += text.length;
    const tooLarge = (message: TrunkMessage): boolean =>
      JSON.stringify(message).length > limits.TRUNK_FRAME_BYTES_MAX;
    if (
      way.flyingChars > limits.TRUNK_BUFFER_BYTES_MAX ||
      (text.length > limits.TRUNK_FRAME_BYTES_MAX && messages.some(tooLarge))
    ) {
      this.hub.cut(this.self, peer.self);
      return;
    }
    way.flying.push(text);
    const now = clock.monotonic();
    way.lastDue = Math.max(way.lastDue, now + this.hub.delayOf(this.self, peer.self));
    const arrive = (): void => peer.receive(link, way);
    if (way.lastDue > now) clock.after(way.lastDue - now, arrive);
    else clock.endOfTurn(arrive);
  }

  private receive(link: Link, way: Way): void {
    const text = way.flying.shift();
    if (text === undefined) return;
    way.flyingChars -= text.length;
    const peer = otherEnd(link, this).self;
    const messages: TrunkMessage[] = JSON.parse(text);
    for (const message of messages) {
      for (const handlers of this.handlers) {
        if (!link.passes || this.links.get(peer) !== link) return;
        handlers.onMessage(peer, message);
      }
    }
  }

  private sendLocal(message: TrunkMessage): boolean {
    if (!this.isRunning()) return false;
    if (this.local.push(message) === 1) this.hub.clock.endOfTurn(() => this.drainLocal());
    return true;
  }

  private drainLocal(): void {
    const messages = this.local;
    this.local = [];
    for (const message of messages) {
      for (const handlers of this.handlers) {
        if (!this.isRunning()) return;
        handlers.onMessage(this.self, message);
      }
    }
  }
}

function otherEnd(link: Link, end: MemoryTrunk): MemoryTrunk {
  return link.dialler === end ? link.acceptor : link.dialler;
}

function pairKey(a: NodeId, b: NodeId): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

function newWay(): Way {
  return { pending: [], flying: [], flyingChars: 0, lastDue: 0 };
}
