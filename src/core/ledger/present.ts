/**
 * Where messages are right now: what is at rest in Redis. Together with the rows of the offline
 * store this is all that is not settled, so "where is it" has a true answer even where the ledger
 * has a gap.
 */
import type { LeaseState } from "../registry/contract.ts";
import type { Session } from "../sessions/contract.ts";
import type { ConsumerGroup } from "../topology.ts";

/** An entry of a stream that is not settled. */
export interface Waiting {
  readonly topic: "chat_input" | "push_task";
  readonly partition: number;
  readonly entryId: string;
  readonly body: string;
}

export interface DeadLetter {
  readonly id: string;
  readonly topic: string;
  readonly reason: string;
  /** The id of the entry that was given up; of one item of `chat_input`, with `#` and its place. */
  readonly entry: string;
  readonly body: string;
}

/** What a search found, and whether it saw everything there is to see. */
export interface Search<T> {
  readonly found: readonly T[];
  readonly complete: boolean;
}

export interface Present {
  /** The entry of `chat_input` if it is there, which means that no logic owner has decided yet. */
  chatEntry(partition: number, entryId: string): Promise<Waiting | null>;
  /** Entries of a topic with `needle` in their bodies, none older than `fromMs`. */
  waiting(topic: Waiting["topic"], needle: string, fromMs: number): Promise<Search<Waiting>>;
  deadLetters(
    matches: (letter: DeadLetter) => boolean,
    fromMs: number,
  ): Promise<Search<DeadLetter>>;
  sessions(user: string): Promise<readonly Session[]>;
  owners(group: ConsumerGroup): Promise<readonly LeaseState[]>;
}
