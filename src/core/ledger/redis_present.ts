/** What is at rest, read from Redis: for a person's question, so a few round trips are fine. */
import * as z from "zod";
import type { RedisClient } from "../redis/client.ts";
import type { LeaseState, Registry } from "../registry/contract.ts";
import type { Session, SessionDirectory } from "../sessions/contract.ts";
import { type ConsumerGroup, type Partitions, partitionCount, type Topic } from "../topology.ts";
import type { DeadLetter, Present, Search, Waiting } from "./present.ts";

export interface RedisPresentDeps {
  readonly redis: RedisClient;
  readonly directory: Pick<SessionDirectory, "lookup">;
  readonly registry: Pick<Registry, "leases">;
  readonly partitions: Partitions;
}

const PAGE = 100;
/** Entries of one stream that a question looks through; what is behind them is said to be unseen. */
const ENTRIES_MAX = 5_000;

const Letter = z.object({
  topic: z.string(),
  id: z.string(),
  reason: z.string(),
  body: z.string(),
});

export class RedisPresent implements Present {
  constructor(private readonly deps: RedisPresentDeps) {}

  async chatEntry(partition: number, entryId: string): Promise<Waiting | null> {
    const [entry] = await this.range("chat_input", partition, entryId, entryId, 1);
    return entry === undefined ? null : { topic: "chat_input", partition, ...entry };
  }

  async waiting(topic: Waiting["topic"], needle: string, fromMs: number): Promise<Search<Waiting>> {
    const group = topic === "chat_input" ? "logic" : "push";
    const count = partitionCount(this.deps.partitions, group);
    const searches = await Promise.all(
      Array.from({ length: count }, async (_, partition) => {
        const found: Waiting[] = [];
        const complete = await this.scan(topic, partition, fromMs, (entry) => {
          if (entry.body.includes(needle)) found.push({ topic, partition, ...entry });
        });
        return { found, complete };
      }),
    );
    return {
      found: searches.flatMap(({ found }) => found),
      complete: searches.every(({ complete }) => complete),
    };
  }

  async deadLetters(
    matches: (letter: DeadLetter) => boolean,
    fromMs: number,
  ): Promise<Search<DeadLetter>> {
    const found: DeadLetter[] = [];
    const complete = await this.scan("dead_letter", 0, fromMs, ({ body, entryId }) => {
      const letter = letterOf(entryId, body);
      if (letter !== null && matches(letter)) found.push(letter);
    });
    return { found, complete };
  }

  async sessions(user: string): Promise<readonly Session[]> {
    const [found] = await this.deps.directory.lookup([user]);
    return found?.sessions ?? [];
  }

  owners(group: ConsumerGroup): Promise<readonly LeaseState[]> {
    return this.deps.registry.leases(group);
  }

  /** True when it came to the stream's end. */
  private async scan(
    topic: Topic,
    partition: number,
    fromMs: number,
    see: (entry: { entryId: string; body: string }) => void,
  ): Promise<boolean> {
    let from = `${Math.max(0, Math.floor(fromMs))}-0`;
    for (let seen = 0; seen < ENTRIES_MAX; ) {
      const page = await this.range(topic, partition, from, "+", PAGE);
      for (const entry of page) see(entry);
      seen += page.length;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return true;
      from = `(${last.entryId}`;
    }
    return false;
  }

  private async range(topic: Topic, partition: number, from: string, to: string, count: number) {
    const { keys, lane } = this.deps.redis;
    const args = [keys.stream(topic, partition), from, to, "COUNT", String(count)];
    const reply = (await lane.read("trace", "XRANGE", args)) as [id: string, fields: string[]][];
    return reply.map(([entryId, fields]) => {
      return { entryId, body: fields[fields.indexOf("b") + 1] ?? "" };
    });
  }
}

function letterOf(id: string, body: string): DeadLetter | null {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return null;
  }
  const result = Letter.safeParse(value);
  if (!result.success) return null;
  const { id: entry, ...rest } = result.data;
  return { id, entry, ...rest };
}
