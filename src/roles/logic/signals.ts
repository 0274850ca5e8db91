/**
 * Typing and read signals: the owner of the conversation knows who may hear them. They are never
 * stored; a signal that cannot be resolved is dropped.
 */
import type { RelayTuple, SignalTuple } from "../../core/trunk/messages.ts";
import type { Conversation, Conversations } from "./conversations.ts";

interface KnowsConversations {
  readonly conversations: Conversations;
}

/** Who gets each signal; none where the sender is blocked or no member. */
export async function resolveSignals(
  items: readonly SignalTuple[],
  workerOf: (conversation: string) => KnowsConversations | undefined,
): Promise<RelayTuple[]> {
  const byWorker = Map.groupBy(items, ([conversation]) => workerOf(conversation));
  const relays = await Promise.all(
    [...byWorker].map(async ([worker, own]) => {
      if (worker === undefined) return [];
      const ids = new Set(own.map(([conversation]) => conversation));
      const conversations = await worker.conversations.peek(ids);
      return own.flatMap((signal): RelayTuple[] => {
        const users = recipients(signal, conversations.get(signal[0]));
        return users.length > 0 ? [[users, signal[4]]] : [];
      });
    }),
  );
  return relays.flat();
}

function recipients(signal: SignalTuple, conversation: Conversation | undefined): string[] {
  const [, from, target, to] = signal;
  if (conversation === undefined) return [];
  if (target === "USER") return conversation.blockers.includes(to) ? [] : [to];
  const members = conversation.group?.all;
  return members?.has(from) ? [...members].filter((user) => user !== from) : [];
}
