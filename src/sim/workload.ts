/** What users do in a world: they write to each other and to groups, groups change, systems push. */
import type { Cluster } from "./cluster.ts";
import type { Device, Operation } from "./device.ts";
import type { History } from "./history.ts";
import { post, upload } from "./node.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SeededRandom } from "./seeded_random.ts";

export interface WorkloadDeps {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly history: History;
  readonly cluster: Cluster;
  readonly devices: readonly Device[];
  readonly users: readonly string[];
}

const HTTP_TIMEOUT_MS = 8_000;
/** How long whoever is sent away stays away, and when others write meanwhile. */
const EVICTED_MS = 4_000;
const EVICTED_WRITES_MS = [0, 5, 600, 1_400, 2_500];
const GROUPS = ["g1", "g2"];
const JOBS_PATH = "/chatify/logic/v1/pushJobs";
const GROUP_PATH = "/chatify/logic/v1/groups";

export class Workload {
  /** Messages and pushes that were asked for. */
  operations = 0;

  constructor(private readonly deps: WorkloadDeps) {}

  /** Groups exist before anybody connects. */
  createGroups(): void {
    const { cluster, history, random, users } = this.deps;
    for (const group of GROUPS) {
      const members = random.shuffled(users).slice(0, 5);
      const owner = members[0] ?? "";
      void cluster.relations.createGroup(group, owner, members);
      history.add({ kind: "group", group, change: "add", users: members, outcome: "ok" });
    }
  }

  /** Spreads everything over the time from `from` to `to`. */
  plan(from: number, to: number, messages: number): void {
    const { random, scheduler } = this.deps;
    for (let i = 0; i < messages; i++) {
      scheduler.at(random.between(from, to), () => this.say());
    }
    for (let i = 0; i < 3; i++) scheduler.at(random.between(from, to), () => this.changeGroup());
    for (let i = 0; i < 3; i++) scheduler.at(random.between(from, to), () => this.push());
    for (let i = 0; i < 2; i++) scheduler.at(random.between(from, to), () => this.pushJob());
  }

  /** Trouble attracts traffic: several users write at once, a moment apart. */
  rush(): void {
    const { random, scheduler } = this.deps;
    let wait = random.between(0, 20);
    for (let i = random.int(2, 5); i > 0; i--) {
      scheduler.after(wait, () => this.say());
      wait += random.between(0.2, 6);
    }
  }

  /** An administrator sends a device away, which comes back later; others write to its user meanwhile. */
  evict(): void {
    const { cluster, devices, history, random, scheduler } = this.deps;
    const online = devices.filter((device) => device.online);
    const node = cluster.of("push").find(({ app, draining }) => app !== null && !draining);
    if (online.length < 2 || node?.app == null) return;
    const { id: device, user } = random.pick(online);
    post(node.app, `/chatify/push/v1/users/${user}/kick`, { device_id: device }).then(
      (response) => {
        if (response.status !== 200) return;
        history.add({ kind: "evicted", user, device, why: "kicked" });
      },
      () => history.add({ kind: "note", text: `${user}/${device} could not be sent away` }),
    );
    const writers = online.filter((each) => each.user !== user);
    for (const ms of EVICTED_WRITES_MS) {
      scheduler.after(ms, () => {
        if (writers.length > 0) random.pick(writers).submit(this.operation("USER", user, user));
      });
    }
    scheduler.after(EVICTED_MS, () =>
      devices.find((d) => d.user === user && d.id === device)?.goOnline(),
    );
  }

  private say(): void {
    const { devices, random, users } = this.deps;
    const device = random.pick(devices);
    const burst = random.chance(0.2) ? random.int(2, 5) : 1;
    const target = random.chance(0.35) ? "GROUP" : "USER";
    const to = target === "GROUP" ? random.pick(GROUPS) : this.partner(device.user);
    for (let i = 0; i < burst; i++) device.submit(this.operation(target, to, random.pick(users)));
  }

  /** Everybody talks to few others, so that conversations get long. */
  private partner(user: string): string {
    const { random, users } = this.deps;
    const at = users.indexOf(user);
    const near = [1, 2, users.length - 1].map((step) => users[(at + step) % users.length] ?? user);
    return random.chance(0.8) ? random.pick(near) : random.pick(users.filter((u) => u !== user));
  }

  /** `claim` is whom the client pretends to be, which nobody may believe. */
  private operation(target: "USER" | "GROUP", to: string, claim: string): Operation {
    const { random, scheduler } = this.deps;
    const op = `m${++this.operations}`;
    const nowS = Math.floor(scheduler.now() / 1_000);
    const expireTime = random.chance(0.1) ? nowS + random.int(1, 4) : 0;
    return { op, target, to, expireTime, content: JSON.stringify({ token: op, claim }) };
  }

  private changeGroup(): void {
    const { cluster, history, random, users } = this.deps;
    const node = cluster.of("logic").find(({ app, draining }) => app !== null && !draining);
    if (node?.app == null) return;
    const group = random.pick(GROUPS);
    const change = random.chance(0.6) ? "remove" : "add";
    const event = { kind: "group" as const, group, change, users: [random.pick(users)] } as const;
    history.add({ ...event, outcome: "asked" });
    const path = `${GROUP_PATH}/${group}/members`;
    const method = change === "add" ? "POST" : "DELETE";
    const done = this.once((outcome) => history.add({ ...event, outcome }));
    post(node.app, path, { user_ids: event.users }, method).then(
      (response) => done(response.status === 200 ? "ok" : "unknown"),
      () => done("unknown"),
    );
  }

  private push(): void {
    const { cluster, history, random, users } = this.deps;
    const node = random.shuffled(cluster.of("logic")).find(({ app }) => app !== null);
    if (node?.app == null) return;
    const op = `p${++this.operations}`;
    const to = random.shuffled(users).slice(0, random.int(1, 4));
    const event = { kind: "push" as const, op, users: to };
    history.add({ ...event, outcome: "asked" });
    const content = Buffer.from(JSON.stringify({ token: op })).toString("base64");
    const body = { content_id: op, content, push_type: "NOTICE", to_user_ids: to };
    const done = this.once((outcome) => history.add({ ...event, outcome }));
    post(node.app, "/chatify/logic/v1/sendSystemPush", body).then(
      (response) => done(response.status === 200 ? "ok" : "unknown"),
      () => done("unknown"),
    );
  }

  /** A job is a push whose recipients come on lines, some of them twice. */
  private pushJob(): void {
    const { cluster, history, random, users } = this.deps;
    const node = random.shuffled(cluster.of("logic")).find(({ app }) => app !== null);
    if (node?.app == null) return;
    const op = `j${++this.operations}`;
    const to = random.shuffled(users).slice(0, random.int(2, users.length));
    const event = { kind: "push" as const, op, users: to };
    history.add({ ...event, outcome: "asked" });
    const content = Buffer.from(JSON.stringify({ token: op })).toString("base64");
    const rate = random.chance(0.5) ? random.int(1, 20) : 0;
    const lines = [JSON.stringify({ content_id: op, content, rate }), ...to, random.pick(to)];
    const done = this.once((outcome) => history.add({ ...event, outcome }));
    upload(node.app, JOBS_PATH, `${lines.join("\n")}\n`).then(
      (response) => done(response.status === 201 ? "ok" : "unknown"),
      () => done("unknown"),
    );
  }

  /** Whoever asks waits for so long; an answer that comes later is not heard. */
  private once(record: (outcome: "ok" | "unknown") => void) {
    let open = true;
    const settle = (outcome: "ok" | "unknown") => {
      if (!open) return;
      open = false;
      record(outcome);
    };
    this.deps.scheduler.after(HTTP_TIMEOUT_MS, () => settle("unknown"));
    return settle;
  }
}
