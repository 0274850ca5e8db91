/** The session directory in Redis: a hash per user partition, changed by one script per batch. */
import type { Limits } from "../limits.ts";
import type { RedisClient } from "../redis/client.ts";
import { type Script, script } from "../redis/lane.ts";
import { type Partitions, partitionOf } from "../topology.ts";
import type {
  NewSession,
  Presence,
  Registered,
  Session,
  SessionDirectory,
  SessionRef,
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

export class RedisSessions implements SessionDirectory {
  constructor(private readonly deps: RedisSessionsDeps) {}

  async register(sessions: readonly NewSession[]): Promise<Registered[]> {
    const results: Registered[] = [];
    const batches = this.batches(sessions, ({ access }) => access);
    await Promise.all(
      batches.map(async ({ partition, positions, head }) => {
        const args = [String(this.deps.limits.DEVICES_PER_USER_MAX), head];
        for (const at of positions) {
          const { user, device, gateway, conn, since } = sessions[at] as NewSession;
          args.push(user, device, gateway, String(conn), String(since));
        }
        const epochs = [this.keys.sessions(partition), this.keys.sessionEpoch(partition)];
        const reply = await this.run("register", register, epochs, partition, args);
        for (const [i, at] of positions.entries()) {
          const replaced = reply[2 * i + 1] as string;
          const user = (sessions[at] as NewSession).user;
          results[at] = {
            epoch: Number(reply[2 * i]),
            replaced: replaced === "" ? null : sessionOf(user, JSON.parse(replaced) as Stored),
          };
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
    const reply = await this.deps.redis.lane.script(operation, code, all, args);
    return Array.isArray(reply) ? reply : [];
  }
}

function sessionsOf(user: string, stored: string | null): Session[] {
  if (stored === null) return [];
  return (JSON.parse(stored) as Stored[]).map((session) => sessionOf(user, session));
}

function sessionOf(user: string, [device, access, gateway, conn, epoch, since]: Stored): Session {
  return { user, device, access, gateway, conn, epoch, since };
}
