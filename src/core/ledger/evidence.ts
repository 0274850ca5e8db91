/**
 * Everything that is known about one message: its trail in the ledger, and what is at rest. Reading
 * is all that happens here; what it means is decided in story.ts.
 */
import type { OfflineRow } from "../offline/contract.ts";
import { chatEntryOf, ENTRY_HEAD_CHARS, isPushMsgId, msgIdTime } from "../protocol/msg_id.ts";
import { decodePushTasks } from "../protocol/push_task.ts";
import type { LeaseState } from "../registry/contract.ts";
import type { Session } from "../sessions/contract.ts";
import type { LedgerEvent } from "./event.ts";
import { messageHash, sendHash } from "./id_filter.ts";
import type { DeadLetter, Present, Search, Waiting } from "./present.ts";
import { readSegment } from "./segment_reader.ts";
import type { LedgerStore } from "./store.ts";

/** What a person has in hand: the id of a message, or its sender and the client's own id. */
export interface Question {
  readonly msgId: string | null;
  readonly send: { readonly fromUserId: string; readonly clientMsgId: string } | null;
}

export interface Unsettled {
  readonly partition: number;
  readonly entryId: string;
  readonly recipients: readonly string[];
}

export interface Evidence {
  readonly msgId: string | null;
  readonly send: Question["send"];
  /** In the order of their times. */
  readonly events: readonly LedgerEvent[];
  /** Its entry of `chat_input`, which no logic owner has decided about yet. */
  readonly undecided: Waiting | null;
  readonly unsettled: readonly Unsettled[];
  readonly deadLetters: readonly DeadLetter[];
  readonly held: readonly OfflineRow[];
  readonly sessions: ReadonlyMap<string, readonly Session[]>;
  readonly owners: { readonly logic: readonly LeaseState[]; readonly push: readonly LeaseState[] };
  /** What could not be looked at in full, in words. */
  readonly gaps: readonly string[];
}

export interface EvidenceDeps {
  readonly ledger: Pick<LedgerStore, "find">;
  readonly holders: (msgId: string, limit: number) => Promise<OfflineRow[]>;
  readonly present: Present;
}

/** Clocks of nodes and of Redis may be so far apart. */
const SKEW_MS = 60_000;
/** A send is repeated for so long at most: DEDUP_WINDOW_S. */
const REPEATS_MS = 86_400_000;
const HELD_MAX = 1_000;
/** Recipients whose connections are looked up. */
const SESSIONS_MAX = 50;

export async function gather(deps: EvidenceDeps, question: Question): Promise<Evidence> {
  const gaps: string[] = [];
  const read = new TrailReader(deps.ledger, gaps);
  let { msgId } = question;
  const events = new Set<LedgerEvent>();
  if (question.send !== null) {
    for (const event of await read.ofSend(question.send, 0)) events.add(event);
    msgId ??= [...events].find(({ msgId: id }) => id !== "")?.msgId ?? null;
  }
  if (msgId !== null) {
    const trail = await read.ofMessage(msgId);
    const told = new Set([...events].map(nameOf));
    for (const event of trail) if (!told.has(nameOf(event))) events.add(event);
  }
  const send = question.send ?? sendOf([...events]);
  if (question.send === null && send !== null && msgId !== null) {
    const refused = await read.ofSend(send, timeOf(msgId) - REPEATS_MS);
    for (const event of refused) if (event.kind === "rejected") events.add(event);
  }
  const sorted = [...events].sort((a, b) => a.at - b.at);
  const atRest = await lookAtRest(deps, msgId, send, gaps);
  return { msgId, send, events: sorted, ...atRest, gaps };
}

/** Two segments may tell the same event when one was handed over twice. */
function nameOf(event: LedgerEvent): string {
  return `${event.node} ${event.at} ${event.kind} ${event.msgId} ${event.user}`;
}

function sendOf(events: readonly LedgerEvent[]): Question["send"] {
  for (const event of events) {
    if (event.kind !== "numbered" && event.kind !== "repeated") continue;
    return { fromUserId: event.user, clientMsgId: event.clientMsgId };
  }
  return null;
}

/** Unix ms before which nothing can have happened to it; 0 for an id that tells no time. */
function timeOf(msgId: string): number {
  const timed = chatEntryOf(msgId) !== null || isPushMsgId(msgId);
  return timed ? msgIdTime(msgId) - SKEW_MS : 0;
}

class TrailReader {
  constructor(
    private readonly ledger: EvidenceDeps["ledger"],
    private readonly gaps: string[],
  ) {}

  ofMessage(msgId: string): Promise<LedgerEvent[]> {
    const head = chatEntryOf(msgId) === null ? msgId : msgId.slice(0, ENTRY_HEAD_CHARS);
    const hashes = [messageHash(msgId), messageHash(head)];
    return this.read(timeOf(msgId), hashes, (event) => {
      return event.msgId === msgId || (event.kind === "dead_lettered" && event.msgId === head);
    });
  }

  ofSend(send: NonNullable<Question["send"]>, fromMs: number): Promise<LedgerEvent[]> {
    const hash = sendHash(send.fromUserId, send.clientMsgId);
    return this.read(fromMs, [hash], (event) => {
      return (
        "clientMsgId" in event &&
        event.clientMsgId === send.clientMsgId &&
        event.user === send.fromUserId
      );
    });
  }

  private async read(
    fromMs: number,
    hashes: readonly number[],
    matches: (event: LedgerEvent) => boolean,
  ): Promise<LedgerEvent[]> {
    const { cut, segments } = await this.ledger.find(fromMs, hashes);
    if (cut) this.gaps.push("the trail is longer than what is read of it; its end is left out");
    const events: LedgerEvent[] = [];
    let unreadable = 0;
    for (const { body, node } of segments) {
      try {
        for (const event of readSegment(node, body)) if (matches(event)) events.push(event);
      } catch {
        unreadable++;
      }
    }
    if (unreadable > 0) this.gaps.push(`${unreadable} segments of the ledger cannot be read`);
    return events;
  }
}

async function lookAtRest(
  { holders, present }: EvidenceDeps,
  msgId: string | null,
  send: Question["send"],
  gaps: string[],
) {
  const fromMs = msgId === null ? 0 : timeOf(msgId);
  const place = msgId === null ? null : chatEntryOf(msgId);
  const needle = JSON.stringify(msgId ?? send?.clientMsgId ?? "");
  const nothing = { found: [], complete: true } as const;
  const [undecided, tasks, letters, held, logic, push] = await Promise.all([
    place === null
      ? firstOf(msgId === null ? present.waiting("chat_input", needle, 0) : nothing)
      : present.chatEntry(place.partition, place.entryId),
    msgId === null ? nothing : present.waiting("push_task", needle, fromMs),
    present.deadLetters(letterMatcher(msgId, place, needle), fromMs),
    msgId === null ? [] : holders(msgId, HELD_MAX),
    present.owners("logic"),
    present.owners("push"),
  ]);
  if (!tasks.complete) gaps.push("push_task is too long to be looked through");
  if (!letters.complete) gaps.push("dead_letter is too long to be looked through");
  const unsettled = msgId === null ? [] : tasks.found.flatMap((entry) => unsettledIn(entry, msgId));
  const users = new Set([
    ...held.map(({ user_id }) => user_id),
    ...unsettled.flatMap(({ recipients }) => recipients),
  ]);
  const sessions = new Map<string, readonly Session[]>();
  for (const user of [...users].slice(0, SESSIONS_MAX)) {
    sessions.set(user, await present.sessions(user));
  }
  const owners = { logic, push };
  return { undecided, unsettled, deadLetters: letters.found, held, sessions, owners };
}

async function firstOf(search: Search<Waiting> | Promise<Search<Waiting>>) {
  return (await search).found[0] ?? null;
}

function letterMatcher(
  msgId: string | null,
  place: ReturnType<typeof chatEntryOf>,
  needle: string,
): (letter: DeadLetter) => boolean {
  const item = place === null ? "" : `${place.entryId}#${place.index}`;
  return ({ body, entry, topic }) => {
    // An event about a message that nobody wanted to hear of is not the message.
    if (topic === "webhooks") return false;
    if (topic === "chat_input" && place !== null && msgId !== null) {
      return entry === place.entryId || entry === item;
    }
    return body.includes(needle);
  };
}

function unsettledIn({ body, entryId, partition }: Waiting, msgId: string): Unsettled[] {
  try {
    return decodePushTasks(body)
      .filter((task) => task.msgId === msgId)
      .map(({ recipients }) => ({ partition, entryId, recipients }));
  } catch {
    // It will be in dead_letter in a moment.
    return [{ partition, entryId, recipients: [] }];
  }
}
