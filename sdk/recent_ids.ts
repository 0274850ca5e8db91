/** The last `max` ids that were added; an older one is forgotten. */
export class RecentIds {
  readonly #ids = new Set<string>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#ids.size;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  delete(id: string): boolean {
    return this.#ids.delete(id);
  }

  add(id: string): void {
    this.#ids.add(id);
    if (this.#ids.size <= this.#max) return;
    for (const oldest of this.#ids) {
      this.#ids.delete(oldest);
      return;
    }
  }

  /** Removes and returns up to `count` ids, oldest first. */
  take(count: number): string[] {
    const taken: string[] = [];
    for (const id of this.#ids) {
      if (taken.length === count) break;
      taken.push(id);
      this.#ids.delete(id);
    }
    return taken;
  }
}
