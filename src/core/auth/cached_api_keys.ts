/**
 * Looks API keys up without a round trip per request: what was found, and also what was not, counts
 * for a second. Requests that ask for the same id meanwhile share one look.
 */
import type { Clock } from "../clock.ts";
import { GenerationCache } from "../generation_cache.ts";
import { ChatifyError } from "../protocol/errors.ts";
import type { ApiKey, ApiKeys } from "./api_keys.ts";

/** How long an answer counts: the longest time for which a revoked key still opens. */
export const KEY_CACHE_MS = 1_000;
/** How long an old answer counts while no new one can be had. */
export const KEY_STALE_MS = 60_000;
/** Answers kept; more: those used least recently are asked for again. */
const ANSWERS_MAX = 1_024;
const RETRY_MS = 1_000;

interface Answer {
  readonly key: ApiKey | null;
  readonly at: number;
}

export class CachedApiKeys {
  private readonly answers = new GenerationCache<string, Answer>(ANSWERS_MAX);
  private readonly looking = new Map<string, Promise<ApiKey | null>>();

  constructor(
    private readonly keys: Pick<ApiKeys, "find">,
    readonly clock: Pick<Clock, "monotonic" | "now">,
  ) {}

  /** At once when the answer is known, later when it is not; rejects with `unavailable`. */
  find(id: string): ApiKey | null | Promise<ApiKey | null> {
    const known = this.answers.get(id);
    if (known !== undefined && this.clock.monotonic() - known.at < KEY_CACHE_MS) return known.key;
    const looking = this.looking.get(id);
    if (looking !== undefined) return looking;
    const look = this.look(id, known).finally(() => this.looking.delete(id));
    this.looking.set(id, look);
    return look;
  }

  private async look(id: string, known: Answer | undefined): Promise<ApiKey | null> {
    const at = this.clock.monotonic();
    try {
      const key = await this.keys.find(id);
      this.answers.set(id, { key, at });
      return key;
    } catch (error) {
      if (known !== undefined && at - known.at < KEY_STALE_MS) return known.key;
      const reason = error instanceof Error ? error.message : String(error);
      throw new ChatifyError("unavailable", `API keys cannot be checked: ${reason}`, RETRY_MS);
    }
  }
}
