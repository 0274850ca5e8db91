/**
 * A bounded map that forgets what was not used lately, without bookkeeping per access: two
 * generations, where a hit in the old one moves the entry to the young one, and a full young one
 * becomes the old one. It holds at most `max` entries and at least the `max / 2` used last.
 */
export class GenerationCache<K, V> {
  private readonly generationMax: number;
  private young = new Map<K, V>();
  private old = new Map<K, V>();

  constructor(max: number) {
    this.generationMax = Math.max(1, Math.floor(max / 2));
  }

  get(key: K): V | undefined {
    const value = this.young.get(key);
    if (value !== undefined) return value;
    const aged = this.old.get(key);
    if (aged === undefined) return undefined;
    this.old.delete(key);
    this.set(key, aged);
    return aged;
  }

  set(key: K, value: V): void {
    this.old.delete(key);
    this.young.set(key, value);
    if (this.young.size < this.generationMax) return;
    this.old = this.young;
    this.young = new Map();
  }

  delete(key: K): void {
    this.young.delete(key);
    this.old.delete(key);
  }

  clear(): void {
    this.young.clear();
    this.old.clear();
  }

  get size(): number {
    return this.young.size + this.old.size;
  }
}
