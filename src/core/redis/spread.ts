/**
 * Hash tags that spread partitions over a Redis Cluster. `{0}`, `{1}`, `{2}` … hash where they like:
 * of 8 such tags one of three masters has four. So on a Cluster a partition's tag is its number and
 * a suffix that puts it near a place of its own: the van der Corput sequence (the bits of the number
 * in reverse), whose every prefix is spread evenly over the slots. However many partitions there
 * are, and however many masters with equal ranges, each has its share to within one or two.
 */
import calculateSlot from "cluster-key-slot";
import { SLOTS } from "./slot_map.ts";

/** The highest partition count there is has a place every 16 slots; a tag is within half of that. */
const NEAR = 8;
const BITS = 10;
const tags = new Map<number, string>();

export function spreadTag(partition: number): string {
  let tag = tags.get(partition);
  if (tag === undefined) {
    tag = find(partition);
    tags.set(partition, tag);
  }
  return tag;
}

function find(partition: number): string {
  const place = (reversed(partition) / 2 ** BITS) * SLOTS + NEAR;
  for (let i = 0; ; i++) {
    const tag = `${partition}.${i.toString(36)}`;
    if (Math.abs(calculateSlot(tag) - place) <= NEAR) return tag;
  }
}

function reversed(number: number): number {
  let out = 0;
  for (let bit = 0; bit < BITS; bit++) out = out * 2 + ((number >> bit) & 1);
  return out;
}
