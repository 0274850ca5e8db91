/** API keys in Redis: one hash, id → record. There are few, and they are read through a cache. */
import * as z from "zod";
import { ChatifyError } from "../protocol/errors.ts";
import type { RedisClient } from "../redis/client.ts";
import { type ApiKey, type ApiKeys, SCOPES } from "./api_keys.ts";

const Stored = z.object({
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  created_at: z.int(),
  expires_at: z.int(),
  revoked_at: z.int(),
});

export class RedisApiKeys implements ApiKeys {
  constructor(private readonly redis: RedisClient) {}

  async add(key: ApiKey): Promise<void> {
    const args = [this.redis.keys.apiKeys(), key.id, encode(key)];
    const added = await this.redis.durable.write("api_keys", "HSETNX", args);
    if (Number(added) !== 1) throw new ChatifyError("conflict", `there is an API key ${key.id}`);
  }

  async find(id: string): Promise<ApiKey | null> {
    const found = await this.redis.lane.read("api_keys", "HGET", [this.redis.keys.apiKeys(), id]);
    return typeof found === "string" ? decode(id, found) : null;
  }

  async list(): Promise<ApiKey[]> {
    const flat = await this.redis.lane.read("api_keys", "HGETALL", [this.redis.keys.apiKeys()]);
    const keys: ApiKey[] = [];
    const fields = flat as string[];
    for (let i = 0; i + 1 < fields.length; i += 2) {
      keys.push(decode(fields[i] as string, fields[i + 1] as string));
    }
    return keys.sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
  }

  async revoke(id: string, nowS: number): Promise<ApiKey | null> {
    const found = await this.find(id);
    if (found === null || found.revokedAt !== 0) return found;
    // Nothing else of a record ever changes, so there is nothing that this could overwrite.
    const revoked = { ...found, revokedAt: nowS };
    const args = [this.redis.keys.apiKeys(), id, encode(revoked)];
    await this.redis.durable.write("api_keys", "HSET", args);
    return revoked;
  }
}

function encode({ createdAt, expiresAt, hash, name, revokedAt, scopes }: ApiKey): string {
  const dates = { created_at: createdAt, expires_at: expiresAt, revoked_at: revokedAt };
  return JSON.stringify({ name, scopes, hash, ...dates });
}

function decode(id: string, text: string): ApiKey {
  const { created_at, expires_at, hash, name, revoked_at, scopes } = Stored.parse(JSON.parse(text));
  const dates = { createdAt: created_at, expiresAt: expires_at, revokedAt: revoked_at };
  return { id, name, scopes, hash, ...dates };
}
