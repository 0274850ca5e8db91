/**
 * Clears sessions that nobody will end any more: those of gateways that died together with the
 * access node that knew them. The owner of a partition walks its part of the directory when a node
 * is gone, and once when it takes the partition over.
 *
 * A session whose access node is gone but whose gateway lives is left to the gateway, which registers
 * it again within moments; only if it has not done so after NODE_TTL_MS more, its client had left.
 *
 * A gateway that this process does not know is not a dead one: it may have joined since the last
 * heartbeat, and have clients already. It counts as dead when the next heartbeats do not list it.
 */
import type { Clock } from "../../core/clock.ts";
import type { Membership } from "../../core/lifecycle/membership.ts";
import type { Limits } from "../../core/limits.ts";
import type { Session, SessionDirectory } from "../../core/sessions/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

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
      const ids = new Set(gone.map(({ id }) => id));
      const walk = () => {
        for (const partition of owned()) this.look(partition, ids);
      };
      walk();
      clock.after(2 * limits.NODE_TTL_MS, walk);
    });
  }

  /** `gone`: nodes that were seen to go. */
  look(partition: number, gone: ReadonlySet<NodeId> = new Set()): void {
    void this.walk(partition, gone).catch((error: unknown) => {
      this.deps.telemetry.log.debug({ err: error, partition }, "walking sessions failed");
    });
  }

  private async walk(partition: number, gone: ReadonlySet<NodeId>): Promise<void> {
    const { directory, limits, membership } = this.deps;
    const suspects: Session[] = [];
    const strangers: Session[] = [];
    for await (const sessions of directory.scan(partition)) {
      const lost = sessions.filter((session) => !membership.isLive(session.gateway));
      const dead = lost.filter((session) => gone.has(session.gateway));
      if (dead.length > 0) await directory.unregister(dead);
      strangers.push(...lost.filter((session) => !gone.has(session.gateway)));
      for (const session of sessions) {
        if (membership.isLive(session.gateway) && !membership.isLive(session.access)) {
          suspects.push(session);
        }
      }
    }
    this.lookAgain(partition, strangers, limits.HEARTBEAT_NODE_MS * 2, "gateway");
    this.lookAgain(partition, suspects, limits.NODE_TTL_MS, "access");
  }

  /** Ends those whose node is still not there then. */
  private lookAgain(
    partition: number,
    sessions: readonly Session[],
    afterMs: number,
    node: "gateway" | "access",
  ): void {
    if (sessions.length === 0) return;
    const { clock, directory, membership, telemetry } = this.deps;
    clock.after(afterMs, () => {
      // Those that were registered again have another epoch and are left alone by the directory.
      const still = sessions.filter((session) => !membership.isLive(session[node]));
      if (still.length === 0) return;
      void directory.unregister(still).catch((error: unknown) => {
        telemetry.log.debug({ err: error, partition }, "clearing sessions failed");
      });
    });
  }
}
