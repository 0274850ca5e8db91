/**
 * Who wants to know when a user comes and goes. Kept in memory by the owner of the watched user's
 * partition, for WATCH_TTL_MS; best effort: after a take-over clients renew within that time.
 */
import type { Clock } from "../../core/clock.ts";
import { WATCH_TTL_MS } from "../../core/protocol/frames.ts";
import type { Address } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import type { Outbox } from "./outbox.ts";

interface Watch {
  readonly access: NodeId;
  readonly address: Address;
  readonly until: number;
}

export class Watches {
  private readonly byUser = new Map<string, Map<string, Watch>>();
  private readonly online = new Map<string, boolean>();
  private count = 0;

  constructor(
    private readonly outbox: Outbox,
    private readonly clock: Clock,
    private readonly max: number,
  ) {}

  has(user: string): boolean {
    return this.byUser.has(user);
  }

  /** Returns false when there is no room. */
  add(user: string, access: NodeId, address: Address): boolean {
    if (this.count >= this.max) return false;
    let watches = this.byUser.get(user);
    if (watches === undefined) {
      watches = new Map();
      this.byUser.set(user, watches);
    }
    const key = `${address[0]}/${address[1]}`;
    if (!watches.has(key)) this.count++;
    watches.set(key, { access, address, until: this.clock.monotonic() + WATCH_TTL_MS });
    const known = this.online.get(user);
    if (known !== undefined) this.outbox.addTo(access, address, presenceFrame(user, known));
    return true;
  }

  /** Tells the watchers when it is news to them. */
  report(user: string, isOnline: boolean): void {
    const watches = this.byUser.get(user);
    if (watches === undefined || this.online.get(user) === isOnline) return;
    this.online.set(user, isOnline);
    const frame = presenceFrame(user, isOnline);
    for (const { access, address } of watches.values()) this.outbox.addTo(access, address, frame);
  }

  sweep(): void {
    const now = this.clock.monotonic();
    for (const [user, watches] of this.byUser) {
      for (const [key, watch] of watches) {
        if (watch.until > now) continue;
        watches.delete(key);
        this.count--;
      }
      if (watches.size > 0) continue;
      this.byUser.delete(user);
      this.online.delete(user);
    }
  }

  /** Forgets the users of a partition that this node does not own any more. */
  dropUsers(isDropped: (user: string) => boolean): void {
    for (const [user, watches] of this.byUser) {
      if (!isDropped(user)) continue;
      this.count -= watches.size;
      this.byUser.delete(user);
      this.online.delete(user);
    }
  }
}

function presenceFrame(user: string, online: boolean): string {
  return JSON.stringify({ type: "presence", user_id: user, online });
}
