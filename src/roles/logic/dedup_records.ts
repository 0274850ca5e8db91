/**
 * Idempotency records as they are kept outside of their owner's memory: who sent what, and where it
 * stands. A batch is one value in Redis, so a message costs Redis neither a field nor an argument.
 *
 * The bytes are 32-bit words, least significant byte first as on every machine that Bun runs on. Each
 * stream entry of a batch is a head of three words (how many records follow and the upper 16 bits of
 * its time, the lower 32, its number within the millisecond) and six words per record: the key in
 * four, then the position in the entry above the upper 16 bits of seq, then its lower 32 bits. That
 * is 24 bytes a message, and 12 an entry.
 *
 * Redis and SQL get them in base64. Every length is a multiple of three bytes, so there is no
 * padding, and texts that are joined are the text of all their records.
 */

/** A 128-bit hash of (user, client message id), in four words. */
export interface DedupKey {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

/** Where a message stands in `chat_input`, and the seq it was given. */
export interface DedupRecord {
  readonly ms: number;
  readonly sequence: number;
  readonly index: number;
  readonly seq: number;
}

const HEAD_WORDS = 3;
const RECORD_WORDS = 6;
const WORD = 2 ** 32;
/** One record more, in the upper half of a head's first word; an entry has 256 at most. */
const COUNT_ONE = 2 ** 16;

const hashes = new BigUint64Array(2);
const words = new Uint32Array(hashes.buffer);

/**
 * Hashes with a seed that clients do not know (it comes from the cluster secret), so nobody can
 * look for a message id that collides with somebody else's.
 */
export function dedupKey(seed: bigint, user: string, clientMsgId: string): DedupKey {
  // `:` cannot stand in a user id, so the two parts never run into each other.
  const text = `${user}:${clientMsgId}`;
  hashes[0] = Bun.hash.wyhash(text, seed);
  hashes[1] = Bun.hash.wyhash(text, seed ^ 0x9e3779b97f4a7c15n);
  const [a, b, c, d] = words as unknown as [number, number, number, number];
  return { a, b, c, d };
}

/** The text of records that stand in the order of their entries. */
export function packRecords(records: readonly (readonly [DedupKey, DedupRecord])[]): string {
  const packed = new Uint32Array(records.length * (HEAD_WORDS + RECORD_WORDS));
  let at = 0;
  let countAt = 0;
  let before: DedupRecord | null = null;
  for (const [{ a, b, c, d }, record] of records) {
    const { ms, sequence, index, seq } = record;
    if (before === null || before.ms !== ms || before.sequence !== sequence) {
      packed[at] = Math.floor(ms / WORD);
      packed[at + 1] = ms;
      packed[at + 2] = sequence;
      countAt = at;
      at += HEAD_WORDS;
    }
    packed[countAt] = (packed[countAt] as number) + COUNT_ONE;
    packed[at] = a;
    packed[at + 1] = b;
    packed[at + 2] = c;
    packed[at + 3] = d;
    packed[at + 4] = (index << 16) | Math.floor(seq / WORD);
    packed[at + 5] = seq;
    at += RECORD_WORDS;
    before = record;
  }
  return new Uint8Array(packed.buffer, 0, at * 4).toBase64();
}

/** Hands every record of `text` over; one that is cut off in the middle ends it. */
export function unpackRecords(
  text: string,
  onRecord: (key: DedupKey, record: DedupRecord) => void,
): void {
  const bytes = new Uint8Array(Buffer.from(text, "base64"));
  const all = new Uint32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
  const word = (at: number) => all[at] as number;
  for (let at = 0; at + HEAD_WORDS <= all.length; ) {
    const ms = (word(at) & 0xffff) * WORD + word(at + 1);
    const sequence = word(at + 2);
    const count = word(at) >>> 16;
    at += HEAD_WORDS;
    for (let i = 0; i < count && at + RECORD_WORDS <= all.length; i++, at += RECORD_WORDS) {
      const key = { a: word(at), b: word(at + 1), c: word(at + 2), d: word(at + 3) };
      const seq = (word(at + 4) & 0xffff) * WORD + word(at + 5);
      onRecord(key, { ms, sequence, index: word(at + 4) >>> 16, seq });
    }
  }
}
