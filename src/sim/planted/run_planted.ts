/** Runs each planted bug until the checker catches it, or until the bound. */
import { runSeed } from "../run.ts";
import { LOSS_BUGS } from "./loss_bugs.ts";
import type { PlantedBug } from "./planted_bug.ts";
import { SESSION_BUGS } from "./session_bugs.ts";
import { STREAM_BUGS } from "./stream_bugs.ts";
import { TRUNK_BUGS } from "./trunk_bugs.ts";

export const PLANTED_BUGS: readonly PlantedBug[] = [
  ...STREAM_BUGS,
  ...SESSION_BUGS,
  ...TRUNK_BUGS,
  ...LOSS_BUGS,
];
/** Each is caught within so many worlds. */
export const PLANTED_SEEDS_MAX = 150;

/** So that worlds of a planted bug need not be many. */
const MORE_FAULTS = 8;

export interface PlantedResult {
  readonly name: string;
  readonly mistake: string;
  readonly caught: boolean;
  /** Worlds that it took, or that did not do. */
  readonly seeds: number;
  /** The seed that caught it, and the rule that was broken. */
  readonly seed: number;
  readonly rule: string;
  readonly text: string;
}

export function runPlanted(bug: PlantedBug, from: number, seedsMax: number): PlantedResult {
  const { mistake, name } = bug;
  for (let i = 0; i < seedsMax; i++) {
    const seed = from + i;
    const options = { dataLoss: bug.dataLoss ?? false, moreFaults: MORE_FAULTS };
    const [violation] = runSeed(seed, bug.seams(), options).verdict.violations;
    if (violation === undefined) continue;
    const { rule, text } = violation;
    return { name, mistake, caught: true, seeds: i + 1, seed, rule, text };
  }
  return { name, mistake, caught: false, seeds: seedsMax, seed: 0, rule: "", text: "" };
}
