/**
 * Counts what arrived while the user was away. A replay follows the welcome at once and carries
 * timestamps from before it; what comes later is live.
 */
const REPLAY_MS = 2_000;

export class Away {
  #onlineAtMs = 0;
  #before = false;
  #count = 0;

  /** A connection is up; `again`: the user was here before. */
  online(again: boolean): void {
    this.#onlineAtMs = Date.now();
    this.#before = again;
    this.#count = 0;
  }

  /** The sentence for the banner, when this message was sent while the user was away. */
  note(timestamp: number): string | undefined {
    if (Date.now() - this.#onlineAtMs > REPLAY_MS) return undefined;
    const second = Math.floor(this.#onlineAtMs / 1_000);
    // Timestamps are whole seconds. Who comes back within the second of a message was away for it;
    // who comes for the first time is rather being written to right now.
    if (this.#before ? timestamp > second : timestamp >= second) return undefined;
    this.#count++;
    return this.#count === 1
      ? "1 message arrived while you were away"
      : `${this.#count} messages arrived while you were away`;
  }
}
