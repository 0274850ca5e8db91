/** What webhooks are to tell of a batch: each message that was numbered in it, once. */

import { msgIdTime } from "../../core/protocol/msg_id.ts";
import type { Append } from "../../core/streams/contract.ts";
import { type HookNotice, type HookOutlet, hookAppends } from "../../core/webhooks/contract.ts";
import { encodeMessage, type Numbering } from "./numbering.ts";

/** Appends for the commit of the batch, so that an event is as safe as its message. */
export function sentAppends(hooks: HookOutlet, out: Numbering): Append[] {
  if (out.numbered === 0 || !hooks.takes("sent", out.numbered)) return [];
  const notices: HookNotice[] = [];
  for (const { input, msgId, outcome, seq } of out.replies) {
    if (outcome !== "numbered") continue;
    const timestamp = Math.floor(msgIdTime(msgId) / 1_000);
    notices.push(["sent", msgId, encodeMessage(input, msgId, seq, timestamp)]);
  }
  return hookAppends(notices);
}
