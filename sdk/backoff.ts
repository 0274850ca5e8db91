/** First and longest upper bound of a wait before the next attempt, in milliseconds. */
export const BACKOFF_FIRST_MS = 250;
export const BACKOFF_MAX_MS = 30_000;

/**
 * Full jitter: evenly in [0, min(max, first × 2^attempt)), `attempt` from 0. Clients that fell
 * together come back spread out (Brooker, "Exponential Backoff And Jitter", AWS 2015).
 */
export function backoffMs(attempt: number, random: () => number): number {
  return random() * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 16));
}
