/**
 * One connection for commands, used by everything in the process that does not block. All commands
 * of one turn of the event loop leave in one pipeline, in the order in which they were given, and
 * Redis executes them in that order. So whatever is given first is also done first.
 *
 * A script is sent as text the first time on a connection and by its digest from then on. It is
 * never sent again by itself after a NOSCRIPT reply: a later command of the same partition may have
 * been executed by then, and repeating the earlier one would swap them. It rejects as `unavailable`,
 * as every refused command does, and is sent as text when the caller repeats it.
 */
import type { Redis } from "ioredis";
import type { Clock } from "../clock.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { CommandLane } from "./command_lane.ts";
import { notConnected, replyCode, toChatifyError } from "./redis_error.ts";
import type { Script } from "./script.ts";

export interface LaneDeps {
  readonly connection: Redis;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** When set, each turn ends with WAIT 1 and fails as a whole if no replica has its writes. */
  readonly waitMs?: number;
  /** Told each error that Redis replied: one of a Cluster may say that another has the slot. */
  readonly onRefused?: (error: Error) => void;
}

interface Call {
  readonly operation: string;
  readonly name: string;
  readonly args: string[];
  readonly script: Script | null;
  readonly readOnly: boolean;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Lane implements CommandLane {
  private queue: Call[] = [];
  private readonly loaded = new Set<Script>();

  constructor(private readonly deps: LaneDeps) {
    deps.connection.on("close", () => this.loaded.clear());
  }

  /** True while commands can be sent. */
  isReady(): boolean {
    return this.deps.connection.status === "ready";
  }

  /** A command that changes nothing, so that a lost reply is only `unavailable`. */
  read(operation: string, name: string, args: string[]): Promise<unknown> {
    return this.enqueue(operation, name, args, null, true);
  }

  write(operation: string, name: string, args: string[]): Promise<unknown> {
    return this.enqueue(operation, name, args, null, false);
  }

  /** Runs a script. What it returned comes back as it is; its own refusals are for the caller. */
  script(operation: string, script: Script, keys: string[], args: string[]): Promise<unknown> {
    const all = [script.sha, String(keys.length), ...keys, ...args];
    return this.enqueue(operation, "EVALSHA", all, script, false);
  }

  private enqueue(
    operation: string,
    name: string,
    args: string[],
    script: Script | null,
    readOnly: boolean,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.queue.length === 0) this.deps.clock.endOfTurn(() => this.flush());
      this.queue.push({ operation, name, args, script, readOnly, resolve, reject });
    });
  }

  private flush(): void {
    const calls = this.queue;
    this.queue = [];
    if (!this.isReady()) {
      for (const call of calls) this.fail(call, notConnected(call.operation));
      return;
    }
    const { clock, connection, metrics, waitMs } = this.deps;
    const startedAt = clock.monotonic();
    const pipeline = connection.pipeline();
    for (const call of calls) pipeline.call(this.commandOf(call), call.args);
    if (waitMs !== undefined) pipeline.call("WAIT", ["1", String(waitMs)]);
    pipeline.exec().then(
      (results) => {
        metrics.redisLatency.observe({ operation: "turn" }, (clock.monotonic() - startedAt) / 1000);
        this.settle(calls, results ?? []);
      },
      (error: unknown) => {
        for (const call of calls) {
          this.fail(call, toChatifyError(error, call.operation, call.readOnly));
        }
      },
    );
  }

  private commandOf(call: Call): string {
    if (call.script === null || this.loaded.has(call.script)) return call.name;
    this.loaded.add(call.script);
    call.args[0] = call.script.text;
    return "EVAL";
  }

  private settle(calls: readonly Call[], results: readonly [Error | null, unknown][]): void {
    const replicated = this.deps.waitMs === undefined ? null : results[calls.length];
    for (const [i, call] of calls.entries()) {
      const [error, reply] = results[i] ?? [new Error("no reply"), null];
      if (error !== null) {
        if (replyCode(error) !== "") this.deps.onRefused?.(error);
        // The script must be sent as text again, whatever kept it from being known.
        if (call.script !== null && replyCode(error) !== "") this.loaded.delete(call.script);
        this.fail(call, toChatifyError(error, call.operation, call.readOnly));
      } else if (replicated !== null && !call.readOnly && Number(replicated?.[1] ?? 0) < 1) {
        const missing = new Error("no replica confirmed the write");
        this.fail(call, toChatifyError(missing, call.operation, false));
      } else {
        call.resolve(reply);
      }
    }
  }

  private fail(call: Call, error: Error): void {
    this.deps.metrics.redisErrors.inc({ operation: call.operation });
    call.reject(error);
  }
}
