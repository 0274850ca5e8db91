/**
 * Time and randomness of the SDK: the only file of it that asks the platform for them. A caller may
 * hand in its own (a virtual clock in a test); `Clock` of the server fits, being a wider type.
 */
export interface SdkTimer {
  cancel(): void;
}

export interface SdkClock {
  /** Milliseconds from any origin; used for durations only. */
  now(): number;
  /** Runs `fn` once after at least `ms` milliseconds. */
  after(ms: number, fn: () => void): SdkTimer;
}

export const systemClock: SdkClock = {
  now: () => performance.now(),
  after(ms, fn) {
    const handle = setTimeout(fn, ms);
    return { cancel: () => clearTimeout(handle) };
  },
};

export const systemRandom = (): number => Math.random();

/**
 * 16 characters with 80 random bits. It always comes from the platform, also when the caller hands
 * in its own `random`: two clients with one seed must not share their message ids.
 */
export function uniqueToken(): string {
  let text = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(16))) text += (byte & 31).toString(32);
  return text;
}
