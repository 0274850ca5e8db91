/**
 * Redis loses what it had confirmed: all of it (FLUSHALL), a stream, a group, or everything after
 * some moment (a file that was cut short, a replica that lagged behind and was promoted).
 */
import { GROUP_TOPICS, type Topic } from "../core/topology.ts";
import { type Cluster, PARTITIONS } from "./cluster.ts";
import type { History } from "./history.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SeededRandom } from "./seeded_random.ts";

export interface DataLossDeps {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly history: History;
  readonly cluster: Cluster;
  /** Nothing else goes wrong in this world, so owners remember what they numbered. */
  readonly alone: boolean;
  /** Called when something was lost. */
  readonly onLost: () => void;
}

const TOPICS: readonly Topic[] = [...GROUP_TOPICS.logic, ...GROUP_TOPICS.push];
/** How far behind a replica is, or how much of a file is gone. */
const BEHIND_MS_MAX = 3_000;
/** How long the server is away when it restarts or another one takes its place. */
const AWAY_MS_MAX = 1_500;

export class DataLoss {
  private busy = false;

  constructor(private readonly deps: DataLossDeps) {}

  begin(): void {
    const { random } = this.deps;
    if (this.busy) return;
    random.pick([
      () => this.flush(),
      () => this.drop(),
      () => this.rewind(),
      () => this.rewind(),
    ])();
  }

  private flush(): void {
    this.deps.cluster.engine.clear();
    this.lost("everything");
  }

  private drop(): void {
    const { cluster, random } = this.deps;
    const topic = random.pick(TOPICS);
    const count = topic === "chat_input" ? PARTITIONS.chat : PARTITIONS.user;
    const key = cluster.engine.keys.stream(topic, random.int(0, count - 1));
    if (random.chance(0.5)) {
      cluster.engine.dropStream(key);
      this.lost(key);
    } else {
      cluster.engine.dropGroup(key);
      this.lost(`the group of ${key}`);
    }
  }

  /** Goes back to what was there some time ago, as another process. */
  private rewind(): void {
    const { cluster, random, scheduler } = this.deps;
    const restore = cluster.engine.snapshot();
    this.busy = true;
    scheduler.after(random.between(1, BEHIND_MS_MAX), () => {
      this.busy = false;
      // Whatever else keeps the server away ends as it likes.
      if (!cluster.redis.fail(random.between(0, AWAY_MS_MAX), this.deps.onLost)) return;
      restore();
      this.lost("the latest writes");
    });
  }

  private lost(what: string): void {
    const { alone, cluster, history, onLost } = this.deps;
    const kept = cluster.database
      .all()
      .filter(({ expire_time }) => expire_time === 0)
      .map(({ user_id, msg_id }): [string, string] => [user_id, msg_id]);
    cluster.lostData = true;
    history.add({ kind: "loss", what, kept, remembered: alone });
    onLost();
  }
}
