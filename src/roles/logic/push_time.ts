/** Times as callers write them. */

/** Below this a number is no time of this century, and so a number of seconds from now. */
const EARLIEST_S = 1_000_000_000;
/** No caller means a second after the year 5138; from there on it is a smaller unit. */
const SMALLER_UNIT = 100_000_000_000;

/** Unix time in seconds, milliseconds, microseconds or nanoseconds, by its size, as whole seconds. */
export function inSeconds(given: number): number {
  let seconds = given;
  for (let unit = 0; unit < 3 && seconds >= SMALLER_UNIT; unit++) seconds /= 1_000;
  return Math.min(Math.floor(seconds), SMALLER_UNIT);
}

/** When something that is given as a time, or as seconds from now, comes to be. */
export function fromNow(seconds: number, nowS: number): number {
  return seconds < EARLIEST_S ? nowS + seconds : seconds;
}
