/**
 * Asks the session directory about users, everybody of one turn in one round trip. A user who
 * changes while being asked about is asked about again, so the last answer is never older than the
 * last event.
 */

import type { Clock } from "../../core/clock.ts";
import { sleep } from "../../core/clock.ts";
import { FlushLoop } from "../../core/lifecycle/flush.ts";
import type { Presence, SessionDirectory } from "../../core/sessions/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { RowSearch } from "./row_search.ts";

interface Found {
  readonly presences: readonly Presence[];
  readonly withRows: ReadonlySet<string>;
}

const RETRY_MS = 200;
const USERS_PER_LOOKUP_MAX = 1_000;

export class PresenceLoader {
  private readonly loop: FlushLoop;
  private wanted = new Set<string>();
  private stopped = false;

  constructor(
    private readonly directory: SessionDirectory,
    private readonly clock: Clock,
    private readonly telemetry: Telemetry,
    /** Which users have rows that Redis may not know of. */
    private readonly search: Pick<RowSearch, "among">,
    private readonly onPresence: (user: string, presence: Presence, hasRows: boolean) => void,
  ) {
    this.loop = new FlushLoop(clock, () => this.flush());
  }

  request(user: string): void {
    this.wanted.add(user);
    this.loop.wake();
  }

  stop(): void {
    this.stopped = true;
  }

  private async flush(): Promise<void> {
    const users = [...this.wanted].slice(0, USERS_PER_LOOKUP_MAX);
    for (const user of users) this.wanted.delete(user);
    if (this.wanted.size > 0) this.loop.wake();
    const found = await this.lookup(users);
    if (found === null) return;
    for (const [i, user] of users.entries()) {
      const presence = found.presences[i];
      // Asked for again meanwhile: the answer at hand may be the older one.
      if (presence === undefined || this.wanted.has(user)) continue;
      this.onPresence(user, presence, found.withRows.has(user));
    }
  }

  private async lookup(users: readonly string[]): Promise<Found | null> {
    while (!this.stopped) {
      try {
        const [presences, withRows] = await Promise.all([
          this.directory.lookup(users),
          this.search.among(users),
        ]);
        return this.stopped ? null : { presences, withRows };
      } catch (error) {
        this.telemetry.metrics.redisErrors.inc({ operation: "lookup" });
        this.telemetry.log.debug({ err: error, users: users.length }, "presence look-up failed");
        await sleep(this.clock, RETRY_MS);
      }
    }
    return null;
  }
}
