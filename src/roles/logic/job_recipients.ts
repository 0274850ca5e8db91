/** Who a push job is for: users on their way into its lists, by partition, in batches. */
import type { JobStore, JobTarget } from "../../core/jobs/contract.ts";
import type { Limits } from "../../core/limits.ts";
import type { Relations } from "../../core/relations/contract.ts";
import type { SessionDirectory } from "../../core/sessions/contract.ts";
import type { Tags } from "../../core/tags/contract.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import { type PushContent, pushTasks } from "./push_text.ts";

export interface JobRecipientsDeps {
  readonly jobs: Pick<JobStore, "add">;
  readonly partitions: Partitions;
  readonly limits: Pick<Limits, "JOB_CHUNK_MAX" | "ENTRY_BYTES_MAX">;
}

/** Calls to Redis that may be on their way; more: whoever adds waits. */
const IN_FLIGHT_MAX = 16;
const ID_CHARS = 26;

export class JobRecipients {
  private readonly batches = new Map<number, string[]>();
  private readonly inFlight = new Set<Promise<void>>();
  private failure: unknown = null;

  /** `chunkMax`: see `chunkMaxOf`. */
  constructor(
    private readonly deps: JobRecipientsDeps,
    private readonly id: string,
    private readonly chunkMax: number,
  ) {}

  /** Returns at once where it can; a promise is to be awaited before the next is added. */
  add(user: string): Promise<void> | undefined {
    const partition = partitionOf(user, this.deps.partitions.user);
    let batch = this.batches.get(partition);
    if (batch === undefined) {
      batch = [];
      this.batches.set(partition, batch);
    }
    if (batch.push(user) < this.deps.limits.JOB_CHUNK_MAX) return undefined;
    this.batches.delete(partition);
    this.send(partition, batch);
    return this.inFlight.size < IN_FLIGHT_MAX ? undefined : this.room();
  }

  /** Resolves when everybody is in; rejects with what kept one from it. */
  async finish(): Promise<void> {
    for (const [partition, batch] of this.batches) this.send(partition, batch);
    this.batches.clear();
    await Promise.all(this.inFlight);
    if (this.failure !== null) throw this.failure;
  }

  private async room(): Promise<void> {
    await Promise.race(this.inFlight);
    if (this.failure !== null) throw this.failure;
  }

  private send(partition: number, batch: readonly string[]): void {
    const work = this.deps.jobs.add(this.id, partition, batch, this.chunkMax).then(
      () => void this.inFlight.delete(work),
      (error: unknown) => {
        this.inFlight.delete(work);
        this.failure ??= error;
      },
    );
    this.inFlight.add(work);
  }
}

/** Users of one chunk: as many as fit an entry, and no more than a tenth of a second's worth. */
export function chunkMaxOf(
  content: PushContent,
  rate: number,
  limits: Pick<Limits, "JOB_CHUNK_MAX" | "ENTRY_BYTES_MAX">,
): number {
  const { message } = pushTasks(content, 0, "")("", "x".repeat(ID_CHARS));
  const fit = Math.floor(limits.ENTRY_BYTES_MAX / (2 * message.length));
  const slow = rate === 0 ? limits.JOB_CHUNK_MAX : Math.floor(rate / 10);
  return Math.max(1, Math.min(limits.JOB_CHUNK_MAX, fit, slow));
}

export interface TargetSources {
  readonly relations: Pick<Relations, "members">;
  readonly tags: Pick<Tags, "usersIn">;
  readonly directory: Pick<SessionDirectory, "scan">;
  readonly partitions: Partitions;
}

/** Users of a target as it is now, in pages; one may come twice. Null: there is no such thing. */
export async function* usersOf(
  target: JobTarget,
  { directory, partitions, relations, tags }: TargetSources,
): AsyncIterable<readonly string[] | null> {
  if (target.kind === "group") {
    const [members] = await relations.members([target.name]);
    yield members ?? null;
    return;
  }
  for (let partition = 0; partition < partitions.user; partition++) {
    if (target.kind === "tag") yield* tags.usersIn(target.name, partition);
    if (target.kind !== "online") continue;
    for await (const sessions of directory.scan(partition)) yield sessions.map(({ user }) => user);
  }
}
