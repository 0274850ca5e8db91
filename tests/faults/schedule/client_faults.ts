/** Clients that misbehave, or that have bad luck. */
import { writeDevToken } from "../../../src/core/auth/dev_tokens.ts";
import { SeededRandom } from "../../../src/sim/seeded_random.ts";
import type { FaultAct, Theatre } from "./fault_act.ts";
import type { PlannedFault } from "./schedule.ts";

const SLOW_BYTES_PER_SECOND = 2_048;
const FLOOD = 300;
const VICTIMS = 6;

export function clientFault(fault: PlannedFault, theatre: Theatre): FaultAct[] {
  const random = new SeededRandom(Math.floor(fault.draw * 2 ** 32));
  switch (fault.kind) {
    case "slow reader":
      return slowReader(fault, theatre, random);
    case "reconnect storm":
      return [{ target: "all clients", run: () => storm(theatre) }];
    case "duplicate login":
      return [{ target: "logins", run: async () => loginTwice(theatre, random) }];
    case "forged acks":
      return [{ target: "acks", run: async () => forge(theatre, random) }];
    case "client killed before ack":
      return [{ target: "receivers", run: async () => killReceivers(theatre, random) }];
    default:
      throw new Error(`${fault.kind} is nothing that clients do`);
  }
}

/** One user's link carries 2 KB/s while others write more to them than that. */
function slowReader(fault: PlannedFault, theatre: Theatre, random: SeededRandom): FaultAct[] {
  const { population, stage, traffic } = theatre;
  const user = random.pick(population.users);
  const peer = `${writeDevToken(user)}`;
  const slow = { kind: "throttle", bytesPerSecond: SLOW_BYTES_PER_SECOND } as const;
  const links = stage.linksBetween("client-gateway");
  return [
    {
      target: user,
      locks: links.map(({ name }) => name),
      run: async () => {
        for (const { name } of links) await stage.network.set(name, slow, peer);
        traffic.flood(user, FLOOD);
        await Bun.sleep(fault.durationMs);
        for (const { name } of links) await stage.network.set(name, null);
      },
    },
  ];
}

/** Everybody loses their connection in the same moment and comes back at once. */
async function storm({ stage }: Theatre): Promise<void> {
  const links = stage.linksBetween("client-gateway");
  await Promise.all(links.map(({ name }) => stage.network.reset(name)));
}

function loginTwice({ population }: Theatre, random: SeededRandom): void {
  const devices = random.shuffled(population.present()).slice(0, VICTIMS);
  for (const device of devices) device.loginAgain();
}

/** Ids that nobody has, and ids of messages that are somebody else's to ack. */
function forge({ log, population }: Theatre, random: SeededRandom): void {
  const invented = Array.from({ length: 50 }, () => random.token(19));
  const others = log.recentIds.slice(-200);
  for (const device of random.shuffled(population.present()).slice(0, VICTIMS)) {
    device.forgeAcks([...invented, ...others]);
  }
}

function killReceivers({ population }: Theatre, random: SeededRandom): void {
  const devices = random.shuffled(population.present()).slice(0, VICTIMS);
  for (const device of devices) device.dieBeforeAck(random.between(50, 2_500));
}
