/** Many users with one device each, all on the SDK, who write to each other at an even rate. */
import type { SeededRandom } from "../../../src/sim/seeded_random.ts";
import { bodyOf, type ClientLog } from "../clients/client_log.ts";
import { SdkDevice } from "../clients/sdk_device.ts";

const TICK_MS = 20;
const JOIN_PER_TICK = 60;
const UNDECIDED_MAX = 4;

export interface StormOptions {
  readonly log: ClientLog;
  readonly random: SeededRandom;
  readonly clients: number;
  readonly gateways: readonly string[];
  /** By all together. */
  readonly messagesPerSecond: number;
}

export class StormPopulation {
  readonly devices: SdkDevice[] = [];
  private turn = 0;
  private operations = 0;
  private timer: Timer | null = null;
  private readonly name: string;

  constructor(private readonly options: StormOptions) {
    this.name = options.random.token(8);
  }

  /** Everybody comes online, some at a time. */
  async join(ms: number): Promise<void> {
    const { clients, gateways, log } = this.options;
    const gateway = () => gateways[this.turn++ % gateways.length] ?? "";
    while (this.devices.length < clients) {
      for (let i = 0; i < JOIN_PER_TICK && this.devices.length < clients; i++) {
        const user = `s${this.devices.length}`;
        this.devices.push(new SdkDevice(user, "d1", { log, gateway }));
      }
      await Bun.sleep(TICK_MS);
    }
    if (!(await this.allOnline(ms))) throw new Error(`${this.away()} clients did not come online`);
  }

  away(): number {
    return this.devices.filter(({ online }) => !online).length;
  }

  async allOnline(ms: number): Promise<boolean> {
    const until = performance.now() + ms;
    while (this.away() > 0) {
      if (performance.now() > until) return false;
      await Bun.sleep(50);
    }
    return true;
  }

  undecided(): number {
    return this.devices.reduce((sum, { undecided }) => sum + undecided, 0);
  }

  startTalking(): void {
    const { messagesPerSecond } = this.options;
    const start = performance.now();
    const before = this.operations;
    this.timer = setInterval(() => {
      const due = ((performance.now() - start) * messagesPerSecond) / 1_000;
      while (this.operations - before < due) this.say();
    }, TICK_MS);
  }

  stopTalking(): void {
    if (this.timer !== null) clearInterval(this.timer);
  }

  stop(): void {
    this.stopTalking();
    for (const device of this.devices) device.stop();
  }

  /** Somebody writes to somebody; who is away just now keeps it until they are back. */
  private say(): void {
    const { random } = this.options;
    const op = `${this.name}${(++this.operations).toString(36)}`;
    const from = random.pick(this.devices);
    const to = random.pick(this.devices).user;
    if (from.undecided >= UNDECIDED_MAX || to === from.user) return;
    const content = bodyOf(op, "the quick brown fox jumps over the lazy dog, twice and again");
    from.submit({ op, target: "USER", to, content, expireTime: 0, retried: true });
  }
}
