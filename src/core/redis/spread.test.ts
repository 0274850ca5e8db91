import { expect, test } from "bun:test";
import calculateSlot from "cluster-key-slot";
import { SLOTS } from "./slot_map.ts";
import { spreadTag } from "./spread.ts";

/** How many of `partitions` each of `masters` with equal ranges of slots has. */
function shares(partitions: number, masters: number): number[] {
  const counts = new Array<number>(masters).fill(0);
  for (let partition = 0; partition < partitions; partition++) {
    const slot = calculateSlot(`{${spreadTag(partition)}}`);
    const master = Math.min(masters - 1, Math.floor(slot / Math.ceil(SLOTS / masters)));
    counts[master] = (counts[master] ?? 0) + 1;
  }
  return counts;
}

test("partitions are spread over any number of masters to within two of an even share", () => {
  for (const partitions of [8, 12, 16, 32, 60, 64, 128, 1_024]) {
    for (const masters of [3, 4, 5, 6, 8, 12, 16]) {
      const counts = shares(partitions, masters);
      const even = partitions / masters;
      for (const count of counts) expect(Math.abs(count - even)).toBeLessThan(2.01);
    }
  }
});

test("8 partitions on 3 masters are 3, 2 and 3, where plain numbers would be 2, 4 and 2", () => {
  expect(shares(8, 3).toSorted()).toEqual([2, 3, 3]);
});

test("every tag is one of its own, and begins with its partition's number", () => {
  const all = Array.from({ length: 1_024 }, (_, partition) => spreadTag(partition));
  expect(new Set(all).size).toBe(1_024);
  expect(all.every((tag, partition) => tag.startsWith(`${partition}.`))).toBe(true);
});
