/**
 * A TCP proxy that stands between two parties and makes their link as bad as it is told to: cut,
 * slow, mute in one direction, half open, or one that swallows a reply and then resets. Without a
 * fault it passes bytes on as they come.
 */
import type { Socket, TCPSocketListener } from "bun";
import type { LinkAddress, LinkFault, LinkPlan } from "./link_fault.ts";
import { OPEN, Pipe, type PipeMode, TICK_MS, type Wire } from "./pipe.ts";

const HEAD_BYTES_MAX = 1_024;

interface Pair {
  readonly up: Pipe;
  readonly down: Pipe;
  client: Wire | null;
  server: Wire | null;
  /** The first bytes of the one who dialled, in which a node says its name. */
  head: string;
  fault: LinkFault | null;
  /** What had come up when the fault began: a reply to anything later is swallowed. */
  upAtFault: number;
}

export class FaultProxy {
  private readonly pairs = new Set<Pair>();
  private readonly slow = new Set<Pipe>();
  private listener: TCPSocketListener<Pair> | null = null;
  private target: LinkAddress;
  private fault: LinkFault | null = null;
  private peer = "";
  private ticking = false;

  constructor(private readonly plan: LinkPlan) {
    this.target = plan.target;
    this.listen();
  }

  /** `peer`: only connections in whose first bytes this text stands. Null ends what is going on. */
  set(fault: LinkFault | null, peer = ""): void {
    this.fault = fault;
    this.peer = peer;
    for (const pair of [...this.pairs]) this.apply(pair);
  }

  repoint(target: LinkAddress): void {
    this.target = target;
    this.reset();
  }

  /** Resets every connection; new ones are made as before. */
  reset(): void {
    for (const pair of [...this.pairs]) this.drop(pair);
  }

  stop(): void {
    this.listener?.stop(true);
    this.reset();
  }

  private listen(): void {
    const { host, port } = this.plan.listen;
    this.listener = Bun.listen<Pair>({
      hostname: host,
      port,
      socket: {
        open: (socket) => this.accept(socket),
        data: (socket, data) => this.fromClient(socket.data, data),
        drain: (socket) => socket.data?.down.pump(),
        close: (socket) => this.clientEnded(socket.data),
        error: (socket) => this.clientEnded(socket.data),
      },
    });
  }

  private accept(client: Socket<Pair>): void {
    const onSlow = (pipe: Pipe) => () => this.watch(pipe);
    const pair: Pair = {
      up: new Pipe(() => onSlow(pair.up)()),
      down: new Pipe(() => onSlow(pair.down)()),
      client: client,
      server: null,
      head: "",
      fault: null,
      upAtFault: 0,
    };
    client.data = pair;
    client.setNoDelay(true);
    pair.up.source = client;
    pair.down.sink = client;
    this.pairs.add(pair);
    if (this.fault?.kind === "cut" && this.peer === "") {
      this.drop(pair);
      return;
    }
    this.apply(pair);
    this.dial(pair);
  }

  private dial(pair: Pair): void {
    const { host, port } = this.target;
    Bun.connect({
      hostname: host,
      port,
      socket: {
        open: (server) => this.connected(pair, server),
        data: (_, data) => this.fromServer(pair, data),
        drain: () => pair.up.pump(),
        close: () => this.serverEnded(pair),
        error: () => this.serverEnded(pair),
        connectError: () => this.drop(pair),
      },
    }).catch(() => this.drop(pair));
  }

  private connected(pair: Pair, server: Socket): void {
    if (!this.pairs.has(pair) || pair.client === null) {
      server.terminate();
      return;
    }
    server.setNoDelay(true);
    pair.server = server;
    pair.up.sink = server;
    pair.down.source = server;
    pair.up.pump();
  }

  private fromClient(pair: Pair, data: Buffer): void {
    if (pair.head.length < HEAD_BYTES_MAX) {
      pair.head += data.toString("latin1", 0, HEAD_BYTES_MAX);
      if (this.fault !== null && pair.fault === null) this.apply(pair);
    }
    pair.up.push(data);
  }

  private fromServer(pair: Pair, data: Buffer): void {
    if (pair.fault?.kind === "swallowed_reply" && pair.up.passed > pair.upAtFault) {
      this.drop(pair);
      return;
    }
    pair.down.push(data);
  }

  private clientEnded(pair: Pair | undefined): void {
    if (pair === undefined || pair.client === null) return;
    pair.client = null;
    pair.down.sink = null;
    if (pair.fault?.kind === "half_open") return;
    if (pair.server === null) this.pairs.delete(pair);
    else pair.up.end();
  }

  private serverEnded(pair: Pair): void {
    if (pair.server === null) return;
    pair.server = null;
    pair.up.sink = null;
    if (pair.fault?.kind === "half_open") return;
    if (pair.client === null) this.pairs.delete(pair);
    else pair.down.end();
  }

  private drop(pair: Pair): void {
    this.pairs.delete(pair);
    const { client, server } = pair;
    pair.client = null;
    pair.server = null;
    pair.up.sink = null;
    pair.down.sink = null;
    client?.terminate();
    server?.terminate();
  }

  private apply(pair: Pair): void {
    const before = pair.fault;
    const fault = this.peer === "" || pair.head.includes(this.peer) ? this.fault : null;
    if (before === fault) return;
    pair.fault = fault;
    pair.upAtFault = pair.up.passed;
    // What was kept half open is found out about now.
    if (before?.kind === "half_open" || fault?.kind === "cut") {
      this.drop(pair);
      return;
    }
    pair.up.mode = modeOf(fault, "up");
    pair.down.mode = modeOf(fault, "down");
    if (fault?.kind === "half_open") {
      if (fault.keeps === "client") pair.server?.terminate();
      else pair.client?.terminate();
    }
    pair.up.pump();
    pair.down.pump();
  }

  private watch(pipe: Pipe): void {
    this.slow.add(pipe);
    if (this.ticking) return;
    this.ticking = true;
    setTimeout(() => {
      this.ticking = false;
      const pipes = [...this.slow];
      this.slow.clear();
      for (const each of pipes) each.pump();
    }, TICK_MS);
  }
}

function modeOf(fault: LinkFault | null, direction: "up" | "down"): PipeMode {
  switch (fault?.kind) {
    case "stall":
      return { ...OPEN, held: true };
    case "one_way_cut":
      return fault.direction === direction ? { ...OPEN, held: true } : OPEN;
    case "delay":
      return { ...OPEN, delayMs: () => fault.ms + Math.random() * fault.jitterMs };
    case "throttle":
      return { ...OPEN, bytesPerSecond: fault.bytesPerSecond };
    case "byte_at_a_time":
      return { ...OPEN, singleBytes: true };
    case "half_open":
      return { ...OPEN, swallows: true };
    default:
      return OPEN;
  }
}
