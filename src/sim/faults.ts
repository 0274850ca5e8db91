/**
 * What goes wrong in a world. Each fault begins at some time, ends by itself, and says so in the
 * history. `lastEnd` is when the last of them was over; from then on the cluster has to recover.
 */
import type { Role } from "../core/topology.ts";
import type { Cluster } from "./cluster.ts";
import { DataLoss } from "./data_loss.ts";
import { type Device, POLITE } from "./device.ts";
import type { History } from "./history.ts";
import type { Node } from "./node.ts";
import type { RedisState } from "./redis_server.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SeededRandom } from "./seeded_random.ts";

export interface FaultDeps {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly history: History;
  readonly cluster: Cluster;
  readonly devices: readonly Device[];
  readonly dataLoss: boolean;
  /** Only Redis' data is lost, and clients do as they like. */
  readonly alone: boolean;
  /** Called when something begins or ends to go wrong. */
  readonly onTrouble: () => void;
}

const ROLES = ["gateway", "access", "logic", "logic", "push", "push"] as const;
/** The requests at which something happens to a process of each role; "" is any. */
const AMBUSHED: Partial<Record<Role, readonly string[]>> = {
  access: ["append", "append", "register", "unregister", ""],
  logic: ["commit", "commit", "commit", "lease", "read", "take", "map_slices"],
  push: ["commit", "commit", "lookup", "lease", "read", "take", "map_slices"],
};
/** A fault that waits for something to happen is over after so long, whether it did or not. */
const AMBUSH_MS = 3_000;

export class Faults {
  count = 0;
  private end = 0;
  private ending = false;
  private redisBusy = false;
  private readonly kinds: (() => void)[] = [
    () => this.crash(),
    () => this.crash(),
    () => this.ambush("kill"),
    () => this.ambush("kill"),
    () => this.ambush("break"),
    () => this.ambush("break"),
    () => this.ambush("stop"),
    () => this.pause(),
    () => this.pause(),
    () => this.pause(),
    () => this.cutLink(),
    () => this.cutLink(),
    () => this.delayLink(),
    () => this.breakRedis(),
    () => this.breakRedis(),
    () => this.disturbRedis("frozen", 7_500),
    () => this.disturbRedis("down", 4_000),
    () => this.disturbStore(),
    () => this.pauseStore(),
    () => this.crashStore(),
    () => this.skewClock(),
    () => this.stopNode(),
    () => this.churn(),
    () => this.churn(),
    () => this.misbehave(),
    () => this.misbehave(),
    () => this.loseData(),
    () => this.loseData(),
  ];
  /** What happens where nothing but Redis' data is at fault. */
  private readonly harmless: (() => void)[] = [
    () => this.loseData(),
    () => this.loseData(),
    () => this.churn(),
    () => this.misbehave(),
  ];
  private readonly dataLoss: DataLoss;

  constructor(private readonly deps: FaultDeps) {
    const onLost = () => this.note("Redis works, with less than it had");
    this.dataLoss = new DataLoss({ ...deps, onLost });
  }

  get lastEnd(): number {
    return this.end;
  }

  plan(from: number, to: number, count: number): void {
    const { random, scheduler } = this.deps;
    for (let i = 0; i < count; i++) {
      const begin = random.pick(this.deps.alone ? this.harmless : this.kinds);
      scheduler.at(random.between(from, to), () => {
        if (this.ending) return;
        this.count++;
        begin();
      });
    }
  }

  /** No more faults begin; those that wait for something to happen give up. */
  finish(): void {
    this.ending = true;
    for (const node of this.deps.cluster.nodes) node.link.watch = null;
  }

  private note(text: string): void {
    const { history, onTrouble, random, scheduler } = this.deps;
    history.add({ kind: "note", text });
    this.end = Math.max(this.end, scheduler.now());
    if (!this.ending && random.chance(0.6)) onTrouble();
  }

  /** Runs `fn` after a time, which is when the fault is over. */
  private later(from: number, to: number, fn: () => void): void {
    const { random, scheduler } = this.deps;
    scheduler.after(random.between(from, to), fn);
  }

  private anyNode(): Node | null {
    const { cluster, random } = this.deps;
    const nodes = cluster.of(random.pick(ROLES)).filter(({ draining }) => !draining);
    return nodes.length === 0 ? null : random.pick(nodes);
  }

  private loseData(): void {
    if (this.deps.dataLoss) this.dataLoss.begin();
  }

  private crash(): void {
    const node = this.anyNode();
    if (node !== null) this.kill(node, "is killed");
  }

  private kill(node: Node, how: string): void {
    if (!node.host.alive) return;
    this.note(`${node.host.id} ${how}`);
    node.host.kill();
    this.restart(node.role);
  }

  private restart(role: Role): void {
    if (role === "offline") return;
    this.later(200, 4_000, () => {
      const node = this.deps.cluster.start(role);
      this.note(`${node.host.id} starts`);
    });
  }

  /**
   * Something happens to a process at one of its next requests to Redis, just before or just after
   * the request has its effect: it dies, or stops, or loses its connection.
   */
  private ambush(action: "kill" | "break" | "stop"): void {
    const { random, scheduler } = this.deps;
    const node = this.anyNode();
    if (node === null) return;
    const moment = random.pick(["before", "after"] as const);
    const operation = random.pick(AMBUSHED[node.role] ?? [""]);
    let skip = random.int(0, 4);
    let times = action === "break" ? random.int(1, 3) : 1;
    node.link.watch = (name, when) => {
      if (when !== moment || (operation !== "" && name !== operation) || skip-- > 0) return;
      if (--times <= 0) node.link.watch = null;
      const where = `${moment} a ${name} takes effect`;
      if (action === "kill") this.kill(node, `is killed ${where}`);
      else if (action === "stop") this.stop(node, `is stopped ${where}`);
      else {
        this.note(`${node.host.id} loses its connections to Redis ${where}`);
        node.link.break();
      }
    };
    scheduler.after(AMBUSH_MS, () => {
      node.link.watch = null;
    });
  }

  private pause(): void {
    const node = this.anyNode();
    if (node !== null) this.stop(node, "is stopped");
  }

  /** SIGSTOP, and SIGCONT some time later. */
  private stop(node: Node, how: string): void {
    const { cluster, random } = this.deps;
    if (node.host.paused) return;
    this.note(`${node.host.id} ${how}`);
    cluster.pause(node);
    // Mostly for longer than the lease lasts: what wakes up then is an owner of nothing.
    const from = random.chance(0.6) ? 2_600 : 100;
    this.later(from, 7_000, () => {
      if (!node.host.alive) return;
      cluster.resume(node);
      this.note(`${node.host.id} goes on`);
    });
  }

  private cutLink(): void {
    const { cluster, random } = this.deps;
    const access = cluster.of("access");
    const others = cluster.nodes.filter((node) => !node.draining);
    if (access.length === 0) return;
    const [a, b] = [random.pick(access), random.pick(others)];
    if (a === b) return;
    const [first, second] = [random.between(0, 1_500), random.between(0, 1_500)];
    this.note(`the link ${a.host.id} ⇄ ${b.host.id} is cut`);
    const blocked = random.chance(0.4);
    if (blocked) cluster.hub.block(a.host.id, b.host.id);
    cluster.hub.cut(a.host.id, b.host.id, first, second);
    this.later(1_500, 3_000, () => {
      cluster.hub.unblock(a.host.id, b.host.id);
      this.note(`the link ${a.host.id} ⇄ ${b.host.id} may work again`);
    });
  }

  private delayLink(): void {
    const { cluster, random } = this.deps;
    const [a, b] = [random.pick(cluster.nodes), random.pick(cluster.nodes)];
    const ms = random.between(1, 600);
    this.note(`the link ${a.host.id} ⇄ ${b.host.id} takes ${ms.toFixed(0)} ms`);
    cluster.hub.delay(a.host.id, b.host.id, ms);
    this.later(500, 4_000, () => {
      cluster.hub.delay(a.host.id, b.host.id, 0);
      this.note(`the link ${a.host.id} ⇄ ${b.host.id} is fast again`);
    });
  }

  /** Connections of a process to Redis break a few times, with whatever is on its way. */
  private breakRedis(): void {
    const { random } = this.deps;
    const node = this.anyNode();
    if (node === null) return;
    const times = random.int(1, 4);
    for (let i = 0; i < times; i++) {
      this.later(0, 1_000, () => {
        if (!node.host.alive) return;
        this.note(`${node.host.id} loses its connections to Redis`);
        node.link.break();
      });
    }
  }

  private disturbRedis(state: RedisState, msMax: number): void {
    if (this.redisBusy) return;
    this.redisBusy = true;
    const { redis } = this.deps.cluster;
    this.note(`Redis is ${state}`);
    redis.become(state);
    this.later(100, msMax, () => {
      redis.become("up");
      this.redisBusy = false;
      this.note("Redis works again");
    });
  }

  private disturbStore(): void {
    const { cluster, random } = this.deps;
    this.note("the offline database fails now and then");
    cluster.store.errors = random.between(0.2, 1);
    cluster.store.lostReplies = random.between(0, 0.6);
    this.later(200, 5_000, () => {
      cluster.store.errors = cluster.store.lostReplies = 0;
      this.note("the offline database works again");
    });
  }

  private pauseStore(): void {
    const { host } = this.deps.cluster.store;
    if (host.paused || !host.alive) return;
    this.note("the offline process is stopped");
    host.pause();
    this.later(100, 7_000, () => {
      host.resume();
      this.note("the offline process goes on");
    });
  }

  private crashStore(): void {
    const { cluster } = this.deps;
    this.note("the offline process is killed");
    cluster.store.host.kill();
    this.later(100, 4_000, () => {
      cluster.restartStore();
      this.note("the offline process starts");
    });
  }

  private skewClock(): void {
    const { random } = this.deps;
    const node = this.anyNode();
    if (node === null) return;
    const { clock, id } = node.host;
    clock.skewMs = random.between(-4_000, 4_000);
    this.note(`the wall clock of ${id} jumps by ${clock.skewMs.toFixed(0)} ms`);
    this.later(500, 4_000, () => {
      clock.skewMs = 0;
      this.note(`the wall clock of ${id} is right again`);
    });
  }

  /** A rolling restart of one process. */
  private stopNode(): void {
    const node = this.anyNode();
    if (node === null) return;
    this.note(`${node.host.id} is asked to stop`);
    this.restart(node.role);
    node.host.whenKilled(() => this.note(`${node.host.id} has ended`));
    this.deps.scheduler.after(9_000, () => node.host.kill());
    void node.stop();
  }

  private churn(): void {
    const { devices, random } = this.deps;
    const some = random.shuffled(devices).slice(0, random.int(1, devices.length / 2));
    this.note(`${some.map(({ user, id }) => `${user}/${id}`).join()} leave`);
    for (const device of some) {
      if (random.chance(0.5)) device.crash(random.chance(0.5));
      else {
        device.goAway();
        this.later(100, 8_000, () => device.goOnline());
      }
    }
  }

  private misbehave(): void {
    const { devices, random } = this.deps;
    const some = random.shuffled(devices).slice(0, random.int(1, 3));
    for (const device of some) {
      device.habits = {
        ackMs: random.pick([20, 500, 4_000, 8_000]),
        readMs: random.pick([0, 0, 150, 700]),
        dies: random.pick([0, 0.1, 0.4]),
      };
      if (device.wire !== null) device.wire.readMs = device.habits.readMs;
      const { ackMs, readMs, dies } = device.habits;
      const how = `acks in ${ackMs} ms, reads in ${readMs} ms, dies at ${dies}`;
      this.note(`${device.user}/${device.id} ${how}`);
      this.later(1_000, 6_000, () => {
        device.habits = { ...POLITE };
        if (device.wire !== null) device.wire.readMs = 0;
        this.note(`${device.user}/${device.id} is polite again`);
      });
    }
  }
}
