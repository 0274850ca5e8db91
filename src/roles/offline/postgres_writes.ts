/** Writes of the Postgres store on their way into statements: who owns them, and how they are grouped. */
import { type OfflineRow, type OwnerEpoch, StaleEpochError } from "../../core/offline/contract.ts";
import type { ArchiveItem } from "./postgres_statements.ts";
import type { Write } from "./write_queue.ts";

export function staleness(
  owner: OwnerEpoch | null,
  later: ReadonlyMap<number, number>,
): StaleEpochError | null {
  const seen = owner === null ? undefined : later.get(owner.partition);
  return owner === null || seen === undefined ? null : new StaleEpochError(owner, seen);
}

export function ownersOf(writes: readonly Write[]): OwnerEpoch[] {
  const owners = new Map<number, OwnerEpoch>();
  for (const { owner } of writes) if (owner !== null) owners.set(owner.partition, owner);
  return [...owners.values()];
}

/** Cuts writes where a partition changes its owner: a statement knows one epoch per partition. */
export function byEpoch(writes: readonly Write[]): Write[][] {
  const groups: Write[][] = [[]];
  let epochs = new Map<number, number>();
  for (const write of writes) {
    const { owner } = write;
    if (owner !== null) {
      const epoch = epochs.get(owner.partition) ?? owner.epoch;
      if (epoch !== owner.epoch) {
        groups.push([]);
        epochs = new Map();
      }
      epochs.set(owner.partition, owner.epoch);
    }
    groups.at(-1)?.push(write);
  }
  return groups;
}

/** Half a surrogate pair is no text in UTF-8, and a parameter in JSON would not pass with it. */
export function archiveItem(n: number, partition: number | null, row: OfflineRow): ArchiveItem {
  const { seq, expire_time, stored_at, message } = row;
  const user_id = row.user_id.toWellFormed();
  const msg_id = row.msg_id.toWellFormed();
  const conversation_id = row.conversation_id.toWellFormed();
  return { n, partition, user_id, msg_id, conversation_id, seq, expire_time, stored_at, message };
}
