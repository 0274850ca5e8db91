/** A push job as MemoryEngine holds it: what Redis keeps in several keys. */
import { ACKED, DELIVERED, EXPIRED, type JobCounts, type JobRecord, STORED } from "./contract.ts";

export interface MemoryPart {
  readonly seen: Set<string>;
  list: string[][];
  readonly marks: Map<number, number>;
  accepted: number;
  duplicates: number;
  sent: number;
  unsentAs: "cancelled" | "expired" | null;
  held: boolean;
  sealed: boolean;
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

export function countsOf(part: MemoryPart): JobCounts {
  const count = { acked: 0, stored: 0, expired: 0, delivered: 0 };
  for (const bits of part.marks.values()) {
    if (bits & DELIVERED) count.delivered++;
    if (bits & ACKED) count.acked++;
    else if (bits & EXPIRED) count.expired++;
    else if (bits & STORED) count.stored++;
  }
  const { accepted, duplicates, sent, unsentAs } = part;
  const unsent = unsentAs === null ? 0 : accepted - sent;
  return {
    accepted,
    waiting: unsentAs === null ? accepted - sent : 0,
    inFlight: sent - count.acked - count.stored - count.expired,
    ...count,
    expired: count.expired + (unsentAs === "expired" ? unsent : 0),
    cancelled: unsentAs === "cancelled" ? unsent : 0,
    duplicates,
  };
}
