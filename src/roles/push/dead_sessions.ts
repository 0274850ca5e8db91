/**
 * Clears sessions that nobody will end any more: those of gateways that died together with the
 * access node that knew them. The owner of a partition walks its part of the directory when a node
 * is gone, and once when it takes the partition over.
 *
 * A session whose access node is gone but whose gateway lives is left to the gateway, which registers
 * it again within moments; only if it has not done so after NODE_TTL_MS more, its client had left.
 */
import type { Clock } from "../../core/clock.ts";
import type { Membership } from "../../core/lifecycle/membership.ts";
import type { Limits } from "../../core/limits.ts";
import type { Session, SessionDirectory } from "../../core/sessions/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";

export interface DeadSessionsDeps {
  readonly directory: SessionDirectory;
  readonly membership: Membership;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  readonly owned: () => number[];
}

export class DeadSessions {
  private readonly deps: DeadSessionsDeps;

  constructor(deps: DeadSessionsDeps) {
    this.deps = deps;
  }

  start(): void {
    const { clock, limits, membership, owned } = this.deps;
    membership.onChange((_nodes, gone) => {
      if (gone.length === 0) return;
      const walk = () => {
        for (const partition of owned()) this.look(partition);
      };
      walk();
      clock.after(2 * limits.NODE_TTL_MS, walk);
    });
  }

  look(partition: number): void {
    void this.walk(partition).catch((error: unknown) => {
      this.deps.telemetry.log.debug({ err: error, partition }, "walking sessions failed");
    });
  }

  private async walk(partition: number): Promise<void> {
    const { clock, directory, limits, membership } = this.deps;
    const suspects: Session[] = [];
    for await (const sessions of directory.scan(partition)) {
      const dead = sessions.filter((session) => !membership.isLive(session.gateway));
      if (dead.length > 0) await directory.unregister(dead);
      for (const session of sessions) {
        if (membership.isLive(session.gateway) && !membership.isLive(session.access)) {
          suspects.push(session);
        }
      }
    }
    if (suspects.length === 0) return;
    clock.after(limits.NODE_TTL_MS, () => {
      // Those that were registered again have another epoch and are left alone by the directory.
      const still = suspects.filter((session) => !membership.isLive(session.access));
      void directory.unregister(still).catch((error: unknown) => {
        this.deps.telemetry.log.debug({ err: error, partition }, "clearing sessions failed");
      });
    });
  }
}
