/**
 * Registers and unregisters sessions in the directory, in batches, one batch in flight at a time.
 * The order of what happens to one connection is kept: it is registered before it is unregistered.
 */
import type { Clock } from "../../core/clock.ts";
import { FlushLoop } from "../../core/lifecycle/flush.ts";
import type { Registered, SessionDirectory } from "../../core/sessions/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import type { HeldSession } from "./session_table.ts";

export interface RegistrarDeps {
  readonly self: NodeId;
  readonly directory: SessionDirectory;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Called per session once the directory has answered. */
  readonly onRegistered: (session: HeldSession, result: Registered) => void;
}

/** Longest pause between two tries while the directory cannot be reached. */
const RETRY_MS = 500;
/** Sessions per call: a larger batch would hold Redis up for others. */
const BATCH_MAX = 500;

export class Registrar {
  private readonly deps: RegistrarDeps;
  private readonly loop: FlushLoop;
  private registers: HeldSession[] = [];
  private unregisters: HeldSession[] = [];

  constructor(deps: RegistrarDeps) {
    this.deps = deps;
    this.loop = new FlushLoop(deps.clock, () => this.flush());
  }

  register(session: HeldSession): void {
    this.registers.push(session);
    this.loop.wake();
  }

  unregister(session: HeldSession): void {
    session.closed = true;
    this.unregisters.push(session);
    this.loop.wake();
  }

  idle(): Promise<void> {
    return this.loop.idle();
  }

  private async flush(): Promise<void> {
    const fresh = this.registers.splice(0, BATCH_MAX);
    // A connection that closed before it was registered never existed for anybody else.
    const registers = fresh.filter((session) => !session.closed);
    const unregisters = this.unregisters.splice(0, BATCH_MAX).filter((s) => s.epoch > 0);
    if (this.registers.length > 0 || this.unregisters.length > 0) this.loop.wake();
    await Promise.all([
      registers.length > 0 ? this.registerBatch(registers) : undefined,
      unregisters.length > 0 ? this.unregisterBatch(unregisters) : undefined,
    ]);
  }

  private async registerBatch(batch: HeldSession[]): Promise<void> {
    const { self, directory, telemetry } = this.deps;
    try {
      const results = await directory.register(
        batch.map(({ user, device, gateway, conn, since, issuedAt }) => {
          return { user, device, access: self, gateway, conn, since, issuedAt };
        }),
      );
      for (const [i, session] of batch.entries()) this.settle(session, results[i]);
    } catch (error) {
      // The outcome may be unknown; registering again only raises the epoch.
      telemetry.metrics.redisErrors.inc({ operation: "register" });
      telemetry.log.debug({ err: error, sessions: batch.length }, "register failed; trying again");
      this.deps.clock.after(RETRY_MS, () => {
        this.registers.unshift(...batch);
        this.loop.wake();
      });
    }
  }

  private settle(session: HeldSession, result: Registered | undefined): void {
    if (result === undefined) return;
    session.epoch = result.epoch;
    this.deps.onRegistered(session, result);
    // It closed while the call was on its way.
    if (session.closed && session.epoch > 0) this.unregister(session);
  }

  private async unregisterBatch(batch: HeldSession[]): Promise<void> {
    const { directory, telemetry } = this.deps;
    try {
      await directory.unregister(batch);
    } catch (error) {
      telemetry.metrics.redisErrors.inc({ operation: "unregister" });
      telemetry.log.debug({ err: error, sessions: batch.length }, "unregister failed; again");
      this.deps.clock.after(RETRY_MS, () => {
        this.unregisters.push(...batch);
        this.loop.wake();
      });
    }
  }
}
