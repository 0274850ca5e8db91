import { expect, test } from "bun:test";
import { systemRandom } from "../clock.ts";
import { ManualClock } from "../testing/manual_clock.ts";
import { type ApiKey, createApiKey } from "./api_keys.ts";
import { CachedApiKeys, KEY_CACHE_MS, KEY_STALE_MS } from "./cached_api_keys.ts";

const { key } = createApiKey({ name: "k", scopes: ["push"], expiresAt: 0 }, systemRandom, 1);

function fixture() {
  const clock = new ManualClock();
  const state = { stored: key as ApiKey | null, fails: false, looks: 0 };
  const find = async () => {
    state.looks++;
    if (state.fails) throw new Error("Redis is away");
    return state.stored;
  };
  return { clock, state, keys: new CachedApiKeys({ find }, clock) };
}

test("an answer counts for a second, and one look serves all who ask meanwhile", async () => {
  const { clock, keys, state } = fixture();
  const found = await Promise.all([keys.find(key.id), keys.find(key.id), keys.find(key.id)]);
  expect(found).toEqual([key, key, key]);
  expect(await keys.find(key.id)).toEqual(key);
  expect(state.looks).toBe(1);
  state.stored = null;
  await clock.advance(KEY_CACHE_MS - 1);
  expect(await keys.find(key.id)).toEqual(key);
  await clock.advance(1);
  expect(await keys.find(key.id)).toBeNull();
  expect(state.looks).toBe(2);
});

test("what was known goes on while Redis is away, for a minute at most", async () => {
  const { clock, keys, state } = fixture();
  await keys.find(key.id);
  state.fails = true;
  await clock.advance(KEY_STALE_MS - 1);
  expect(await keys.find(key.id)).toEqual(key);
  await clock.advance(1);
  await expect(Promise.resolve(keys.find(key.id))).rejects.toMatchObject({
    code: "unavailable",
    retryAfterMs: 1_000,
  });
  await expect(Promise.resolve(keys.find("never-seen"))).rejects.toMatchObject({
    code: "unavailable",
  });
});
