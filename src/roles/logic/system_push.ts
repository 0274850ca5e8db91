/**
 * System push: an HTTP call becomes durable `push_task` entries without a detour over `chat_input`,
 * since it needs no number: its messages have seq 0. Calls that arrive together share entries, and
 * one write is in flight at a time. How much comes at a time is bounded before (push_gate.ts).
 */
import type { Clock, Random } from "../../core/clock.ts";
import { FlushLoop } from "../../core/lifecycle/flush.ts";
import type { Limits } from "../../core/limits.ts";
import { pushMsgIds } from "../../core/protocol/msg_id.ts";
import { encodePushTasks, type PushTask } from "../../core/protocol/push_task.ts";
import type { Append, Streams } from "../../core/streams/contract.ts";
import type { Telemetry, TraceContext } from "../../core/telemetry/telemetry.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import type { PushIntake, SystemPush } from "./api_contract.ts";
import { pushTasks } from "./push_text.ts";

export interface SystemPushDeps {
  readonly streams: Streams;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

interface Waiting {
  readonly tasks: [partition: number, task: PushTask][];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  error: Error | null;
}

export class SystemPushIntake implements PushIntake {
  private readonly deps: SystemPushDeps;
  private readonly nextId: (nowMs: number) => string;
  private readonly loop: FlushLoop;
  private waiting: Waiting[] = [];

  constructor(deps: SystemPushDeps) {
    this.deps = deps;
    this.nextId = pushMsgIds(deps.random.token(8));
    this.loop = new FlushLoop(deps.clock, () => this.flush());
  }

  async submit(push: SystemPush): Promise<string[]> {
    const { clock, telemetry } = this.deps;
    const parent = telemetry.tracer.sample(push.traceparent);
    const self = telemetry.tracer.child(parent);
    const tasks = this.tasksOf(push, self);
    const span = { name: "logic.push", self, start: clock.now() };
    const attributes = { "chatify.recipients": tasks.length };
    try {
      await this.written(tasks);
    } catch (error) {
      const problem = telemetry.tracer.sampleProblem(parent);
      const failed = { parent: problem, end: clock.now(), attributes, error: String(error) };
      telemetry.tracer.span({ ...span, ...failed });
      throw error;
    }
    telemetry.tracer.span({ ...span, parent, end: clock.now(), attributes });
    this.deps.telemetry.metrics.pushed.inc(tasks.length);
    for (const [, { msgId, recipients }] of tasks) {
      telemetry.ledger.pushed({ ...push, msgId, toUserId: recipients[0] ?? "" });
    }
    return tasks.map(([, task]) => task.msgId);
  }

  private written(tasks: Waiting["tasks"]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ tasks, resolve, reject, error: null });
      this.loop.wake();
    });
  }

  idle(): Promise<void> {
    return this.loop.idle();
  }

  private tasksOf(push: SystemPush, trace: TraceContext): Waiting["tasks"] {
    const { clock, partitions } = this.deps;
    const acceptedAt = clock.now();
    const make = pushTasks(push, acceptedAt, trace);
    return push.recipients.map((user) => {
      return [partitionOf(user, partitions.user), make(user, this.nextId(acceptedAt))];
    });
  }

  private async flush(): Promise<void> {
    const batch = this.waiting;
    this.waiting = [];
    const { limits, streams, telemetry } = this.deps;
    const appends: Append[] = [];
    const callers: Waiting[][] = [];
    for (const [partition, items] of groupByPartition(batch)) {
      for (const part of inEntries(items, limits)) {
        const body = encodePushTasks(part.map(([task]) => task));
        appends.push({ topic: "push_task", partition, body });
        callers.push(part.map(([, caller]) => caller));
        telemetry.metrics.batch.observe({ topic: "push_task" }, part.length);
      }
    }
    let results: (string | Error)[];
    try {
      results = await streams.append(appends);
    } catch (error) {
      results = appends.map(() => (error instanceof Error ? error : new Error(String(error))));
    }
    for (const [i, result] of results.entries()) {
      if (typeof result === "string") continue;
      for (const caller of callers[i] ?? []) caller.error = result;
    }
    for (const caller of batch) {
      if (caller.error === null) caller.resolve();
      else caller.reject(caller.error);
    }
  }
}

function groupByPartition(batch: readonly Waiting[]): Map<number, [PushTask, Waiting][]> {
  const groups = new Map<number, [PushTask, Waiting][]>();
  for (const caller of batch) {
    for (const [partition, task] of caller.tasks) {
      const group = groups.get(partition);
      if (group === undefined) groups.set(partition, [[task, caller]]);
      else group.push([task, caller]);
    }
  }
  return groups;
}

/** Parts that each fit into one entry. */
function* inEntries(
  items: readonly [PushTask, Waiting][],
  limits: Limits,
): Iterable<[PushTask, Waiting][]> {
  let from = 0;
  let bytes = 0;
  for (const [i, [task]] of items.entries()) {
    const size = task.message.length;
    const isFull = i - from >= limits.MESSAGES_PER_ENTRY_MAX;
    if (isFull || (i > from && bytes + size > limits.ENTRY_BYTES_MAX)) {
      yield items.slice(from, i);
      from = i;
      bytes = 0;
    }
    bytes += size;
  }
  yield items.slice(from);
}
