/**
 * Message ids: sortable text, made without asking anybody.
 *
 * A chat message's id is a pure function of where its entry stands in `chat_input`: stream time (9
 * characters of base 32), partition (2), the entry's number within its millisecond (4), position in
 * the entry (2). A redelivered entry therefore yields the same ids, whoever processes it. System
 * push has no such entry; its ids carry the time, eight random characters drawn once per process,
 * and a counter: 21 characters, so the two kinds never meet. A message of a push job is its job, the
 * user partition and its number in there: 26 characters, so that its length alone tells it apart, and
 * whoever holds the id knows which recipient of which job it is about.
 */
const digits = "0123456789abcdefghjkmnpqrstvwxyz";

/** `value` in crockford base 32, most significant first, exactly `width` characters (modulo). */
function base32(value: number, width: number): string {
  let rest = value;
  let text = "";
  for (let i = 0; i < width; i++) {
    text = digits[rest % 32] + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

/** Characters that the ids of all messages of one `chat_input` entry begin with. */
export const ENTRY_HEAD_CHARS = 15;
const CHAT_CHARS = 17;
const PUSH_CHARS = 21;

/** Returns the function that gives the id of the n-th message of a `chat_input` entry. */
export function chatMsgIds(partition: number, entryId: string): (index: number) => string {
  const dash = entryId.indexOf("-");
  const ms = Number(entryId.slice(0, dash));
  const sequence = Number(entryId.slice(dash + 1));
  const head = base32(ms, 9) + base32(partition, 2) + base32(sequence, 4);
  return (index) => head + base32(index, 2);
}

/** A source of ids for system push; `tag` is eight characters that no other process has. */
export function pushMsgIds(tag: string): (nowMs: number) => string {
  let count = 0;
  return (nowMs) => base32(nowMs, 9) + tag + base32(count++, 4);
}

/** Whether an id is that of a system push. */
export function isPushMsgId(msgId: string): boolean {
  return msgId.length === PUSH_CHARS;
}

/** Where the message with this id stands, or stood, in `chat_input`; null for any other id. */
export function chatEntryOf(
  msgId: string,
): { readonly partition: number; readonly entryId: string; readonly index: number } | null {
  if (msgId.length !== CHAT_CHARS || !/^[0-9a-hjkmnp-tv-z]+$/.test(msgId)) return null;
  const [ms, partition] = [numberOf(msgId.slice(0, 9)), numberOf(msgId.slice(9, 11))];
  const entryId = `${ms}-${numberOf(msgId.slice(11, 15))}`;
  return { partition, entryId, index: numberOf(msgId.slice(15)) };
}

function numberOf(text: string): number {
  let value = 0;
  for (const digit of text) value = value * 32 + digits.indexOf(digit);
  return value;
}

export const JOB_ID_CHARS = 17;
const JOB_MSG_ID_CHARS = 26;

/** The id of a push job; `tag` is eight characters that no other job of that millisecond has. */
export function jobId(nowMs: number, tag: string): string {
  return base32(nowMs, 9) + tag;
}

/** Gives the ids of a job's messages for the users of one partition, by their number from 0. */
export function jobMsgIds(id: string, partition: number): (index: number) => string {
  const head = id + base32(partition, 2);
  return (index) => head + base32(index, 7);
}

/** Whether the message belongs to a push job: one comparison, since every message is asked. */
export function isJobMsgId(msgId: string): boolean {
  return msgId.length === JOB_MSG_ID_CHARS;
}

export function readJobMsgId(msgId: string): { id: string; partition: number; index: number } {
  const partition = numberOf(msgId.slice(JOB_ID_CHARS, JOB_ID_CHARS + 2));
  return { id: msgId.slice(0, JOB_ID_CHARS), partition, index: numberOf(msgId.slice(-7)) };
}

/** Unix ms at which the message was taken in, read back from its id. */
export function msgIdTime(msgId: string): number {
  return numberOf(msgId.slice(0, 9).padEnd(9, "0"));
}
