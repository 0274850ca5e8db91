/**
 * Which ids a segment may hold: a Bloom filter of four bits an id. It says "no" for certain and "yes"
 * wrongly for about one id in fifty at most, which costs a look into a segment for nothing.
 *
 * The table has room for a full segment; what is kept is folded to a size that fits what is in it,
 * by laying its halves over each other, which is why positions are the low bits of a hash.
 */

/** Two ids for each of SEGMENT_EVENTS_MAX events fill it to two fifths. */
const TABLE_BYTES = 16_384;
const FOLDED_BYTES_MIN = 8;
const BITS_PER_ID = 4;
/** Part of the bits that may be set after folding: 0.37⁴ is one in fifty. */
const FILL_MAX = 0.37;

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a over UTF-16 code units, to be continued with `seed` and ended by `finished`. */
export function hashText(text: string, seed = FNV_OFFSET): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = nextHash(hash, text.charCodeAt(i));
  return hash;
}

export const HASH_START = FNV_OFFSET;

export function nextHash(hash: number, unit: number): number {
  return Math.imul(hash ^ unit, FNV_PRIME);
}

/** Spreads what FNV leaves in the upper bits over all of them (MurmurHash3's finalizer). */
function spread(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** The hash under which a message is filed. */
export function messageHash(msgId: string): number {
  return hashText(msgId);
}

/** The hash under which a send of a client is filed, whatever became of it. */
export function sendHash(user: string, clientMsgId: string): number {
  return hashText(clientMsgId, hashText(user));
}

export class IdFilter {
  private readonly table = new Uint8Array(TABLE_BYTES);

  add(hash: number): void {
    const { table } = this;
    const mask = TABLE_BYTES * 8 - 1;
    let h = spread(hash);
    const step = spread(h) | 1;
    for (let k = 0; k < BITS_PER_ID; k++) {
      const bit = h & mask;
      table[bit >>> 3] = (table[bit >>> 3] as number) | (1 << (bit & 7));
      h = (h + step) | 0;
    }
  }

  /** What was added, in as few bytes as keep the promise above; forgets it. */
  take(): Uint8Array {
    let kept: Uint8Array = this.table.slice();
    this.table.fill(0);
    while (kept.length > FOLDED_BYTES_MIN) {
      const half = kept.length / 2;
      const folded = new Uint8Array(half);
      for (let i = 0; i < half; i++) {
        folded[i] = (kept[i] as number) | (kept[i + half] as number);
      }
      if (bitsIn(folded) > FILL_MAX * half * 8) break;
      kept = folded;
    }
    return kept;
  }
}

/** Whether the ids of `filter` may include that of `hash`. */
export function mayHold(filter: Uint8Array, hash: number): boolean {
  const mask = filter.length * 8 - 1;
  let h = spread(hash);
  const step = spread(h) | 1;
  for (let k = 0; k < BITS_PER_ID; k++) {
    const bit = h & mask;
    if (((filter[bit >>> 3] as number) & (1 << (bit & 7))) === 0) return false;
    h = (h + step) | 0;
  }
  return true;
}

function bitsIn(bytes: Uint8Array): number {
  let count = 0;
  for (let byte of bytes) {
    for (; byte !== 0; byte &= byte - 1) count++;
  }
  return count;
}
