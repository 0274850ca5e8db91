/** A push job as MemoryEngine holds it: what Redis keeps in several keys. */
import type { JobRecord } from "./contract.ts";

export interface MemoryPart {
  readonly seen: Set<string>;
  list: string[][];
  readonly marks: Map<number, number>;
  accepted: number;
  duplicates: number;
  sent: number;
  unsentAs: "cancelled" | "expired" | null;
  held: boolean;
}

/** What the engine holds of a job. */
export interface MemoryJob {
  record: JobRecord;
  owner: string;
  until: number;
  open: boolean;
  /** Unix ms after which it is gone. */
  end: number;
  readonly parts: MemoryPart[];
}
