/** All users of a run with their devices, some of which come and go the whole time. */
import type { SeededRandom } from "../../../src/sim/seeded_random.ts";
import type { ClientLog } from "./client_log.ts";
import type { Device } from "./device.ts";
import { RawDevice } from "./raw_device.ts";
import { SdkDevice } from "./sdk_device.ts";

export interface PopulationOptions {
  readonly log: ClientLog;
  readonly random: SeededRandom;
  readonly users: number;
  readonly gateways: readonly string[];
}

/** Of the devices, how many are away at a time while people come and go. */
const AWAY_SHARE = 0.15;
const CHURN_MS = 250;
const AWAY_MS = { from: 300, to: 6_000 } as const;

export class Population {
  readonly users: string[] = [];
  readonly devices: Device[] = [];
  private readonly away = new Set<Device>();
  private turn = 0;
  private churn: Timer | null = null;

  constructor(private readonly options: PopulationOptions) {
    const { gateways, log, users } = options;
    const gateway = () => gateways[this.turn++ % gateways.length] ?? "";
    const deps = { log, gateway };
    for (let i = 0; i < users; i++) {
      const user = `u${i}`;
      this.users.push(user);
      // Every third user has a second device, which runs the other software.
      const sdk = i % 2 === 0;
      this.devices.push(sdk ? new SdkDevice(user, "d1", deps) : new RawDevice(user, "d1", deps));
      if (i % 3 !== 0) continue;
      this.devices.push(sdk ? new RawDevice(user, "d2", deps) : new SdkDevice(user, "d2", deps));
    }
  }

  online(): Device[] {
    return this.devices.filter((device) => device.online);
  }

  /** Devices that nothing else is being done to. */
  present(): Device[] {
    return this.devices.filter((device) => device.online && !this.away.has(device));
  }

  async untilOnline(ms: number): Promise<boolean> {
    const until = performance.now() + ms;
    while (this.devices.some((device) => !device.online)) {
      if (performance.now() > until) return false;
      await Bun.sleep(20);
    }
    return true;
  }

  startChurn(): void {
    const { random } = this.options;
    this.churn = setInterval(() => {
      if (this.away.size >= this.devices.length * AWAY_SHARE) return;
      const present = this.present();
      if (present.length === 0) return;
      const device = random.pick(present);
      this.sendAway(device, random.chance(0.5) ? "close" : "kill");
    }, CHURN_MS);
  }

  /** Nobody leaves any more, and everybody comes back. */
  stopChurn(): void {
    if (this.churn !== null) clearInterval(this.churn);
    for (const device of this.away) device.comeBack();
    this.away.clear();
  }

  undecided(): number {
    return this.devices.reduce((sum, device) => sum + device.undecided, 0);
  }

  stop(): void {
    this.stopChurn();
    for (const device of this.devices) device.stop();
  }

  private sendAway(device: Device, how: "close" | "kill"): void {
    const { random } = this.options;
    this.away.add(device);
    device.leave(how);
    setTimeout(
      () => {
        if (!this.away.delete(device)) return;
        device.comeBack();
      },
      random.between(AWAY_MS.from, AWAY_MS.to),
    );
  }
}
