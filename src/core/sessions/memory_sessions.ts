/** The session directory in memory, for the simulator: what the scripts in Redis do, as code. */
import type { Limits } from "../limits.ts";
import { directAccess, type MemoryAccess, type MemoryEngine } from "../streams/memory_engine.ts";
import { type Partitions, partitionOf } from "../topology.ts";
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
  type UserStateEvent,
} from "./contract.ts";

export interface MemorySessionsDeps {
  readonly engine: MemoryEngine;
  readonly partitions: Partitions;
  readonly limits: Pick<Limits, "DEVICES_PER_USER_MAX">;
  readonly access?: MemoryAccess;
}

interface StoredBar {
  readonly tokens: number;
  readonly kicks: Readonly<Record<string, number>>;
}

type Events = Map<number, UserStateEvent[]>;

export class MemorySessions implements SessionDirectory {
  private readonly engine: MemoryEngine;
  private readonly access: MemoryAccess;

  constructor(private readonly deps: MemorySessionsDeps) {
    this.engine = deps.engine;
    this.access = deps.access ?? directAccess(deps.engine.clock);
  }

  register(sessions: readonly NewSession[]): Promise<Registered[]> {
    return this.access.perform("register", () => {
      const events: Events = new Map();
      const results = sessions.map((session) => this.add(session, events));
      this.publish(events);
      return results;
    });
  }

  unregister(sessions: readonly SessionRef[]): Promise<void> {
    return this.access.perform("unregister", () => {
      const events: Events = new Map();
      for (const session of sessions) this.remove(session, events);
      this.publish(events);
    });
  }

  bar(user: string, wanted: Bar): Promise<void> {
    return this.access.perform("bar", () => {
      const { engine } = this;
      const bars = engine.fieldsOf(engine.keys.bars(this.partitionOf(user)));
      const bar = this.barOf(user);
      const kicks = Object.entries(bar.kicks).filter(([, at]) => {
        return at > engine.now() - KICK_KEPT_S * 1_000;
      });
      if ("kick" in wanted) kicks.push([wanted.kick ?? "", engine.now()]);
      const tokens = "kick" in wanted ? bar.tokens : Math.max(bar.tokens, wanted.tokensBefore);
      bars.set(user, JSON.stringify({ tokens, kicks: Object.fromEntries(kicks) }));
    });
  }

  tokensBefore(user: string): Promise<number> {
    return this.access.perform("bar", () => this.barOf(user).tokens);
  }

  lookup(users: readonly string[]): Promise<Presence[]> {
    return this.access.perform("lookup", () =>
      users.map((user) => {
        const key = this.engine.keys.map("stored", "push", this.partitionOf(user));
        return { sessions: this.of(user), stored: this.engine.fieldsOf(key).has(user) };
      }),
    );
  }

  async *scan(partition: number): AsyncIterable<readonly Session[]> {
    const key = this.engine.keys.sessions(partition);
    const page = await this.access.perform("scan_sessions", () =>
      [...this.engine.sessionsAt(key).values()].flatMap((json) => JSON.parse(json) as Session[]),
    );
    if (page.length > 0) yield page;
  }

  onlineCount(): Promise<number> {
    return this.access.perform("online_count", () =>
      [...this.engine.sessions.values()].reduce((sum, users) => sum + users.size, 0),
    );
  }

  private add(session: NewSession, events: Events): Registered {
    const { user, device, access, gateway, conn, since } = session;
    const barred = this.barred(session);
    if (barred !== null) return { epoch: 0, replaced: null, barred };
    const sessions = this.of(user);
    const at = sessions.findIndex((other) => other.device === device);
    if (at < 0 && sessions.length >= this.deps.limits.DEVICES_PER_USER_MAX) {
      return { epoch: 0, replaced: null, barred };
    }
    const later = sessions[at];
    if (later !== undefined && since < later.since) return { epoch: 0, replaced: later, barred };
    const partition = this.partitionOf(user);
    const counter = this.engine.keys.sessionEpoch(partition);
    const epoch = this.engine.count(counter, this.engine.now());
    const old = sessions[at] ?? null;
    sessions[at < 0 ? sessions.length : at] = { user, device, access, gateway, conn, epoch, since };
    this.store(user, sessions);
    const event: UserStateEvent = ["online", user, device, access, gateway, conn, epoch, since];
    append(events, partition, event);
    const same = old !== null && old.gateway === gateway && old.conn === conn;
    return { epoch, replaced: same ? null : old, barred };
  }

  private barred({ device, issuedAt, since, user }: NewSession): BarReason | null {
    const { kicks, tokens } = this.barOf(user);
    if (issuedAt < tokens) return "token_revoked";
    return since <= Math.max(kicks[""] ?? 0, kicks[device] ?? 0) ? "kicked" : null;
  }

  private barOf(user: string): StoredBar {
    const key = this.engine.keys.bars(this.partitionOf(user));
    const stored = this.engine.fieldsOf(key).get(user);
    return stored === undefined ? { tokens: 0, kicks: {} } : (JSON.parse(stored) as StoredBar);
  }

  private remove({ user, device, gateway, conn, epoch }: SessionRef, events: Events): void {
    const sessions = this.of(user);
    const found = sessions.find(
      (other) =>
        other.device === device &&
        other.gateway === gateway &&
        other.conn === conn &&
        other.epoch === epoch,
    );
    if (found === undefined) return;
    this.store(
      user,
      sessions.filter((other) => other !== found),
    );
    const { access, since } = found;
    const event: UserStateEvent = ["offline", user, device, access, gateway, conn, epoch, since];
    append(events, this.partitionOf(user), event);
  }

  private publish(events: Events): void {
    for (const [partition, all] of events) {
      this.engine.append("user_state", partition, JSON.stringify(all), 0);
    }
  }

  private of(user: string): Session[] {
    const json = this.engine.sessionsAt(this.keyOf(user)).get(user);
    return json === undefined ? [] : (JSON.parse(json) as Session[]);
  }

  private store(user: string, sessions: readonly Session[]): void {
    const users = this.engine.sessionsAt(this.keyOf(user));
    if (sessions.length === 0) users.delete(user);
    else users.set(user, JSON.stringify(sessions));
  }

  private keyOf(user: string): string {
    return this.engine.keys.sessions(this.partitionOf(user));
  }

  private partitionOf(user: string): number {
    return partitionOf(user, this.deps.partitions.user);
  }
}

function append(events: Events, partition: number, event: UserStateEvent): void {
  const all = events.get(partition) ?? [];
  all.push(event);
  events.set(partition, all);
}
