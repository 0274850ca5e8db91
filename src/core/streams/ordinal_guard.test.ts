import { expect, test } from "bun:test";
import { OrdinalGuard } from "./ordinal_guard.ts";

const entries = (...ordinals: number[]) =>
  ordinals.map((ordinal, i) => ({ id: `${i}-0`, body: "", ordinal }));
const fine = { gap: false, skipped: 0 };
const gap = { gap: true, skipped: 0 };

test("holes among entries from before the assignment are entries that were settled", () => {
  expect(new OrdinalGuard(9).check(entries(2, 5, 9, 10, 11))).toEqual(fine);
});

test("a hole among later entries is a gap, also right after the assignment", () => {
  expect(new OrdinalGuard(9).check(entries(5, 11))).toEqual(gap);
  expect(new OrdinalGuard(0).check(entries(1, 2, 4))).toEqual(gap);
});

test("entries without an ordinal are never a gap", () => {
  expect(new OrdinalGuard(0).check(entries(0, 1, 0, 2))).toEqual(fine);
});

test("after a gap what is handed over again may have holes, what is new may not", () => {
  const guard = new OrdinalGuard(0);
  expect(guard.check(entries(1, 2, 3))).toEqual(fine);
  expect(guard.check(entries(5))).toEqual(gap);
  expect(guard.check(entries(2, 4, 5))).toEqual(fine);
  expect(guard.check(entries(6))).toEqual(fine);
});

test("a batch that is dropped for a gap leaves the expectation as it was", () => {
  const guard = new OrdinalGuard(0);
  expect(guard.check(entries(1, 2, 4))).toEqual(gap);
  expect(guard.check(entries(1, 3))).toEqual(gap);
  expect(guard.check(entries(1, 2, 3, 4))).toEqual(fine);
});

test("a gap that is there a third time is given up, with all others of that batch", () => {
  const guard = new OrdinalGuard(0);
  expect(guard.check(entries(1, 3, 6))).toEqual(gap);
  expect(guard.check(entries(1, 3, 6))).toEqual(gap);
  expect(guard.check(entries(1, 3, 6))).toEqual({ gap: false, skipped: 3 });
  expect(guard.check(entries(7))).toEqual(fine);
});

test("a counter that went back makes lower ordinals new again", () => {
  const guard = new OrdinalGuard(100);
  guard.rebase(0);
  expect(guard.check(entries(1, 2))).toEqual(fine);
  expect(guard.check(entries(4))).toEqual(gap);
});
