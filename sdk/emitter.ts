/** Typed events. A handler that throws never disturbs the SDK: `onThrow` gets what it threw. */
export type Handler<T> = (event: T) => unknown;

export class Emitter<Events extends object> {
  readonly #handlers = new Map<keyof Events, Set<Handler<never>>>();
  readonly #onThrow: (name: keyof Events, thrown: unknown) => void;

  constructor(onThrow: (name: keyof Events, thrown: unknown) => void) {
    this.#onThrow = onThrow;
  }

  /** Returns the function that takes the handler away again. */
  on<Name extends keyof Events>(name: Name, handler: Handler<Events[Name]>): () => void {
    const known = this.#handlers.get(name);
    const set = known ?? new Set<Handler<never>>();
    if (known === undefined) this.#handlers.set(name, set);
    set.add(handler);
    return () => set.delete(handler);
  }

  handlers<Name extends keyof Events>(name: Name): Handler<Events[Name]>[] {
    return [...(this.#handlers.get(name) ?? [])] as Handler<Events[Name]>[];
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const handler of this.handlers(name)) {
      try {
        const result = handler(event);
        if (result instanceof Promise) result.catch((thrown) => this.#onThrow(name, thrown));
      } catch (thrown) {
        this.#onThrow(name, thrown);
      }
    }
  }
}
