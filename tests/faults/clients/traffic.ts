/**
 * What people say: in pairs and in groups, to who is there and who is not, and what a backend pushes.
 * It is paced by what has been accepted so far, so it falls behind while the cluster is in trouble
 * and catches up afterwards.
 */
import type { SeededRandom } from "../../../src/sim/seeded_random.ts";
import { bodyOf, type ClientLog } from "./client_log.ts";
import type { Device } from "./device.ts";
import type { Population } from "./population.ts";

export interface TrafficOptions {
  readonly log: ClientLog;
  readonly random: SeededRandom;
  readonly population: Population;
  readonly gateways: readonly string[];
  /** Accepted messages wanted, spread over this time. */
  readonly messages: number;
  readonly seconds: number;
}

const TICK_MS = 10;
const UNDECIDED_PER_DEVICE_MAX = 48;
const PER_TICK_MAX = 120;
const PUSHES_AT_ONCE_MAX = 16;
const PUSH_EVERY_MS = 100;
const GROUP_CHANGE_EVERY_MS = 1_500;
const HTTP_TIMEOUT_MS = 8_000;
const API = "/chatify/logic/v1";
/** Of those who would write to a group that they do not belong to, who tries. */
const STRANGERS = 0.02;
const MEMBERS = 12;
const STABLE_GROUPS = ["g-one", "g-two", "g-three"];
const CHANGING_GROUP = "g-changing";
const FILLER = "the quick brown fox jumps over the lazy dog ".repeat(12);

export class Traffic {
  operations = 0;
  private readonly name: string;
  private readonly timers: Timer[] = [];
  /** By group, as it was at first. */
  private readonly members = new Map<string, readonly string[]>();
  private startedAt = 0;
  private pushing = 0;

  constructor(private readonly options: TrafficOptions) {
    this.name = options.random.token(8);
  }

  /** Groups exist before anybody talks. */
  async createGroups(): Promise<void> {
    const { log, population, random } = this.options;
    for (const group of [...STABLE_GROUPS, CHANGING_GROUP]) {
      const members = random.shuffled(population.users).slice(0, MEMBERS);
      this.members.set(group, members);
      const body = { group_id: group, owner_id: members[0], members };
      const status = await this.post(`${API}/groups`, body, "POST");
      if (status !== 201) throw new Error(`creating ${group} was answered ${status}`);
      log.history.add({ kind: "group", group, change: "add", users: members, outcome: "ok" });
    }
  }

  start(): void {
    this.startedAt = performance.now();
    this.timers.push(
      setInterval(() => this.tick(), TICK_MS),
      setInterval(() => void this.push(), PUSH_EVERY_MS),
      setInterval(() => void this.changeGroup(), GROUP_CHANGE_EVERY_MS),
    );
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
  }

  /** Pushes without an answer. */
  get open(): number {
    return this.pushing;
  }

  /** `count` messages from whoever is there to one user. */
  flood(to: string, count: number): void {
    const { population, random } = this.options;
    const senders = population.present().filter(({ user }) => user !== to);
    if (senders.length === 0) return;
    for (let i = 0; i < count; i++) this.say(random.pick(senders), "USER", to);
  }

  private tick(): void {
    const { log, messages, population, random, seconds } = this.options;
    const passed = (performance.now() - this.startedAt) / 1_000;
    const due = Math.min(messages, (messages * passed) / seconds);
    const missing = due - log.accepted - population.undecided();
    const senders = population
      .present()
      .filter(({ undecided }) => undecided < UNDECIDED_PER_DEVICE_MAX);
    if (senders.length === 0) return;
    for (let i = Math.min(PER_TICK_MAX, Math.ceil(missing)); i > 0; i--) {
      const from = random.pick(senders);
      const group = random.chance(0.1) ? this.group() : null;
      const members = this.members.get(group ?? "") ?? [];
      const heard = members.includes(from.user) || random.chance(STRANGERS);
      if (group !== null && !heard) continue;
      if (group !== null) this.say(from, "GROUP", group);
      else this.say(from, "USER", this.partner(from.user));
    }
  }

  private group(): string {
    const { random } = this.options;
    return random.chance(0.2) ? CHANGING_GROUP : random.pick(STABLE_GROUPS);
  }

  /** Everybody talks to few others, so that conversations get long. */
  private partner(user: string): string {
    const { population, random } = this.options;
    const { users } = population;
    const step = random.pick([1, 2, 5, users.length - 1]);
    return users[(users.indexOf(user) + step) % users.length] ?? user;
  }

  private say(from: Device, target: "USER" | "GROUP", to: string): void {
    const { log, random } = this.options;
    const op = `${this.name}${(++this.operations).toString(36)}`;
    const nowS = Math.floor(log.now() / 1_000);
    const expireTime = random.chance(0.02) ? nowS + random.int(2, 8) : 0;
    const content = bodyOf(op, FILLER.slice(0, random.int(20, 400)));
    from.submit({ op, target, to, content, expireTime, retried: !random.chance(0.02) });
  }

  private async push(): Promise<void> {
    const { log, population, random } = this.options;
    if (this.pushing >= PUSHES_AT_ONCE_MAX) return;
    const op = `${this.name}${(++this.operations).toString(36)}`;
    const users = random.shuffled(population.users).slice(0, random.int(1, 4));
    const event = { kind: "push", op, users } as const;
    log.history.add({ ...event, outcome: "asked" });
    const content = Buffer.from(bodyOf(op, "news")).toString("base64");
    this.pushing++;
    const body = { content_id: op, content, push_type: "NOTICE", to_user_ids: users };
    const status = await this.post(`${API}/sendSystemPush`, body, "POST");
    this.pushing--;
    log.history.add({ ...event, outcome: status === 200 ? "ok" : "unknown" });
    if (status === 200) log.accept(op);
  }

  private async changeGroup(): Promise<void> {
    const { log, population, random } = this.options;
    const change = random.chance(0.5) ? "remove" : "add";
    const users = [random.pick(population.users)];
    const event = { kind: "group", group: CHANGING_GROUP, change, users } as const;
    log.history.add({ ...event, outcome: "asked" });
    const method = change === "add" ? "POST" : "DELETE";
    const path = `${API}/groups/${CHANGING_GROUP}/members`;
    const status = await this.post(path, { user_ids: users }, method);
    log.history.add({ ...event, outcome: status === 200 ? "ok" : "unknown" });
  }

  /** The status; 0 when nobody answered in time. */
  private async post(path: string, body: object, method: string): Promise<number> {
    const { gateways, random } = this.options;
    const signal = AbortSignal.timeout(HTTP_TIMEOUT_MS);
    const init = { method, body: JSON.stringify(body), signal };
    const response = await fetch(`http://${random.pick(gateways)}${path}`, init).catch(() => null);
    await response?.body?.cancel().catch(() => {});
    return response?.status ?? 0;
  }
}
