/**
 * Ends sessions on an administrator's word. The bar comes first, so that a connection which is just
 * being registered, or which its gateway registers again after a lost link, is refused; then the
 * sessions that are there leave the directory, which is when their owner stops delivering to them; then
 * their gateways close them. A gateway that cannot be reached has no way to deliver anything either.
 */
import type { Membership } from "../../core/lifecycle/membership.ts";
import type { CloseReason } from "../../core/protocol/errors.ts";
import type { Session, SessionDirectory } from "../../core/sessions/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Trunk } from "../../core/trunk/contract.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

export interface EvictionsDeps {
  readonly directory: SessionDirectory;
  readonly trunk: Trunk;
  readonly membership: Pick<Membership, "serving">;
  readonly telemetry: Telemetry;
}

export class Evictions {
  constructor(private readonly deps: EvictionsDeps) {}

  /**
   * Ends the user's sessions, or that of one device, for good: their clients are told not to come
   * back as they are (4101). A new connection is welcome. Resolves with what was ended.
   */
  async kick(user: string, device: string | null): Promise<readonly Session[]> {
    await this.deps.directory.bar(user, { kick: device });
    const all = await this.sessionsOf(user);
    return this.end(device === null ? all : all.filter((s) => s.device === device), "kicked");
  }

  /**
   * From now on tokens of the user that were issued before `before` (unix seconds) count for nothing.
   * All sessions end; those who hold a newer token are told to come back, and are let in.
   */
  async revokeTokens(user: string, before: number): Promise<readonly Session[]> {
    await this.deps.directory.bar(user, { tokensBefore: before });
    return this.end(await this.sessionsOf(user), "rebalance");
  }

  private async sessionsOf(user: string): Promise<readonly Session[]> {
    const [presence] = await this.deps.directory.lookup([user]);
    return presence?.sessions ?? [];
  }

  private async end(
    sessions: readonly Session[],
    reason: CloseReason,
  ): Promise<readonly Session[]> {
    const { directory, telemetry, trunk } = this.deps;
    if (sessions.length === 0) return sessions;
    await directory.unregister(sessions);
    for (const session of sessions) {
      const { conn, epoch, gateway } = session;
      const conns: [[NodeId, number, number], CloseReason][] = [[[gateway, conn, epoch], reason]];
      const access = this.wayTo(session);
      if (access !== null) trunk.send(access, { to: "access", t: "close", conns });
    }
    telemetry.log.info({ sessions: sessions.length, reason }, "ended sessions of a user");
    return sessions;
  }

  /** The access node that registered it, or any other: all of them have a link to every gateway. */
  private wayTo({ access }: Session): NodeId | null {
    const { membership, trunk } = this.deps;
    if (trunk.isUp(access)) return access;
    return membership.serving("access").find(({ id }) => trunk.isUp(id))?.id ?? null;
  }
}
