import { expect, test } from "bun:test";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { ManualClock } from "../../core/testing/manual_clock.ts";
import { silentTelemetry } from "../../core/testing/silent_telemetry.ts";
import { PushGate } from "./push_gate.ts";

const limits = { PUSH_PENDING_MAX: 10, PUSH_WAITING_MAX: 20, PUSH_WAIT_MS: 1_000 };

class World {
  readonly clock = new ManualClock();
  backlog: number | Error = 0;
  /** Pushes that were let in, and how each that is over ended. */
  readonly log: string[] = [];
  private readonly gate: PushGate;
  private readonly ends = new Map<string, () => void>();

  constructor() {
    const backlogBytes = async () => {
      if (this.backlog instanceof Error) throw this.backlog;
      return this.backlog;
    };
    const base = { clock: this.clock, telemetry: silentTelemetry(), limits };
    this.gate = new PushGate({ ...base, pushes: { backlogBytes }, backlogBytesMax: 100 });
  }

  push(name: string, messages: number): void {
    const work = () => {
      this.log.push(name);
      return new Promise<void>((resolve) => this.ends.set(name, resolve));
    };
    this.gate.pass(messages, work).catch((error: unknown) => {
      this.log.push(`${name} ${error instanceof ChatifyError ? error.code : String(error)}`);
    });
  }

  async end(name: string): Promise<void> {
    this.ends.get(name)?.();
    await this.clock.advance(1);
  }
}

test("pushes wait their turn while as many are written as may, in the order in which they came", async () => {
  const w = new World();
  for (const name of ["a", "b", "c", "d"]) w.push(name, 5);
  w.push("small", 1);
  await w.clock.advance(300);
  expect(w.log).toEqual(["a", "b"]);
  await w.end("b");
  expect(w.log).toEqual(["a", "b", "c"]);
  await w.end("a");
  await w.end("c");
  expect(w.log).toEqual(["a", "b", "c", "d", "small"]);
});

test("nobody is let in while too much waits to be delivered, and whoever waits too long is refused", async () => {
  const w = new World();
  w.backlog = 101;
  w.push("first", 1);
  await w.end("first");
  await w.clock.advance(250);
  w.push("patient", 1);
  await w.clock.advance(500);
  expect(w.log).toEqual(["first"]);
  w.backlog = 100;
  await w.clock.advance(400);
  expect(w.log).toEqual(["first", "patient"]);
  w.backlog = 101;
  await w.clock.advance(300);
  w.push("looks", 1);
  await w.clock.advance(300);
  w.push("late", 1);
  await w.clock.advance(1_200);
  expect(w.log.slice(2)).toEqual(["looks", "late overloaded"]);
});

test("more waiting than may is refused at once, and one push of any size can be written", async () => {
  const w = new World();
  w.push("large", 15);
  for (const name of ["a", "b", "c"]) w.push(name, 10);
  await w.clock.advance(1);
  expect(w.log).toEqual(["large", "c overloaded"]);
});

test("a backlog that cannot be read keeps nobody out", async () => {
  const w = new World();
  w.backlog = new Error("Redis is away");
  for (const name of ["a", "b"]) {
    w.push(name, 1);
    await w.clock.advance(300);
  }
  expect(w.log).toEqual(["a", "b"]);
});
