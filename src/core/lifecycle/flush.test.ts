import { expect, test } from "bun:test";
import { systemClock } from "../clock.ts";
import { FlushLoop } from "./flush.ts";

test("what arrives in one turn of the event loop is flushed together", async () => {
  let queue: number[] = [];
  const batches: number[][] = [];
  const loop = new FlushLoop(systemClock, async () => {
    batches.push(queue);
    queue = [];
  });
  for (const n of [1, 2, 3]) {
    queue.push(n);
    loop.wake();
  }
  expect(batches).toEqual([]);
  await loop.idle();
  expect(batches).toEqual([[1, 2, 3]]);
});

test("what arrives while a flush is in flight leaves with the next one, never beside it", async () => {
  let queue: number[] = [];
  const batches: number[][] = [];
  let inFlight = 0;
  let most = 0;
  let release = () => {};
  const loop = new FlushLoop(systemClock, async () => {
    most = Math.max(most, ++inFlight);
    batches.push(queue);
    queue = [];
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    inFlight--;
  });
  queue.push(1);
  loop.wake();
  await Bun.sleep(1);
  queue.push(2);
  loop.wake();
  queue.push(3);
  loop.wake();
  await Bun.sleep(1);
  expect(batches).toEqual([[1]]);
  release();
  await Bun.sleep(1);
  release();
  await loop.idle();
  expect(batches).toEqual([[1], [2, 3]]);
  expect(most).toBe(1);
});

test("idle resolves at once when there is nothing to flush", async () => {
  const loop = new FlushLoop(systemClock, async () => {});
  await loop.idle();
});
