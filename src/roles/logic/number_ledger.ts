/** What logic decided, in the ledger: once per batch, behind the replies, when all of it is in. */
import type { Ledger } from "../../core/ledger/contract.ts";
import { chatMsgIds, ENTRY_HEAD_CHARS } from "../../core/protocol/msg_id.ts";
import type { Numbering } from "./numbering.ts";

export function recordDecisions(ledger: Ledger, partition: number, out: Numbering): void {
  for (const { input, msgId, outcome, recipients, seq } of out.replies) {
    if (outcome === "numbered") ledger.numbered(input, msgId, seq, recipients);
    else if (outcome === "repeated") ledger.repeated(input, msgId);
    else {
      const sender = { user: input.fromUserId, device: input.deviceId };
      ledger.rejected("logic", sender, input.clientMsgId, outcome);
    }
  }
  for (const { id, reason } of out.poison) {
    const [entry = "", index] = id.split("#");
    const first = chatMsgIds(partition, entry)(Number(index ?? 0));
    const about = index === undefined ? first.slice(0, ENTRY_HEAD_CHARS) : first;
    ledger.deadLettered(about, "chat_input", reason);
  }
}
