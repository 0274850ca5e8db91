/** Reading an owner's maps: a hash, plus one hash for each slice that the list of slices names. */
import type { Clock } from "../clock.ts";
import type { RedisClient } from "../redis/client.ts";
import type { ConsumerGroup } from "../topology.ts";
import type { OwnerMap } from "./contract.ts";

interface MapName {
  readonly map: OwnerMap;
  readonly group: ConsumerGroup;
  readonly partition: number;
}

/** Fields asked of Redis at once per page; a page is one round trip. */
const PAGE = 2_000;

type Flat = string[];

/** Values by field, from the map itself or else from its latest slice that has the field. */
export async function mapValues(
  redis: RedisClient,
  name: MapName,
  fields: readonly string[],
): Promise<(string | undefined)[]> {
  if (fields.length === 0) return [];
  const { map, group, partition } = name;
  const hmget = (slice?: string) =>
    redis.lane.read("map_get", "HMGET", [
      redis.keys.map(map, group, partition, slice),
      ...fields,
    ]) as Promise<(string | null)[]>;
  const [own, slices] = await Promise.all([hmget(), readSlices(redis, name)]);
  const latestFirst = slices.map(([slice]) => slice).sort((a, b) => (a < b ? 1 : -1));
  const all = [own, ...(await Promise.all(latestFirst.map((slice) => hmget(slice))))];
  return fields.map((_, i) => all.find((values) => values[i] != null)?.[i] ?? undefined);
}

export async function* mapSlices(
  redis: RedisClient,
  name: MapName,
  clock: Clock,
): AsyncIterable<{ slice: string; entries: [string, string][] }> {
  const { map, group, partition } = name;
  const nowS = clock.now() / 1_000;
  for (const [slice, expireAt] of [["", 0] as const, ...(await readSlices(redis, name))]) {
    const key = redis.keys.map(map, group, partition, slice === "" ? undefined : slice);
    let cursor = "0";
    let found = false;
    do {
      const args = [key, cursor, "COUNT", String(PAGE)];
      const [next, flat] = (await redis.lane.read("map_scan", "HSCAN", args)) as [string, Flat];
      cursor = next;
      found ||= flat.length > 0;
      if (flat.length > 0) yield { slice, entries: pairs(flat) };
    } while (cursor !== "0");
    // Redis forgets a slice by itself; its name in the list goes here.
    if (slice !== "" && !found && expireAt > 0 && expireAt < nowS) {
      await redis.lane.write("map_prune", "HDEL", [
        redis.keys.slices(map, group, partition),
        slice,
      ]);
    }
  }
}

async function readSlices(
  redis: RedisClient,
  { map, group, partition }: MapName,
): Promise<[slice: string, expireAt: number][]> {
  const key = redis.keys.slices(map, group, partition);
  const flat = (await redis.lane.read("map_slices", "HGETALL", [key])) as Flat;
  return pairs(flat).map(([slice, expireAt]) => [slice, Number(expireAt)]);
}

function pairs(flat: Flat): [string, string][] {
  const out: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) out.push([flat[i] ?? "", flat[i + 1] ?? ""]);
  return out;
}
