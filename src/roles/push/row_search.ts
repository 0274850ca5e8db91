/**
 * Finds the users of a partition who have rows in the store, where Redis may have forgotten their
 * marks: an owner that takes the partition over from a Redis process under which nobody has looked
 * yet walks through all users with rows and marks its own. Until that is done the store is asked
 * about each user whose feed begins, so nobody waits for the walk.
 *
 * Before the first question the store is told this owner's epoch: an owner before, whose marks are
 * lost and who wakes up late, can then add no rows behind the answer.
 */
import { type Clock, sleep } from "../../core/clock.ts";
import type { OfflineStore, OwnerEpoch } from "../../core/offline/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { partitionOf } from "../../core/topology.ts";

export interface RowSearchDeps {
  readonly owner: OwnerEpoch;
  readonly store: OfflineStore;
  /** How many user partitions there are. */
  readonly partitionCount: number;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  /** Resolves once the marks of these users are durable. */
  readonly onFound: (users: readonly string[]) => Promise<void>;
}

const USERS_PER_PAGE = 1_000;
const RETRY_MS = 500;

export class RowSearch {
  private fenced = false;
  private stopped = false;

  constructor(
    private readonly deps: RowSearchDeps,
    /** False when Redis certainly has every mark. */
    private active: boolean,
  ) {}

  /** Which of `users` have rows; none where Redis' marks say it. Rejects when the store is away. */
  async among(users: readonly string[]): Promise<ReadonlySet<string>> {
    if (!this.active) return new Set();
    await this.fence();
    return new Set(await this.deps.store.withRows(users));
  }

  /** Resolves when everybody is marked: true when that is news for Redis. */
  async run(): Promise<boolean> {
    if (!this.active) return false;
    let after = "";
    while (!this.stopped) {
      try {
        await this.fence();
        const users = await this.deps.store.users(after, USERS_PER_PAGE);
        await this.found(users);
        const last = users.at(-1);
        if (last === undefined || users.length < USERS_PER_PAGE) break;
        after = last;
      } catch (error) {
        const { clock, owner, telemetry } = this.deps;
        telemetry.metrics.storeErrors.inc({ operation: "users" });
        telemetry.log.warn({ err: error, partition: owner.partition }, "users with rows: again");
        await sleep(clock, RETRY_MS);
      }
    }
    this.active = false;
    return !this.stopped;
  }

  stop(): void {
    this.stopped = true;
  }

  private async found(users: readonly string[]): Promise<void> {
    const { onFound, owner, partitionCount } = this.deps;
    const own = users.filter((user) => partitionOf(user, partitionCount) === owner.partition);
    if (own.length > 0) await onFound(own);
  }

  private async fence(): Promise<void> {
    if (!this.fenced) await this.deps.store.confirm(this.deps.owner, []);
    this.fenced = true;
  }
}
