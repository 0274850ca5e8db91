/** A mistake that people make, as a change to what the roles are given. */
import type { Seams } from "../seams.ts";

export interface PlantedBug {
  readonly name: string;
  /** What somebody did, in words. */
  readonly mistake: string;
  /** It shows where Redis loses data, which else keeps its data in worlds of planted bugs. */
  readonly dataLoss?: boolean;
  /** Fresh for each world, because some of them remember things. */
  seams(): Seams;
}

/** `target` with some of its methods replaced; the others are called as they are. */
export function override<T extends object>(target: T, replaced: Partial<T>): T {
  return new Proxy(target, {
    get(inner, name) {
      const own: unknown = Reflect.get(replaced, name);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(inner, name);
      return typeof value === "function" ? value.bind(inner) : value;
    },
  });
}
