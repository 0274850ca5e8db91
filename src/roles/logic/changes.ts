/**
 * A change of relations and the notice of it, in the order that leaves no stale copy behind.
 */
import type { ConversationNotices } from "./api_contract.ts";

/**
 * Changes, then tells the owner of the conversation, also when the change failed: it may have
 * happened although its reply was lost, and a repetition that answers `conflict` or `not_found` has
 * to make up for the notice that was not sent the first time. So a notice that fails is what the
 * caller hears of, as an error that says to try again.
 */
export async function changeThenNotify<T>(
  notices: ConversationNotices,
  conversationId: string,
  act: () => Promise<T>,
): Promise<T> {
  const outcome = await act().then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  await notices.changed(conversationId);
  if ("error" in outcome) throw outcome.error;
  return outcome.value;
}
