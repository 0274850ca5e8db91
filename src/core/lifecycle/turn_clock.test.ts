import { expect, test } from "bun:test";
import type { Clock } from "../clock.ts";
import { TurnClock } from "./turn_clock.ts";

function tickingClock() {
  let reads = 0;
  let ends: (() => void)[] = [];
  const clock: Pick<Clock, "now" | "monotonic" | "endOfTurn"> = {
    now: () => 1_000 + ++reads,
    monotonic: () => ++reads,
    endOfTurn: (fn) => ends.push(fn),
  };
  const endTurn = () => {
    const due = ends;
    ends = [];
    for (const fn of due) fn();
  };
  return { clock: clock as Clock, endTurn, reads: () => reads };
}

test("time stands still within a turn, and goes on with the next one", () => {
  const { clock, endTurn, reads } = tickingClock();
  const turn = new TurnClock(clock);
  const [now, at] = [turn.now(), turn.monotonic()];
  expect([turn.now(), turn.monotonic()]).toEqual([now, at]);
  expect(reads()).toBe(2);
  endTurn();
  expect(turn.monotonic()).toBeGreaterThan(at);
  expect(turn.now()).toBeGreaterThan(now);
});

test("nobody who asks nothing pays for a turn", () => {
  const { clock, endTurn, reads } = tickingClock();
  const turn = new TurnClock(clock);
  endTurn();
  expect(reads()).toBe(0);
  expect(turn.now()).toBeGreaterThan(0);
});
