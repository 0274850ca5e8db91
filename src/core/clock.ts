/**
 * Time and randomness, handed to everything that needs them. No other file reads a clock, sets a
 * timer or draws a random number, so the whole cluster can run on a virtual clock from one seed.
 */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall clock, unix milliseconds. It may jump; use it for stamps, never for durations. */
  now(): number;
  /** Milliseconds from an arbitrary point, never going back. */
  monotonic(): number;
  /** Runs `fn` once after at least `ms` milliseconds. */
  after(ms: number, fn: () => void): Timer;
  /** Runs `fn` again and again, `ms` apart, until cancelled. */
  every(ms: number, fn: () => void): Timer;
  /** Runs `fn` at the end of this turn of the event loop, after the I/O callbacks now due. */
  endOfTurn(fn: () => void): void;
}

export interface Random {
  /** Uniform in [0, 1). */
  fraction(): number;
  /** `length` characters of crockford base 32, lower case: 5 bits each. */
  token(length: number): string;
}

const base32 = "0123456789abcdefghjkmnpqrstvwxyz";

/** Resolves after `ms` milliseconds on `clock`. */
export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.after(ms, resolve));
}

/** `base` ± `spread` (a fraction of it), drawn evenly: retries that do not march in step. */
export function jitter(random: Random, base: number, spread: number): number {
  return base * (1 - spread + 2 * spread * random.fraction());
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn) {
    const handle = setTimeout(fn, ms);
    return { cancel: () => clearTimeout(handle) };
  },
  every(ms, fn) {
    const handle = setInterval(fn, ms);
    return { cancel: () => clearInterval(handle) };
  },
  endOfTurn: (fn) => {
    setImmediate(fn);
  },
};

export const systemRandom: Random = {
  fraction: () => Math.random(),
  token(length) {
    let text = "";
    for (const byte of crypto.getRandomValues(new Uint8Array(length))) text += base32[byte & 31];
    return text;
  },
};
