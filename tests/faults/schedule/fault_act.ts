/** What a fault has to do with: whom it may hurt, and how it is carried out. */
import type { ClientLog } from "../clients/client_log.ts";
import type { Population } from "../clients/population.ts";
import type { Traffic } from "../clients/traffic.ts";
import type { Stage } from "../stage/stage.ts";

export interface Theatre {
  readonly stage: Stage;
  readonly population: Population;
  readonly traffic: Traffic;
  readonly log: ClientLog;
}

/** What a fault does: to whom, and when it is over for them. */
export interface FaultAct {
  /** What it hurts, for the record. */
  readonly target: string;
  /** What nothing else may hurt meanwhile; `target` alone when absent. */
  readonly locks?: readonly string[];
  run(): Promise<void>;
}
