/**
 * Records in SQL how far the owners on this node have come: the first commit at once, then all
 * partitions together every CHAT_MARK_MS at most. Nothing waits for it; while SQL is away only the
 * latest of each partition is kept.
 */
import { type Clock, sleep } from "../../core/clock.ts";
import type { Limits } from "../../core/limits.ts";
import type { ChatMark, ChatMarks } from "../../core/offline/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";

export interface ChatMarkerDeps {
  readonly store: ChatMarks;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

export class ChatMarker {
  private waiting = new Map<number, ChatMark>();
  private running: Promise<void> | null = null;
  private draining = false;

  constructor(private readonly deps: ChatMarkerDeps) {}

  /** Of one partition, in the order of its commits. */
  note(mark: ChatMark): void {
    this.waiting.set(mark.partition, mark);
    this.running ??= this.run().finally(() => {
      this.running = null;
    });
  }

  /** Resolves once everything is recorded, or SQL did not take it. */
  async drain(): Promise<void> {
    this.draining = true;
    await this.running;
    await this.record();
  }

  private async run(): Promise<void> {
    const { clock, limits } = this.deps;
    while (this.waiting.size > 0 && !this.draining) {
      const recorded = await this.record();
      await sleep(clock, recorded ? limits.CHAT_MARK_MS : limits.CHAT_MARK_RETRY_MS);
    }
  }

  private async record(): Promise<boolean> {
    const marks = this.waiting;
    if (marks.size === 0) return true;
    this.waiting = new Map();
    try {
      await this.deps.store.markChats([...marks.values()]);
      return true;
    } catch (error) {
      // What was noted meanwhile is later.
      this.waiting = new Map([...marks, ...this.waiting]);
      this.deps.telemetry.log.warn({ err: error }, "commits could not be recorded in SQL; again");
      return false;
    }
  }
}
