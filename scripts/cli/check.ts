/** One finding of the doctor. */
export type Level = "ok" | "warn" | "fail";

export interface Finding {
  readonly check: string;
  readonly level: Level;
  /** What was found. */
  readonly found: string;
  /** What to do about it; absent when all is well. */
  readonly advice?: string;
}

export function ok(check: string, found: string): Finding {
  return { check, level: "ok", found };
}

export function warn(check: string, found: string, advice: string): Finding {
  return { check, level: "warn", found, advice };
}

export function fail(check: string, found: string, advice: string): Finding {
  return { check, level: "fail", found, advice };
}

/** The first of the levels whose bound `value` exceeds. */
export function above(
  value: number,
  bounds: { readonly warn: number; readonly fail: number },
): Level {
  if (value > bounds.fail) return "fail";
  return value > bounds.warn ? "warn" : "ok";
}

/** A finding of `level`, with the advice where it is needed. */
export function finding(level: Level, check: string, found: string, advice: string): Finding {
  return level === "ok" ? ok(check, found) : { check, level, found, advice };
}
