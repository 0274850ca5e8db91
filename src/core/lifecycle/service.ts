/**
 * What every role is to the process that runs it. The order is start → (drain) → stop; a process may
 * also die at any point of it, so start-up is recovery and neither drain nor stop is ever relied on.
 */
export interface Service {
  readonly name: string;
  /** Resolves when the role works; rejects when it never will with this configuration. */
  start(): Promise<void>;
  /** What keeps the role from working now, in words for `/readyz`; empty when it is ready. */
  blockers(): string[];
  /**
   * Takes no new work and hands over or finishes what it has, within `budgetMs`. After it the role
   * still answers `blockers()`, and `stop()` is due.
   */
  drain(budgetMs: number): Promise<void>;
  /** Releases sockets, timers and connections. Called once, drained or not. */
  stop(): Promise<void>;
}
