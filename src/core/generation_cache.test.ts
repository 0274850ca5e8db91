import { expect, test } from "bun:test";
import { GenerationCache } from "./generation_cache.ts";

test("a cache never holds more than its bound and always the half that was used last", () => {
  const cache = new GenerationCache<number, number>(10);
  for (let i = 0; i < 1_000; i++) {
    cache.set(i, i);
    expect(cache.size).toBeLessThanOrEqual(10);
    for (let j = Math.max(0, i - 4); j <= i; j++) expect(cache.get(j)).toBe(j);
  }
  expect(cache.get(0)).toBeUndefined();
});

test("an entry that is used again and again stays", () => {
  const cache = new GenerationCache<number, string>(8);
  cache.set(-1, "kept");
  for (let i = 0; i < 500; i++) {
    cache.set(i, "passing");
    expect(cache.get(-1)).toBe("kept");
  }
});

test("a deleted entry is gone from both generations", () => {
  const cache = new GenerationCache<string, number>(4);
  cache.set("a", 1);
  cache.set("b", 2);
  cache.delete("a");
  cache.delete("b");
  expect([cache.get("a"), cache.get("b"), cache.size]).toEqual([undefined, undefined, 0]);
});
