/**
 * API keys of services that push, administrate or read. A key is `ck_<id>_<secret>`: the id finds its
 * record, the secret has 160 random bits, and only the SHA-256 of the whole key is kept, which is
 * enough where there is nothing to guess. A key is shown once, when it is made.
 *
 * A revoked key is refused by every node within KEY_CACHE_MS; while Redis cannot be reached, nodes
 * go on with what they knew for KEY_STALE_MS at most.
 */
import { timingSafeEqual } from "node:crypto";
import type { Random } from "../clock.ts";

export const SCOPES = ["push", "read", "admin"] as const;
/** `push`: send pushes. `read`: look at state. `admin`: everything, and what the others may not. */
export type Scope = (typeof SCOPES)[number];

export interface ApiKey {
  readonly id: string;
  /** What its owner calls it; for people. */
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** SHA-256 of the key's text, hex. */
  readonly hash: string;
  /** Unix seconds; 0 where it does not apply. */
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly revokedAt: number;
}

export interface ApiKeys {
  /** Stores a record; rejects with `conflict` when the id exists. */
  add(key: ApiKey): Promise<void>;
  find(id: string): Promise<ApiKey | null>;
  /** All there are, revoked and expired ones too, the oldest first. */
  list(): Promise<ApiKey[]>;
  /** Revokes it from `nowS` on, for good; null when there is none. A second call changes nothing. */
  revoke(id: string, nowS: number): Promise<ApiKey | null>;
}

const ID_CHARS = 10;
const SECRET_CHARS = 32;
const form = new RegExp(`^ck_([0-9a-z]{${ID_CHARS}})_[0-9a-z]{${SECRET_CHARS}}$`);

export interface NewApiKey {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Unix seconds; 0 for never. */
  readonly expiresAt: number;
}

/** The text is the only copy of the secret: it is nowhere in the record. */
export function createApiKey(
  wanted: NewApiKey,
  random: Random,
  nowS: number,
): { text: string; key: ApiKey } {
  const id = random.token(ID_CHARS);
  const text = `ck_${id}_${random.token(SECRET_CHARS)}`;
  return { text, key: { id, ...wanted, hash: sha256(text), createdAt: nowS, revokedAt: 0 } };
}

/** The id in a key's text, or null when the text has not the form of one. */
export function apiKeyId(text: string): string | null {
  return form.exec(text)?.[1] ?? null;
}

/** Compares in a time that tells nothing about the key. */
export function isApiKey(key: ApiKey, text: string): boolean {
  return timingSafeEqual(Buffer.from(key.hash), Buffer.from(sha256(text)));
}

export type KeyState = "active" | "expired" | "revoked";

export function keyState({ expiresAt, revokedAt }: ApiKey, nowS: number): KeyState {
  if (revokedAt !== 0) return "revoked";
  return expiresAt !== 0 && expiresAt <= nowS ? "expired" : "active";
}

function sha256(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}
