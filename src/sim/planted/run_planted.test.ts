import { expect, test } from "bun:test";
import { PLANTED_BUGS, runPlanted } from "./run_planted.ts";

const RUN_MS = 60_000;

test("there are at least 24 planted bugs, each with a name and a mistake of its own", () => {
  expect(PLANTED_BUGS.length).toBeGreaterThanOrEqual(24);
  expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(PLANTED_BUGS.length);
  expect(new Set(PLANTED_BUGS.map(({ mistake }) => mistake)).size).toBe(PLANTED_BUGS.length);
});

test(
  "a planted bug is caught in a world in which nothing is wrong without it",
  () => {
    const bug = PLANTED_BUGS.find(({ name }) => name === "seq_not_recorded");
    if (bug === undefined) throw new Error("there is no such bug");
    const { caught, rule, seed, seeds } = runPlanted(bug, 1, 10);
    expect({ caught, rule }).toEqual({ caught: true, rule: "a number is never used twice" });
    expect(seed).toBe(seeds);
    const without = runPlanted({ ...bug, seams: () => ({}) }, seed, 1);
    expect(without).toMatchObject({ caught: false, seeds: 1 });
  },
  RUN_MS,
);
