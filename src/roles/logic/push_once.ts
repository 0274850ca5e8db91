/**
 * Pushes that are asked for more than once and are the same push: by the key of a request, or, for
 * each recipient, by sender and content id. How that survives crashes is in core/pushes/contract.ts.
 */
import type { Clock, Random } from "../../core/clock.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { pushMsgIds } from "../../core/protocol/msg_id.ts";
import { type PushTask, pushTaskParts } from "../../core/protocol/push_task.ts";
import type { OnceUnit, PushStore, Reservation } from "../../core/pushes/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import type { SystemPush } from "./api_contract.ts";
import { pushTasks } from "./push_text.ts";

export interface PushOnceDeps {
  readonly pushes: PushStore;
  readonly partitions: Partitions;
  readonly clock: Pick<Clock, "now">;
  readonly random: Random;
  readonly telemetry: Telemetry;
  readonly limits: Pick<Limits, "MESSAGES_PER_ENTRY_MAX" | "ENTRY_BYTES_MAX">;
}

export interface PushedOnce {
  readonly taskId: string;
  /** In the order of the recipients. */
  readonly msgIds: readonly string[];
}

const TASK_ID_CHARS = 16;
const TAG_CHARS = 8;

export class PushOnce {
  private readonly nextId: (nowMs: number) => string;

  constructor(private readonly deps: PushOnceDeps) {
    this.nextId = pushMsgIds(deps.random.token(TAG_CHARS));
  }

  /**
   * `scope` and `key` name the request, `asked` is what it asks for, and `make` makes the push as of
   * a time in unix ms, which is that of the first request. Rejects with `key_reused` when another one
   * had that key.
   */
  async byKey(
    scope: string,
    key: string,
    asked: unknown,
    make: (ms: number) => SystemPush,
  ): Promise<PushedOnce> {
    const name = hashOf(["key", scope, key]);
    const { reservation, isNew } = await this.reserve(name, hashOf(asked), "Idempotency-Key");
    const { ms, taskId } = reservation;
    const push = make(ms);
    const idOf = pushMsgIds(taskId.slice(0, TAG_CHARS));
    const tasks = this.tasksOf(push, ms, () => idOf(ms));
    const parts = this.inEntries(tasks);
    await Promise.all(
      parts.map(([partition, own], i) => {
        const unit = { name: `${name}:${i}`, value: "1", ...pushTaskParts(own) };
        return this.deps.pushes.appendOnce(partition, [unit]);
      }),
    );
    if (isNew) this.count(push, tasks);
    else this.deps.telemetry.metrics.duplicates.inc({ stage: "logic" }, tasks.length);
    return { taskId, msgIds: tasks.map(({ msgId }) => msgId) };
  }

  /** Rejects with `key_reused` when other content was pushed under that sender and content id. */
  async byContent(push: SystemPush): Promise<PushedOnce> {
    const name = hashOf(["content", push.fromUserId, push.contentId]);
    const digest = hashOf([push.content, push.pushType]);
    const { reservation } = await this.reserve(name, digest, "content_id");
    const ms = this.deps.clock.now();
    const tasks = this.tasksOf(push, ms, () => this.nextId(ms));
    const idOf = new Map<string, string>();
    await Promise.all(
      this.inEntries(tasks).map(async ([partition, own]) => {
        const units = own.map((task): OnceUnit => {
          const [user = ""] = task.recipients;
          return { name: `${name}:${user}`, value: task.msgId, ...pushTaskParts([task]) };
        });
        const ids = await this.deps.pushes.appendOnce(partition, units);
        for (const [i, task] of own.entries()) idOf.set(task.msgId, ids[i] ?? "");
      }),
    );
    const isFresh = ({ msgId }: PushTask) => idOf.get(msgId) === msgId;
    const fresh = tasks.filter(isFresh);
    this.count(push, fresh);
    const repeated = tasks.length - fresh.length;
    if (repeated > 0) this.deps.telemetry.metrics.duplicates.inc({ stage: "logic" }, repeated);
    return {
      taskId: reservation.taskId,
      msgIds: tasks.map(({ msgId }) => idOf.get(msgId) ?? msgId),
    };
  }

  private async reserve(
    name: string,
    digest: string,
    what: string,
  ): Promise<{ reservation: Reservation; isNew: boolean }> {
    const { clock, pushes, random } = this.deps;
    const proposal = { taskId: random.token(TASK_ID_CHARS), ms: clock.now(), digest };
    const reservation = (await pushes.reserve(name, proposal)) ?? proposal;
    if (reservation.digest === digest) {
      return { reservation, isNew: reservation.taskId === proposal.taskId };
    }
    const message = `this ${what} was used for another push; a new push takes a new one`;
    throw new ChatifyError("key_reused", message);
  }

  private tasksOf(push: SystemPush, ms: number, idOf: () => string): PushTask[] {
    const make = pushTasks(push, ms, this.deps.telemetry.tracer.sample(push.traceparent));
    return push.recipients.map((user) => make(user, idOf()));
  }

  /** By partition, and no more at a time than an entry holds; the same tasks give the same parts. */
  private inEntries(tasks: readonly PushTask[]): [partition: number, tasks: PushTask[]][] {
    const { limits, partitions } = this.deps;
    const byPartition = Map.groupBy(tasks, ({ recipients }) => {
      return partitionOf(recipients[0] ?? "", partitions.user);
    });
    const bytes = (tasks[0]?.message.length ?? 1) + 1;
    const room = Math.max(1, Math.floor(limits.ENTRY_BYTES_MAX / bytes));
    const most = Math.min(limits.MESSAGES_PER_ENTRY_MAX, room);
    return [...byPartition].flatMap(([partition, own]) => {
      const parts: [number, PushTask[]][] = [];
      for (let i = 0; i < own.length; i += most) parts.push([partition, own.slice(i, i + most)]);
      return parts;
    });
  }

  private count(push: SystemPush, tasks: readonly PushTask[]): void {
    const { ledger, metrics } = this.deps.telemetry;
    metrics.pushed.inc(tasks.length);
    for (const { msgId, recipients } of tasks) {
      ledger.pushed({ ...push, msgId, toUserId: recipients[0] ?? "" });
    }
  }
}

/** 128 bits, so that no two that differ meet. */
function hashOf(value: unknown): string {
  const text = JSON.stringify(value);
  return new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 32);
}
