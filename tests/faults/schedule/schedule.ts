/**
 * What happens when, from a seed: the same seed, time and number give the same schedule. Kinds are
 * dealt like cards, so that each comes about as often as any other. Some faults come in pairs that
 * overlap; every other kill is alone, so that how long it is felt can be measured.
 */
import { SeededRandom } from "../../../src/sim/seeded_random.ts";
import { type FaultKind, isKill } from "./fault_kinds.ts";

export interface PlannedFault {
  readonly number: number;
  readonly kind: FaultKind;
  /** Milliseconds from the start of the run. */
  readonly atMs: number;
  readonly durationMs: number;
  /** Nothing else goes on meanwhile, so that how long it is felt can be measured. */
  readonly alone: boolean;
  /** Uniform in [0, 1): picks the target, and whatever else there is to pick. */
  readonly draw: number;
}

export interface ScheduleOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: number;
  readonly kinds: readonly FaultKind[];
  /** Of all faults, how many come in pairs. */
  readonly pairedShare: number;
  /** The longest that a process is stopped. */
  readonly stopMaxMs: number;
}

/** A fault that is alone gets so much more time than another one. */
const ALONE_WEIGHT = 2.2;
const DURATION_MS = { from: 100, to: 3_500 } as const;

export function plan(options: ScheduleOptions): PlannedFault[] {
  const random = new SeededRandom(options.seed);
  const slots = dealSlots(options, random);
  const weights = slots.map(({ alone }) => (alone ? ALONE_WEIGHT : 1));
  const unitMs = (options.seconds * 1_000) / weights.reduce((a, b) => a + b, 0);
  const planned: PlannedFault[] = [];
  let atMs = 0;
  for (const [i, { alone, kinds }] of slots.entries()) {
    const first = durationOf(kinds[0] as FaultKind, options, random);
    for (const [place, kind] of kinds.entries()) {
      const durationMs = place === 0 ? first : durationOf(kind, options, random);
      // The second begins while the first goes on.
      const offset = place === 0 ? 0 : random.between(0.1, 0.8) * Math.min(first, unitMs);
      const number = planned.length + 1;
      const draw = random.fraction();
      planned.push({ number, kind, alone, atMs: Math.round(atMs + offset), durationMs, draw });
    }
    atMs += (weights[i] ?? 1) * unitMs;
  }
  return planned;
}

/** One fault, or two that overlap. */
interface Slot {
  readonly kinds: readonly FaultKind[];
  readonly alone: boolean;
}

function dealSlots(options: ScheduleOptions, random: SeededRandom): Slot[] {
  const deck: FaultKind[] = [];
  const draw = (): FaultKind => {
    if (deck.length === 0) deck.push(...random.shuffled(options.kinds));
    return deck.pop() as FaultKind;
  };
  const cards = Array.from({ length: options.faults }, draw);
  // The first kill of each role, the third, and so on.
  const isAlone = cards.map((kind, i) => {
    return isKill(kind) && cards.slice(0, i).filter((before) => before === kind).length % 2 === 0;
  });
  const singles = cards.filter((_, i) => isAlone[i]);
  const others = random.shuffled(cards.filter((_, i) => !isAlone[i]));
  const pairs: FaultKind[][] = [];
  const wanted = Math.floor((options.faults * options.pairedShare) / 2);
  while (pairs.length < wanted && others.length > 1) pairs.push(others.splice(0, 2));
  return random.shuffled([
    ...singles.map((kind) => ({ kinds: [kind], alone: true })),
    ...[...pairs, ...others.map((kind) => [kind])].map((kinds) => ({ kinds, alone: false })),
  ]);
}

/** Log-uniform: most are short, a few are very long. */
function durationOf(kind: FaultKind, options: ScheduleOptions, random: SeededRandom): number {
  const isStop = kind.includes("SIGSTOP");
  const to = isStop ? options.stopMaxMs : Math.min(DURATION_MS.to, options.stopMaxMs);
  const { from } = DURATION_MS;
  return Math.round(from * (to / from) ** random.fraction());
}

export function describePlan(faults: readonly PlannedFault[]): string[] {
  return faults.map(({ atMs, draw, durationMs, kind, number }) => {
    const at = (atMs / 1_000).toFixed(2).padStart(8);
    const duration = (durationMs / 1_000).toFixed(2);
    return `${String(number).padStart(4)} ${at} s  ${kind}, ${duration} s, draw ${draw.toFixed(4)}`;
  });
}
