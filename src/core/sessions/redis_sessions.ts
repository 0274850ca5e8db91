/** The session directory in Redis: a hash per user partition, changed by one script per batch. */
import type { Limits } from "../limits.ts";
import type { RedisClient } from "../redis/client.ts";
import { type Script, script } from "../redis/script.ts";
import { type Partitions, partitionOf } from "../topology.ts";
import barLua from "./bar.lua" with { type: "text" };
import {
  type Bar,
  type BarReason,
  KICK_KEPT_S,
  type NewSession,
  type Presence,
  type Registered,
  type Session,
  type SessionDirectory,
  type SessionRef,
} from "./contract.ts";
import registerLua from "./register.lua" with { type: "text" };
import unregisterLua from "./unregister.lua" with { type: "text" };

export interface RedisSessionsDeps {
  readonly redis: RedisClient;
  readonly partitions: Partitions;
  readonly limits: Pick<Limits, "DEVICES_PER_USER_MAX" | "MESSAGES_PER_ENTRY_MAX">;
}

/** A session as it is stored under its user. */
type Stored = [
  device: string,
  access: string,
  gateway: string,
  conn: number,
  epoch: number,
  since: number,
];

const SCAN_PAGE = 500;

const register = script(registerLua);
const unregister = script(unregisterLua);
const bar = script(barLua);
const BARRED: ReadonlySet<string> = new Set<BarReason>(["kicked", "token_revoked"]);

export class RedisSessions implements SessionDirectory {
  constructor(private readonly deps: RedisSessionsDeps) {}

  async register(sessions: readonly NewSession[]): Promise<Registered[]> {
    const results: Registered[] = [];
    const batches = this.batches(sessions, ({ access }) => access);
    await Promise.all(
      batches.map(async ({ partition, positions, head }) => {
        const args = [String(this.deps.limits.DEVICES_PER_USER_MAX), head];
        for (const at of positions) {
          const { user, device, gateway, conn, issuedAt, since } = sessions[at] as NewSession;
          args.push(user, device, gateway, String(conn), String(since), String(issuedAt));
        }
        const { keys } = this;
        const own = [keys.sessions(partition), keys.sessionEpoch(partition), keys.bars(partition)];
        const reply = await this.run("register", register, own, partition, args);
        for (const [i, at] of positions.entries()) {
          const other = reply[2 * i + 1] as string;
          const user = (sessions[at] as NewSession).user;
          results[at] = { epoch: Number(reply[2 * i]), ...otherThan(user, other) };
        }
      }),
    );
    return results;
  }

  async unregister(sessions: readonly SessionRef[]): Promise<void> {
    await Promise.all(
      this.batches(sessions, () => "").map(async ({ partition, positions }) => {
        const args: string[] = [];
        for (const at of positions) {
          const { user, device, gateway, conn, epoch } = sessions[at] as SessionRef;
          args.push(user, device, gateway, String(conn), String(epoch));
        }
        const keys = [this.keys.sessions(partition)];
        await this.run("unregister", unregister, keys, partition, args);
      }),
    );
  }

  async bar(user: string, wanted: Bar): Promise<void> {
    const [tokens, kicks, device] =
      "kick" in wanted ? ["0", "1", wanted.kick ?? ""] : [String(wanted.tokensBefore), "0", ""];
    const args = [user, tokens, kicks, device, String(KICK_KEPT_S)];
    const keys = [this.keys.bars(this.partitionOf(user))];
    await this.deps.redis.durable.script("bar", bar, keys, args);
  }

  async tokensBefore(user: string): Promise<number> {
    const args = [this.keys.bars(this.partitionOf(user)), user];
    const stored = await this.deps.redis.lane.read("bar", "HGET", args);
    return typeof stored === "string" ? (JSON.parse(stored) as { tokens: number }).tokens : 0;
  }

  async lookup(users: readonly string[]): Promise<Presence[]> {
    const presences: Presence[] = [];
    const byPartition = Map.groupBy(users.keys(), (at) => this.partitionOf(users[at] as string));
    const hmget = (key: string, fields: string[]) =>
      this.deps.redis.lane.read("lookup", "HMGET", [key, ...fields]) as Promise<(string | null)[]>;
    await Promise.all(
      [...byPartition].map(async ([partition, positions]) => {
        const names = positions.map((at) => users[at] as string);
        const [found, stored] = await Promise.all([
          hmget(this.keys.sessions(partition), names),
          hmget(this.keys.map("stored", "push", partition), names),
        ]);
        for (const [i, at] of positions.entries()) {
          const sessions = sessionsOf(names[i] as string, found[i] ?? null);
          presences[at] = { sessions, stored: stored[i] != null };
        }
      }),
    );
    return presences;
  }

  async *scan(partition: number): AsyncIterable<readonly Session[]> {
    let cursor = "0";
    do {
      const args = [this.keys.sessions(partition), cursor, "COUNT", String(SCAN_PAGE)];
      const reply = await this.deps.redis.lane.read("scan_sessions", "HSCAN", args);
      const [next, flat] = reply as [string, string[]];
      cursor = next;
      const page: Session[] = [];
      for (let i = 0; i + 1 < flat.length; i += 2) {
        page.push(...sessionsOf(flat[i] as string, flat[i + 1] as string));
      }
      if (page.length > 0) yield page;
    } while (cursor !== "0");
  }

  async onlineCount(): Promise<number> {
    const { partitions, redis } = this.deps;
    const counts = await Promise.all(
      Array.from({ length: partitions.user }, (_, partition) =>
        redis.lane.read("online_count", "HLEN", [this.keys.sessions(partition)]),
      ),
    );
    return counts.reduce<number>((sum, count) => sum + Number(count), 0);
  }

  private get keys() {
    return this.deps.redis.keys;
  }

  private partitionOf(user: string): number {
    return partitionOf(user, this.deps.partitions.user);
  }

  /** Positions in `sessions` by partition and `head`, no more per batch than a stream entry takes. */
  private batches<S extends { user: string }>(
    sessions: readonly S[],
    headOf: (session: S) => string,
  ): { partition: number; head: string; positions: number[] }[] {
    const max = this.deps.limits.MESSAGES_PER_ENTRY_MAX;
    const open = new Map<string, { partition: number; head: string; positions: number[] }>();
    const all: { partition: number; head: string; positions: number[] }[] = [];
    for (const [at, session] of sessions.entries()) {
      const partition = this.partitionOf(session.user);
      const head = headOf(session);
      const name = `${partition} ${head}`;
      let batch = open.get(name);
      if (batch === undefined || batch.positions.length >= max) {
        batch = { partition, head, positions: [] };
        open.set(name, batch);
        all.push(batch);
      }
      batch.positions.push(at);
    }
    return all;
  }

  private async run(
    operation: string,
    code: Script,
    keys: string[],
    partition: number,
    args: string[],
  ): Promise<unknown[]> {
    const all = [...keys, this.keys.stream("user_state", partition)];
    const reply = await this.deps.redis.durable.script(operation, code, all, args);
    return Array.isArray(reply) ? reply : [];
  }
}

/** What a registration comes back with beside its epoch: a session, a reason, or nothing. */
function otherThan(user: string, text: string): Pick<Registered, "replaced" | "barred"> {
  if (text === "") return { replaced: null, barred: null };
  if (BARRED.has(text)) return { replaced: null, barred: text as BarReason };
  return { replaced: sessionOf(user, JSON.parse(text) as Stored), barred: null };
}

function sessionsOf(user: string, stored: string | null): Session[] {
  if (stored === null) return [];
  return (JSON.parse(stored) as Stored[]).map((session) => sessionOf(user, session));
}

function sessionOf(user: string, [device, access, gateway, conn, epoch, since]: Stored): Session {
  return { user, device, access, gateway, conn, epoch, since };
}
