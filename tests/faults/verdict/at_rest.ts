/**
 * What must not be left in Redis and SQL once nobody sends any more and everybody has acked
 * everything. Looked at directly, past the program.
 */
import type { Redis } from "ioredis";
import { Keys } from "../../../src/core/redis/keys.ts";
import { TOPICS, type Topic } from "../../../src/core/topology.ts";
import type { Device } from "../clients/device.ts";
import { PARTITIONS, type Stage } from "../stage/stage.ts";

const keys = new Keys("");
/** Every key that a cluster at rest may have, by what it starts with. */
const PARTITIONED =
  "chat_input push_task user_state lease seq numbers dedup stored ordinal sessions session_epoch bars " +
  "delivered members group blocks blocked_by push_key push_once";
const WHOLE = "data_report dead_letter nodes partitions loss api_keys";
const KNOWN = new RegExp(
  `^(?:(?:${PARTITIONED.replaceAll(" ", "|")}):|(?:${WHOLE.replaceAll(" ", "|")})$)`,
);

/** In words; empty when the cluster is at rest. */
export async function lookAtRest(stage: Stage, devices: readonly Device[]): Promise<string[]> {
  const redis = stage.redis.admin;
  const parts = await Promise.all([
    unsettled(redis),
    marks(redis),
    sessions(redis, devices),
    members(redis, stage),
    unknownKeys(redis),
    rows(stage),
  ]);
  return parts.flat();
}

async function unsettled(redis: Redis): Promise<string[]> {
  const left: string[] = [];
  for (const topic of Object.keys(TOPICS) as Topic[]) {
    const { group, partitions } = TOPICS[topic];
    const count = partitions === 1 ? 1 : PARTITIONS;
    for (let partition = 0; partition < count; partition++) {
      const key = keys.stream(topic, partition);
      const length = await redis.xlen(key);
      if (length > 0) left.push(`${key} has ${length} entries`);
      if (group === null || (await redis.exists(key)) === 0) continue;
      const [pending] = (await redis.xpending(key, group)) as [number];
      if (pending > 0) left.push(`${key} has ${pending} pending entries`);
    }
  }
  return left;
}

async function marks(redis: Redis): Promise<string[]> {
  const left: string[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (const user of await redis.hkeys(keys.map("stored", "push", partition))) {
      left.push(`${user} is marked as having stored messages`);
    }
  }
  return left;
}

/** The directory is to know exactly the devices that are connected. */
async function sessions(redis: Redis, devices: readonly Device[]): Promise<string[]> {
  const known = new Set<string>();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const all = await redis.hgetall(keys.sessions(partition));
    for (const [user, json] of Object.entries(all)) {
      for (const [device] of JSON.parse(json) as [device: string][]) {
        known.add(`${user}/${device}`);
      }
    }
  }
  const online = new Set(devices.filter((d) => d.online).map((d) => `${d.user}/${d.device}`));
  return [
    ...[...known].filter((name) => !online.has(name)).map((name) => `${name} is not online`),
    ...[...online].filter((name) => !known.has(name)).map((name) => `${name} is not registered`),
    ...devices
      .filter((device) => !device.online)
      .map(({ user, device }) => `${user}/${device} could not come back`),
  ];
}

/** The registry knows each process once, and every partition has an owner that lives. */
async function members(redis: Redis, stage: Stage): Promise<string[]> {
  const nodes = await redis.hkeys(keys.nodes());
  const names = nodes.map((id) => id.slice(0, id.lastIndexOf(".")));
  const left = stage.processes
    .filter(({ name }) => names.filter((other) => other === name).length !== 1)
    .map(
      ({ name }) => `${name} is in the registry ${names.filter((n) => n === name).length} times`,
    );
  for (const group of ["logic", "push"] as const) {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const owner = (await redis.hget(keys.lease(group, partition), "owner")) ?? "";
      if (!nodes.includes(owner)) left.push(`${group} ${partition} is owned by "${owner}"`);
    }
  }
  return left;
}

async function unknownKeys(redis: Redis): Promise<string[]> {
  const all = await redis.keys("*");
  return all.filter((key) => !KNOWN.test(key)).map((key) => `nobody knows the key ${key}`);
}

async function rows(stage: Stage): Promise<string[]> {
  const nowS = Math.floor(stage.options.now() / 1_000);
  const stored = await stage.database.rows();
  return stored
    .filter(({ expire_time }) => expire_time === 0 || expire_time > nowS)
    .map(({ msg_id, user_id }) => `the store has ${msg_id} for ${user_id}`);
}
