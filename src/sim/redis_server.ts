/**
 * The simulated Redis server, and how each process reaches it. A request travels, is executed, and
 * its reply travels back; each connection keeps its order. What may go wrong:
 *
 * - the connection breaks: requests that have not arrived are lost, or (they stood in a buffer on the
 *   way) are executed later all the same; replies that have not arrived are lost. Either way the
 *   caller hears `outcome_unknown`, or `unavailable` where it only read.
 * - the server freezes: requests wait. After REDIS_COMMAND_TIMEOUT_MS the client drops its
 *   connection and opens another; what waits is executed at the thaw, connections in any order.
 * - the server is down: every connection breaks, and new requests fail at once. It keeps its data.
 * - a process dies just before or just after its request was executed.
 */
import { LIMITS } from "../core/limits.ts";
import { ChatifyError } from "../core/protocol/errors.ts";
import type { MemoryAccess } from "../core/streams/memory_engine.ts";
import type { Host } from "./host.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SeededRandom } from "./seeded_random.ts";

export type RedisState = "up" | "frozen" | "down";

const READS = new Set([
  ...["read", "take", "lookup", "map_get", "map_slices", "scan_sessions", "online_count"],
  ...["nodes", "leases", "relations"],
]);
const WAIT_CHECK_MS = 250;
/** Part of the requests on a broken connection that are executed although nobody waits any more. */
const STRAGGLERS = 0.3;

interface Call {
  readonly operation: string;
  readonly sentAt: number;
  readonly execute: () => void;
  readonly fail: (error: Error) => void;
  executed: boolean;
  broken: boolean;
}

/** One connection of a process: for commands, or for the reader. */
class Connection {
  readonly open = new Set<Call>();
  lastArrival = 0;
  lastReply = 0;
}

export class RedisServer {
  private state: RedisState = "up";
  private readonly links = new Set<RedisLink>();
  /** Requests that arrived while the server was frozen, by connection. */
  private waiting = new Map<Connection, Call[]>();

  constructor(
    readonly scheduler: Scheduler,
    readonly random: SeededRandom,
    /** Called when another process has taken the place of the one that was. */
    private readonly onRestart: () => void,
  ) {}

  connect(host: Host): RedisLink {
    const link = new RedisLink(this, host);
    this.links.add(link);
    host.whenKilled(() => this.links.delete(link));
    return link;
  }

  isDown(): boolean {
    return this.state === "down";
  }

  /**
   * The process is gone and another one serves after so long, with what its engine has by then.
   * False where the server is away already.
   */
  fail(awayMs: number, onBack: () => void): boolean {
    if (this.state !== "up") return false;
    this.become("down");
    this.scheduler.after(awayMs, () => {
      this.become("up");
      onBack();
    });
    return true;
  }

  become(state: RedisState): void {
    if (this.state === state) return;
    if (this.state === "down") this.onRestart();
    this.state = state;
    if (state === "down") {
      this.waiting.clear();
      for (const link of this.links) link.break();
    } else if (state === "frozen") {
      this.scheduler.after(WAIT_CHECK_MS, () => this.dropSilent());
    } else {
      this.thaw();
    }
  }

  /** Executes the request, now or when the server works again. */
  arrive(connection: Connection, call: Call): void {
    if (this.state === "up") {
      call.execute();
    } else if (this.state === "frozen") {
      const calls = this.waiting.get(connection);
      if (calls === undefined) this.waiting.set(connection, [call]);
      else calls.push(call);
    }
  }

  /** A request that stands in some buffer arrives late. */
  straggle(call: Call): void {
    if (this.state === "down" || !this.random.chance(STRAGGLERS)) return;
    const late = new Connection();
    this.scheduler.after(this.random.between(1, 400), () => this.arrive(late, call));
  }

  private dropSilent(): void {
    if (this.state !== "frozen") return;
    for (const link of this.links) link.breakIfSilent();
    this.scheduler.after(WAIT_CHECK_MS, () => this.dropSilent());
  }

  private thaw(): void {
    const waiting = [...this.waiting.values()];
    this.waiting = new Map();
    for (const calls of this.random.shuffled(waiting)) {
      for (const call of calls) call.execute();
    }
  }
}

export class RedisLink implements MemoryAccess {
  private commands = new Connection();
  private reads = new Connection();
  /** Called around each execution with what happens; the fault schedule lies in wait here. */
  watch: ((operation: string, moment: "before" | "after") => void) | null = null;
  /** Reads that Redis may still serve although the process is stopped: the one that blocks there. */
  private blockedReads = 0;

  constructor(
    private readonly server: RedisServer,
    private readonly host: Host,
  ) {}

  perform<T>(operation: string, step: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const { host, server } = this;
      const send = () => this.send(operation, step, resolve, reject);
      if (host.paused && operation === "read" && this.blockedReads > 0) {
        this.blockedReads--;
        server.scheduler.after(0, send);
        return;
      }
      server.scheduler.after(0, () => host.deliver("out", send));
    });
  }

  /** The process stops with a read that is blocked in Redis, or without. */
  paused(): void {
    this.blockedReads = this.server.random.chance(0.6) ? 1 : 0;
  }

  /** Both connections break. */
  break(): void {
    for (const connection of [this.commands, this.reads]) this.fail(connection);
    this.commands = new Connection();
    this.reads = new Connection();
  }

  breakIfSilent(): void {
    const now = this.server.scheduler.now();
    const isSilent = ({ open }: Connection) => {
      for (const call of open) return now - call.sentAt >= LIMITS.REDIS_COMMAND_TIMEOUT_MS;
      return false;
    };
    for (const name of ["commands", "reads"] as const) {
      if (!isSilent(this[name])) continue;
      this.fail(this[name]);
      this[name] = new Connection();
    }
  }

  private fail(connection: Connection): void {
    for (const call of connection.open) {
      call.broken = true;
      if (!call.executed) this.server.straggle(call);
      const code = READS.has(call.operation) ? "unavailable" : "outcome_unknown";
      const error = new ChatifyError(code, `Redis ${call.operation}: connection lost`, 250);
      this.host.deliver("redis", () => call.fail(error));
    }
    connection.open.clear();
  }

  private send<T>(
    operation: string,
    step: () => T,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ): void {
    const { host, server } = this;
    if (!host.alive) return;
    if (server.isDown()) {
      reject(new ChatifyError("unavailable", `Redis ${operation}: not connected`, 250));
      return;
    }
    const isRead = operation === "read" || operation === "take";
    const connection = isRead ? this.reads : this.commands;
    const { scheduler } = server;
    const call: Call = {
      operation,
      sentAt: scheduler.now(),
      execute: () => this.execute(connection, call, step, resolve, reject),
      fail: reject,
      executed: false,
      broken: false,
    };
    connection.open.add(call);
    connection.lastArrival = Math.max(connection.lastArrival, scheduler.now() + this.latency());
    scheduler.at(connection.lastArrival, () => {
      if (!call.broken) server.arrive(connection, call);
    });
  }

  private execute<T>(
    connection: Connection,
    call: Call,
    step: () => T,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ): void {
    const { host, server } = this;
    const late = call.broken;
    if (host.alive) this.watch?.(call.operation, "before");
    // It was its own connection that broke just then.
    if (call.broken && !late) return;
    call.executed = true;
    let settle: () => void;
    try {
      const value = step();
      settle = () => resolve(value);
    } catch (error) {
      settle = () => reject(error);
    }
    if (host.alive) this.watch?.(call.operation, "after");
    if (call.broken) return;
    connection.lastReply = Math.max(connection.lastReply, server.scheduler.now() + this.latency());
    server.scheduler.at(connection.lastReply, () => {
      if (call.broken) return;
      connection.open.delete(call);
      host.deliver("redis", settle);
    });
  }

  private latency(): number {
    return this.server.random.between(0.1, 1.2);
  }
}
