/**
 * Nodes that a trunk test can link and hurt, over real sockets or in memory, behind one interface.
 * Over TCP every dialled link runs through a proxy that can cut, mute or stall it. In memory time
 * is virtual: waiting costs nothing, and a run is the same every time.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import pino from "pino";
import { type Clock, systemClock, systemRandom, type Timer } from "../../src/core/clock.ts";
import { silentLedger } from "../../src/core/ledger/contract.ts";
import { LIMITS, type Limits } from "../../src/core/limits.ts";
import { createMetrics, type Metrics } from "../../src/core/telemetry/metrics.ts";
import { silentTracer } from "../../src/core/telemetry/trace.ts";
import type { Trunk } from "../../src/core/trunk/contract.ts";
import { type MemoryTrunk, MemoryTrunkHub } from "../../src/core/trunk/memory_trunk.ts";
import type { TrunkMessage } from "../../src/core/trunk/messages.ts";
import { TcpTrunk } from "../../src/core/trunk/tcp_trunk.ts";

/** Small and quick, so that a test meets the bounds without moving 64 MB or waiting 4 s. */
export const TEST_LIMITS: Limits = {
  ...LIMITS,
  TRUNK_FRAME_BYTES_MAX: 262_144,
  TRUNK_BUFFER_BYTES_MAX: 1_048_576,
  TRUNK_PING_MS: 50,
  TRUNK_TIMEOUT_MS: 250,
};

/** No link ends for silence in a test that is about something else and may be slow. */
export const PATIENT_LIMITS: Limits = { ...TEST_LIMITS, TRUNK_TIMEOUT_MS: 60_000 };

export interface TestNode {
  readonly id: string;
  readonly trunk: Trunk;
  /** "up b", "down b", "b 7": what the handlers heard, messages by their first number. */
  readonly events: string[];
}

export interface TrunkCluster {
  /** A node that runs; `prepare` may attach more handlers. */
  node(id: string, prepare?: (trunk: Trunk) => void): TestNode;
  /** Through one proxy per pair; a node may be named before it exists. */
  dial(from: TestNode, ...to: { id: string }[]): void;
  /** Breaks the link that `from` dialled, at both ends. */
  cut(from: TestNode, to: TestNode): void;
  /** Breaks it so that only `from` learns of it: half-open at `to`. */
  loseAtDialler(from: TestNode, to: TestNode): void;
  /** Nothing passes on it any more, and neither end is told. */
  mute(from: TestNode, to: TestNode): void;
  /** `to` stops reading what `from` sends, but lives. */
  stall(from: TestNode, to: TestNode): void;
  stop(node: TestNode): void;
  until(what: string, condition: () => boolean): Promise<void>;
  pass(ms: number): Promise<void>;
  end(): void;
}

export function numbered(n: number, bytes = 0): TrunkMessage {
  return { to: "push", t: "relay", items: [[[String(n)], "x".repeat(bytes)]] };
}

/** Attaches a recorder; it fails at once on whatever the contract rules out. */
export function record(trunk: Trunk): string[] {
  const events: string[] = [];
  const up = new Set<string>();
  const must = (ok: boolean, what: string) => {
    if (!ok) throw new Error(`${trunk.self} heard ${what} after ${events.join(", ")}`);
  };
  trunk.attach({
    onUp(peer) {
      must(!up.has(peer) && trunk.isUp(peer), `up ${peer}`);
      up.add(peer);
      events.push(`up ${peer}`);
    },
    onDown(peer) {
      must(up.delete(peer) && !trunk.isUp(peer), `down ${peer}`);
      events.push(`down ${peer}`);
    },
    onMessage(peer, message) {
      must(up.has(peer), `a message of ${peer}`);
      if (message.t === "relay") events.push(`${peer} ${message.items[0]?.[0][0]}`);
    },
  });
  return events;
}

/** Carries the links that one node dials to another. */
class FaultProxy {
  private readonly server: Server;
  private links: { near: Socket; far: Socket }[] = [];
  /** Splits what it carries into single bytes. */
  bytewise = false;

  /** `target` may be a port that only comes to listen later. */
  constructor(target: () => number | undefined) {
    this.server = createServer((near) => {
      const port = target();
      if (port === undefined) {
        near.destroy();
        return;
      }
      const far = connect(port, "127.0.0.1");
      const link = { near, far };
      this.links.push(link);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        from.setNoDelay(true);
        from.on("error", () => {});
        from.on("close", () => this.links.includes(link) && to.destroy());
        if (this.bytewise) from.on("data", (chunk) => writeBytewise(to, Buffer.from(chunk)));
        else from.pipe(to);
      }
    }).listen(0, "127.0.0.1");
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("no proxy port");
    return address.port;
  }

  cut(): void {
    for (const { near, far } of this.links.splice(0)) {
      near.destroy();
      far.destroy();
    }
  }

  loseNear(): void {
    for (const { near, far } of this.links.splice(0)) {
      far.unpipe(near);
      far.on("data", () => {});
      near.unpipe(far);
      near.destroy();
    }
  }

  mute(): void {
    for (const { near, far } of this.links.splice(0)) {
      for (const socket of [near, far]) socket.unpipe().on("data", () => {});
    }
  }

  stall(): void {
    for (const { near, far } of this.links) near.unpipe(far).pause();
  }

  resume(): void {
    for (const { near, far } of this.links) near.pipe(far);
  }

  end(): void {
    this.cut();
    this.server.close();
  }
}

function writeBytewise(to: Socket, bytes: Buffer): void {
  for (const byte of bytes) to.write(Buffer.of(byte));
}

export interface TcpNode extends TestNode {
  readonly trunk: TcpTrunk;
  readonly metrics: Metrics;
  readonly port: number;
}

export class TcpCluster implements TrunkCluster {
  private readonly proxies = new Map<string, FaultProxy>();
  private readonly nodes: TcpNode[] = [];

  constructor(private readonly limits = TEST_LIMITS) {}

  node(id: string, prepare?: (trunk: Trunk) => void, secret = "cluster secret"): TcpNode {
    const metrics = createMetrics();
    const log = pino({ level: "silent" });
    const telemetry = { log, metrics, tracer: silentTracer, ledger: silentLedger };
    const base = { clock: systemClock, random: systemRandom, limits: this.limits };
    const trunk = new TcpTrunk({ self: id, secret, telemetry, ...base });
    const events = record(trunk);
    prepare?.(trunk);
    const node = { id, trunk, events, metrics, port: trunk.listen({ host: "127.0.0.1", port: 0 }) };
    this.nodes.push(node);
    return node;
  }

  dial(from: TestNode, ...to: { id: string }[]): void {
    const peers = to.map(({ id }) => {
      return { id, host: "127.0.0.1", port: this.proxy(from, id).port };
    });
    from.trunk.dial(peers);
  }

  proxy(from: TestNode, to: string): FaultProxy {
    const key = `${from.id} ${to}`;
    const target = () => this.nodes.findLast((node) => node.id === to)?.port;
    const proxy = this.proxies.get(key) ?? new FaultProxy(target);
    this.proxies.set(key, proxy);
    return proxy;
  }

  cut = (from: TestNode, to: TestNode): void => this.proxy(from, to.id).cut();
  loseAtDialler = (from: TestNode, to: TestNode): void => this.proxy(from, to.id).loseNear();
  mute = (from: TestNode, to: TestNode): void => this.proxy(from, to.id).mute();
  stall = (from: TestNode, to: TestNode): void => this.proxy(from, to.id).stall();

  stop(node: TestNode): void {
    this.nodes.find(({ trunk }) => trunk === node.trunk)?.trunk.stop();
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    for (const deadline = performance.now() + 4_000; !condition(); await Bun.sleep(1)) {
      if (performance.now() > deadline) throw new Error(`it did not happen: ${what}`);
    }
  }

  async pass(ms: number): Promise<void> {
    await Bun.sleep(ms);
  }

  end(): void {
    for (const { trunk } of this.nodes) trunk.stop();
    for (const proxy of this.proxies.values()) proxy.end();
  }
}

/** Time that goes as far as it is told to, firing what is due in order. */
export class SteppedClock implements Clock {
  private time = 0;
  private turn: (() => void)[] = [];
  private timers: { due: number; fn: () => void }[] = [];

  now = (): number => this.time;
  monotonic = (): number => this.time;

  after(ms: number, fn: () => void): Timer {
    const timer = { due: this.time + ms, fn };
    const at = this.timers.findIndex(({ due }) => due > timer.due);
    this.timers.splice(at < 0 ? this.timers.length : at, 0, timer);
    const cancel = (): void => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
    return { cancel };
  }

  every(ms: number, fn: () => void): Timer {
    const again = (): void => {
      timer = this.after(ms, again);
      fn();
    };
    let timer = this.after(ms, again);
    return { cancel: () => timer.cancel() };
  }

  endOfTurn(fn: () => void): void {
    this.turn.push(fn);
  }

  /** Runs one turn, or the next timer up to `end`; false when neither is left. */
  step(end: number): boolean {
    const turn = this.turn.splice(0);
    for (const fn of turn) fn();
    if (turn.length > 0) return true;
    const next = this.timers[0];
    this.time = next === undefined || next.due > end ? end : next.due;
    if (next === undefined || next.due > end) return false;
    this.timers.shift();
    next.fn();
    return true;
  }
}

export class MemoryCluster implements TrunkCluster {
  readonly clock = new SteppedClock();
  readonly hub: MemoryTrunkHub;
  private readonly trunks = new Map<string, MemoryTrunk>();

  constructor(limits = TEST_LIMITS) {
    this.hub = new MemoryTrunkHub(this.clock, limits);
  }

  node(id: string, prepare?: (trunk: Trunk) => void): TestNode & { readonly trunk: MemoryTrunk } {
    const trunk = this.hub.node(id);
    this.trunks.set(id, trunk);
    const events = record(trunk);
    prepare?.(trunk);
    trunk.start();
    return { id, trunk, events };
  }

  dial(from: TestNode, ...to: { id: string }[]): void {
    from.trunk.dial(to.map(({ id }) => ({ id, host: "", port: 0 })));
  }

  cut = (from: TestNode, to: TestNode): void => this.hub.cut(from.id, to.id);
  loseAtDialler = (from: TestNode, to: TestNode): void => this.hub.cut(from.id, to.id, 0, 200);
  mute = (from: TestNode, to: TestNode): void =>
    this.hub.cut(from.id, to.id, TEST_LIMITS.TRUNK_TIMEOUT_MS);
  stall = (from: TestNode, to: TestNode): void => this.hub.delay(from.id, to.id, 3_600_000);

  stop(node: TestNode): void {
    this.trunks.get(node.id)?.stop();
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    const end = this.clock.monotonic() + 4_000;
    // Turns take no virtual time, so they are counted too: a condition that acts could wait for ever.
    for (let turns = 0; !condition(); turns++) {
      const more = this.clock.step(end) && turns < 10_000;
      if (!more) throw new Error(`it did not happen: ${what}`);
    }
  }

  async pass(ms: number): Promise<void> {
    const end = this.clock.monotonic() + ms;
    while (this.clock.step(end));
  }

  end(): void {}
}
