/**
 * Tells push jobs that rows of theirs are confirmed over HTTP, before the rows are gone: afterwards
 * nobody could tell. Who confirms what is no row of that user confirms nothing.
 */
import { ACKED, type JobMark, type JobStore } from "../../core/jobs/contract.ts";
import type { OfflineStore } from "../../core/offline/contract.ts";
import { isJobMsgId, readJobMsgId } from "../../core/protocol/msg_id.ts";

export async function noteJobAcks(
  jobs: Pick<JobStore, "record">,
  store: Pick<OfflineStore, "cursorOf">,
  userId: string,
  msgIds: readonly string[],
): Promise<void> {
  const marks = new Map<number, JobMark[]>();
  for (const msgId of msgIds) {
    if (!isJobMsgId(msgId) || (await store.cursorOf(userId, msgId)) === null) continue;
    const { id, index, partition } = readJobMsgId(msgId);
    const own = marks.get(partition) ?? [];
    marks.set(partition, own);
    own.push([id, index, ACKED]);
  }
  await Promise.all([...marks].map(([partition, own]) => jobs.record(partition, own)));
}
