/**
 * What became of messages of push jobs since it was recorded last: bits by message id. Of any other
 * message nothing is kept, and asking costs a comparison.
 */
import type { JobMark } from "../../core/jobs/contract.ts";
import { isJobMsgId, readJobMsgId } from "../../core/protocol/msg_id.ts";

export class JobOutcomes {
  private bits = new Map<string, number>();

  note(msgId: string, bits: number): void {
    if (!isJobMsgId(msgId)) return;
    this.bits.set(msgId, (this.bits.get(msgId) ?? 0) | bits);
  }

  isEmpty(): boolean {
    return this.bits.size === 0;
  }

  take(): JobMark[] {
    const taken = this.bits;
    this.bits = new Map();
    return [...taken].map(([msgId, bits]) => {
      const { id, index } = readJobMsgId(msgId);
      return [id, index, bits];
    });
  }
}
