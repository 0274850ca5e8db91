/**
 * Carries a schedule out. Two faults never hurt the same thing at once: the later one takes the next
 * target of its kind, or waits. What really happened, and when it was over, is kept.
 */
import { clientFault } from "./client_faults.ts";
import type { FaultAct, Theatre } from "./fault_act.ts";
import type { FaultKind } from "./fault_kinds.ts";
import { networkFault } from "./network_faults.ts";
import { processFault, rollingRestart } from "./process_faults.ts";
import { redisFault } from "./redis_faults.ts";
import type { PlannedFault } from "./schedule.ts";
import { sqlFault } from "./sql_faults.ts";

export interface DoneFault extends PlannedFault {
  readonly target: string;
  readonly startedAt: number;
  /** Healed: the process is ready again, the link works, the lock is gone. */
  readonly endedAt: number;
  readonly error: string;
}

const LOCK_POLL_MS = 20;
/** A fault that is to be alone waits so long for the others to end, and for their traces to pass. */
const QUIET_MS_MAX = 6_000;
const BEFORE_ALONE_MS = 1_200;
/** From its start until something else may begin, longer than a role takes to move. */
const ALONE_MS = 4_500;

export class Injector {
  readonly done: DoneFault[] = [];
  /** When it was started, by the clock of the history. */
  startedAt = 0;
  private readonly held = new Set<string>();
  private alone = false;

  constructor(private readonly theatre: Theatre) {}

  /** Resolves when every fault is over. */
  async run(schedule: readonly PlannedFault[]): Promise<void> {
    const start = performance.now();
    this.startedAt = this.theatre.log.now();
    await Promise.all(
      schedule.map(async (fault) => {
        await Bun.sleep(Math.max(0, start + fault.atMs - performance.now()));
        await this.inject(fault);
      }),
    );
  }

  private async inject(fault: PlannedFault): Promise<void> {
    const { log } = this.theatre;
    await this.turn(fault);
    const act = await this.lock(fault);
    const startedAt = log.now();
    log.note(`fault ${fault.number}: ${fault.kind} of ${act.target}, ${fault.durationMs} ms`);
    let error = "";
    try {
      await act.run();
    } catch (thrown) {
      error = String(thrown);
    }
    const endedAt = log.now();
    if (fault.alone) {
      await Bun.sleep(Math.max(0, startedAt + ALONE_MS - log.now()));
      this.alone = false;
    }
    for (const lock of locksOf(act)) this.held.delete(lock);
    log.note(`fault ${fault.number} is over: ${fault.kind} of ${act.target} ${error}`);
    this.done.push({ ...fault, target: act.target, startedAt, endedAt, error });
  }

  /** Waits while another fault has the stage for itself, or until this one has. */
  private async turn(fault: PlannedFault): Promise<void> {
    while (this.alone) await Bun.sleep(LOCK_POLL_MS);
    if (!fault.alone) return;
    this.alone = true;
    const until = performance.now() + QUIET_MS_MAX;
    while (this.held.size > 0 && performance.now() < until) await Bun.sleep(LOCK_POLL_MS);
    await Bun.sleep(BEFORE_ALONE_MS);
  }

  private async lock(fault: PlannedFault): Promise<FaultAct> {
    for (;;) {
      const acts = actsOf(fault, this.theatre);
      const first = Math.floor(fault.draw * acts.length);
      const inTurn = [...acts.slice(first), ...acts.slice(0, first)];
      const free = inTurn.find((act) => !locksOf(act).some((lock) => this.held.has(lock)));
      if (free !== undefined) {
        for (const lock of locksOf(free)) this.held.add(lock);
        return free;
      }
      await Bun.sleep(LOCK_POLL_MS);
    }
  }
}

function locksOf({ locks, target }: FaultAct): readonly string[] {
  return locks ?? [target];
}

/** Every way to carry it out, one per possible target. */
function actsOf(fault: PlannedFault, theatre: Theatre): FaultAct[] {
  const family = familyOf(fault.kind);
  return family(fault, theatre);
}

function familyOf(kind: FaultKind): (fault: PlannedFault, theatre: Theatre) => FaultAct[] {
  if (kind === "rolling restart") return rollingRestart;
  if (kind.startsWith("redis ")) return redisFault;
  if (kind.startsWith("sql ")) return sqlFault;
  if (kind.startsWith("network ")) return networkFault;
  if (kind.startsWith("SIG")) return processFault;
  return clientFault;
}
