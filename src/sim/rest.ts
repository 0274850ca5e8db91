/** What must not be left once nothing happens any more and everybody has acked everything. */

import { sumOf } from "../core/jobs/contract.ts";
import { countsOf } from "../core/jobs/memory_job.ts";
import { TOPICS, type Topic } from "../core/topology.ts";
import { type Cluster, PARTITIONS } from "./cluster.ts";
import type { Device } from "./device.ts";

/** In words; empty when the cluster is at rest. */
export function lookAtRest(cluster: Cluster, devices: readonly Device[], nowMs: number): string[] {
  return [
    ...unsettled(cluster),
    ...rows(cluster, nowMs),
    ...marks(cluster),
    // Counts of a job are in Redis alone, and lost with its data.
    ...(cluster.lostData ? [] : jobs(cluster)),
    ...leftovers(cluster),
    ...sessions(cluster, devices),
  ];
}

function unsettled({ engine }: Cluster): string[] {
  const left: string[] = [];
  for (const topic of Object.keys(TOPICS) as Topic[]) {
    const { partitions } = TOPICS[topic];
    const count = partitions === 1 ? 1 : PARTITIONS[partitions];
    for (let partition = 0; partition < count; partition++) {
      const key = engine.keys.stream(topic, partition);
      const { length, pending } = engine.streamAt(key);
      if (length > 0) left.push(`${key} has ${length} entries, ${pending.size} of them pending`);
    }
  }
  return left;
}

/** Streams and maps that no partition has, and maps of a partition that are nobody's. */
function leftovers({ engine }: Cluster): string[] {
  const { keys } = engine;
  const known = new Set<string>();
  for (const topic of Object.keys(TOPICS) as Topic[]) {
    const { partitions } = TOPICS[topic];
    const count = partitions === 1 ? 1 : PARTITIONS[partitions];
    for (let partition = 0; partition < count; partition++)
      known.add(keys.stream(topic, partition));
  }
  for (let p = 0; p < PARTITIONS.chat; p++) {
    known.add(keys.lease("logic", p));
    for (const map of ["seq", "dedup", "numbers"] as const) known.add(keys.map(map, "logic", p));
  }
  for (let p = 0; p < PARTITIONS.user; p++) {
    for (const key of [keys.lease("push", p), keys.sessions(p), keys.bars(p)]) known.add(key);
    known.add(keys.map("stored", "push", p));
  }
  return engine
    .namesOf()
    .filter((name) => !known.has(name))
    .map((name) => `${name} is left in Redis`);
}

function rows({ database }: Cluster, nowMs: number): string[] {
  return database
    .all()
    .filter(({ expire_time }) => expire_time === 0 || expire_time * 1_000 > nowMs)
    .map(({ user_id, msg_id }) => `the store has ${msg_id} for ${user_id}`);
}

function marks({ engine }: Cluster): string[] {
  const left: string[] = [];
  for (let partition = 0; partition < PARTITIONS.user; partition++) {
    for (const user of engine.fieldsOf(engine.keys.map("stored", "push", partition)).keys()) {
      left.push(`${user} is marked as having stored messages`);
    }
  }
  return left;
}

/** A job that was taken in has ended, everybody it was for is in one state, and that is final. */
function jobs({ engine }: Cluster): string[] {
  return [...engine.jobs.values()].flatMap(({ parts, record }) => {
    const { accepted, acked, expired, ...counts } = sumOf(parts.map(countsOf));
    const open = counts.waiting + counts.inFlight + counts.stored;
    const isWhole = acked + expired + counts.cancelled === accepted && open === 0;
    if (record.state === "finished" && isWhole) return [];
    const text = JSON.stringify({ accepted, acked, expired, ...counts });
    return [`job ${record.id} is ${record.state}, and its counts are ${text}`];
  });
}

/** The directory is to know exactly the devices that are connected. */
function sessions({ engine }: Cluster, devices: readonly Device[]): string[] {
  const known = [...engine.sessions.values()].flatMap((users) =>
    [...users].flatMap(([user, json]) =>
      (JSON.parse(json) as { device: string }[]).map(({ device }) => `${user}/${device}`),
    ),
  );
  const online = devices.filter((device) => device.online).map(({ user, id }) => `${user}/${id}`);
  return [
    ...known.filter((name) => !online.includes(name)).map((name) => `${name} is not online`),
    ...online.filter((name) => !known.includes(name)).map((name) => `${name} is not registered`),
    ...devices.filter((device) => device.stranded).map(({ user }) => `${user} could not come back`),
  ];
}
