/**
 * System push: an HTTP call becomes durable `push_task` entries without a detour over `chat_input`,
 * since it needs no number: its messages have seq 0. Calls that arrive together share entries, and
 * one write is in flight at a time.
 */
import type { Clock, Random } from "../../core/clock.ts";
import { FlushLoop } from "../../core/lifecycle/flush.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { pushMsgIds } from "../../core/protocol/msg_id.ts";
import { encodePushTasks, type PushTask } from "../../core/protocol/push_task.ts";
import type { Append, Streams } from "../../core/streams/contract.ts";
import type { Telemetry, TraceContext } from "../../core/telemetry/telemetry.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import type { PushIntake, SystemPush } from "./api_contract.ts";

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
  private pending = 0;

  constructor(deps: SystemPushDeps) {
    this.deps = deps;
    this.nextId = pushMsgIds(deps.random.token(8));
    this.loop = new FlushLoop(deps.clock, () => this.flush());
  }

  async submit(push: SystemPush): Promise<string[]> {
    const { limits } = this.deps;
    if (this.pending + push.recipients.length > limits.UPLINK_PENDING_MAX) {
      throw new ChatifyError("overloaded", "too many pushes wait to be written", 1_000);
    }
    this.pending += push.recipients.length;
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
    const tail = commonTail(push);
    return push.recipients.map((user) => {
      const msgId = this.nextId(acceptedAt);
      const task: PushTask = {
        msgId,
        conversation: `s:${push.fromUserId}`,
        seq: 0,
        expireTime: push.expireTime,
        acceptedAt,
        trace,
        recipients: [user],
        message: `{"msg_id":"${msgId}","to_user_id":${JSON.stringify(user)},${tail}`,
      };
      return [partitionOf(user, partitions.user), task];
    });
  }

  private async flush(): Promise<void> {
    const batch = this.waiting;
    this.waiting = [];
    const { limits, streams, telemetry } = this.deps;
    const appends: Append[] = [];
    const callers: Waiting[][] = [];
    for (const [partition, items] of groupByPartition(batch)) {
      for (let i = 0; i < items.length; i += limits.MESSAGES_PER_ENTRY_MAX) {
        const part = items.slice(i, i + limits.MESSAGES_PER_ENTRY_MAX);
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
      this.pending -= caller.tasks.length;
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

/** Everything of the encoded message that all recipients share; the content is encoded once. */
function commonTail(push: SystemPush): string {
  return JSON.stringify({
    message_type: "CHAT",
    from_user_id: push.fromUserId,
    target_type: "SYSTEM",
    content: push.content,
    timestamp: push.timestamp,
    expire_time: push.expireTime,
    content_id: push.contentId,
    conversation_id: `s:${push.fromUserId}`,
    seq: 0,
    client_msg_id: "",
    push_type: push.pushType,
  }).slice(1);
}
