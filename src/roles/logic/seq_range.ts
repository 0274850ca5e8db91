/**
 * Which numbers the owner of a chat partition may give. Every conversation goes on above `floor`, and
 * nothing is numbered above `ceiling`, which SQL holds far ahead of use: so a Redis that comes back
 * with less than it had cannot make a number come twice.
 *
 * Whether it has less, an owner finds out when it takes the partition over from a Redis process under
 * which nobody has looked yet. SQL knows a commit of the partition, at most CHAT_MARK_MS older than
 * the last one:
 *
 * - Redis knows none that late, or no ceiling: data was lost, and numbers go on above the ceiling;
 * - Redis knows exactly that one, and its owner said that it was the last: nothing was lost;
 * - else nobody can tell whether there were more, so SEQS_SKIPPED are left out.
 */
import type { Clock } from "../../core/clock.ts";
import type { Limits } from "../../core/limits.ts";
import type { ChatMarks, KeptChatMark } from "../../core/offline/contract.ts";
import { type CommitMark, isBehind, type Lease } from "../../core/registry/contract.ts";
import type { MapPut, Streams } from "../../core/streams/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";

export interface SeqRangeDeps {
  readonly lease: Lease;
  readonly streams: Pick<Streams, "mapGet">;
  readonly store: ChatMarks;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

/**
 * What was found at take-over. `intact`: an owner before has looked under the same Redis process, so
 * there is nothing to record. `checked`: nothing is missing. `restarted`: nobody can tell.
 */
export type Finding = "intact" | "checked" | "restarted" | "lost";

const RETRY_MS = 500;

export class SeqRange {
  floor = 0;
  private ceiling = 0;
  /** The largest number that is known to be given. */
  private top = 0;
  private reserving: Promise<void> | null = null;
  /** Redis has an older ceiling. */
  private unwritten = false;
  private found: Finding | null = null;

  constructor(private readonly deps: SeqRangeDeps) {}

  /**
   * Rejects while Redis, or SQL where it must be asked, cannot be reached. Asked again after what it
   * found could not be recorded, it says the same: SQL may know of this owner by then.
   */
  async recover(): Promise<Finding> {
    this.found ??= await this.look();
    this.unwritten = this.found !== "intact";
    return this.found;
  }

  private async look(): Promise<Finding> {
    const { lease, limits, store, streams } = this.deps;
    const { partition } = lease;
    const fields = ["ceiling", "floor"];
    const [ceiling, floor] = await streams.mapGet("numbers", "logic", partition, fields);
    this.floor = Number(floor ?? 0);
    this.ceiling = Number(ceiling ?? 0);
    if (lease.verified && ceiling !== undefined) return "intact";
    const kept = await store.chatMark(partition);
    const finding = this.compare(kept, ceiling !== undefined);
    if (kept !== null) this.floor = Math.max(this.floor, this.floorAfter(finding, kept));
    const used = Math.max(this.floor, kept?.top ?? 0);
    const reserved = kept?.ceiling ?? 0;
    if (reserved < this.ceiling || reserved - used < limits.SEQS_RESERVED / 2) {
      const above = Math.max(used, this.ceiling);
      this.ceiling = await store.reserveSeqs(partition, above, limits.SEQS_RESERVED);
    } else {
      this.ceiling = reserved;
    }
    this.top = used;
    return finding;
  }

  /** Numbers up to `seq` are given, by this owner or by one before. */
  given(seq: number): void {
    this.top = Math.max(this.top, seq);
    if (this.ceiling - this.top < this.deps.limits.SEQS_RESERVED / 2) void this.reserve();
  }

  /** Resolves once `count` more numbers may be given; that is at once, unless SQL is away for long. */
  async have(count: number): Promise<void> {
    while (this.ceiling - this.top < count) await this.reserve();
  }

  get largest(): number {
    return this.top;
  }

  /** What the next commit is to write, so that the next owner need not ask SQL. */
  takePuts(): MapPut[] {
    if (!this.unwritten) return [];
    this.unwritten = false;
    const entries: [string, string][] = [
      ["ceiling", `${this.ceiling}`],
      ["floor", `${this.floor}`],
    ];
    return [{ map: "numbers", entries }];
  }

  private compare(kept: KeptChatMark | null, hasCeiling: boolean): Finding {
    const { last, lost } = this.deps.lease;
    if (lost) return "lost";
    if (kept === null) return "checked";
    if (isBehind(last, kept)) return "lost";
    // Reserved by an owner that ended before it committed anything.
    if (!hasCeiling) return kept.epoch === 0 ? "checked" : "lost";
    return isBehind(kept, last) || !kept.closed ? "restarted" : "checked";
  }

  private floorAfter(finding: Finding, kept: KeptChatMark): number {
    const { lease, limits } = this.deps;
    if (finding === "lost") return kept.ceiling;
    // Where there is no ceiling in Redis, nothing says that those reserved were not given.
    if (finding === "checked") return this.ceiling === 0 ? kept.ceiling : 0;
    const skipped = Math.min(kept.ceiling, kept.top + limits.SEQS_SKIPPED);
    return isOld(kept, lease.last, limits) ? kept.ceiling : skipped;
  }

  private reserve(): Promise<void> {
    this.reserving ??= this.tryReserve().finally(() => {
      this.reserving = null;
    });
    return this.reserving;
  }

  private async tryReserve(): Promise<void> {
    const { clock, lease, limits, store, telemetry } = this.deps;
    const { partition } = lease;
    try {
      this.ceiling = await store.reserveSeqs(partition, this.top, limits.SEQS_RESERVED);
      this.unwritten = true;
    } catch (error) {
      telemetry.log.warn({ err: error, partition }, "numbers could not be reserved; again");
      await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
    }
  }
}

/** Turns are microseconds: SQL was away for so long that more may have been given than is skipped. */
function isOld(kept: CommitMark, last: CommitMark, limits: Limits): boolean {
  return kept.epoch !== last.epoch || last.turn - kept.turn > 5_000 * limits.CHAT_MARK_MS;
}
