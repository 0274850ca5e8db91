/**
 * The one place where names of Redis keys are made. What one script changes together carries the
 * same hash tag, `{partition}`, so that it is in one slot: all keys of partition 3 share `{3}`.
 */
import type { OwnerMap } from "../streams/contract.ts";
import { type ConsumerGroup, TOPICS, type Topic } from "../topology.ts";

/** The group whose map has the short name; any other group's map of that name carries the group. */
const MAP_HOME: Record<OwnerMap, ConsumerGroup> = { seq: "logic", dedup: "logic", stored: "push" };

export class Keys {
  /** Comes before every key: empty, or the prefix and a colon. */
  private readonly before: string;

  constructor(prefix: string) {
    this.before = prefix === "" ? "" : `${prefix}:`;
  }

  stream(topic: Topic, partition: number): string {
    if (TOPICS[topic].partitions === 1) return `${this.before}${topic}`;
    return `${this.before}${topic}:{${partition}}`;
  }

  /** Counts the entries that commits appended to a topic partition. */
  ordinal(topic: Topic, partition: number): string {
    return `${this.before}ordinal:${topic}:{${partition}}`;
  }

  /** Hash: owner, epoch, until (unix ms by Redis' clock). It outlives the lease. */
  lease(group: ConsumerGroup, partition: number): string {
    return `${this.before}lease:${group}:{${partition}}`;
  }

  /** Hash of an owner's map, or of one slice of it. */
  map(map: OwnerMap, group: ConsumerGroup, partition: number, slice?: string): string {
    const name = MAP_HOME[map] === group ? map : `${map}:${group}`;
    const base = `${this.before}${name}:{${partition}}`;
    return slice === undefined ? base : `${base}:${slice}`;
  }

  /** Hash: slice → unix seconds at which it is forgotten, 0 for never. */
  slices(map: OwnerMap, group: ConsumerGroup, partition: number): string {
    return `${this.map(map, group, partition)}.slices`;
  }

  /** Hash: user → JSON array of the user's sessions. */
  sessions(partition: number): string {
    return `${this.before}sessions:{${partition}}`;
  }

  sessionEpoch(partition: number): string {
    return `${this.before}session_epoch:{${partition}}`;
  }

  /** Hash: user → what the user's registrations must be later than. */
  bars(partition: number): string {
    return `${this.before}bars:{${partition}}`;
  }

  /** Sorted set: push job → when it was made (unix ms). */
  jobs(): string {
    return `${this.before}jobs`;
  }

  /** Set of the push jobs that have not ended. */
  jobsOpen(): string {
    return `${this.before}jobs_open`;
  }

  /** Hash: what a push job is, how far it has come, and who runs it. */
  job(id: string): string {
    return `${this.before}job:{${id}}`;
  }

  /** Hash: counts of a job's recipients in one user partition, and whether it may go on there. */
  jobPart(partition: number, id: string): string {
    return `${this.before}job_part:{${partition}}:${id}`;
  }

  /** List of chunks: recipients that nothing was sent to yet, parted by line feeds. */
  jobList(partition: number, id: string): string {
    return `${this.before}job_list:{${partition}}:${id}`;
  }

  /** Set of everybody who was taken into the list, while it is made. */
  jobSeen(partition: number, id: string): string {
    return `${this.before}job_seen:{${partition}}:${id}`;
  }

  /** String: four bits for each message of the job, what became of it. */
  jobMarks(partition: number, id: string): string {
    return `${this.before}job_marks:{${partition}}:${id}`;
  }

  /** Hash: node id → when it was last heard, and its record. */
  nodes(): string {
    return `${this.before}nodes`;
  }

  /** Hash: id → record of an API key. */
  apiKeys(): string {
    return `${this.before}api_keys`;
  }

  /** Hash: the partition counts agreed at the first start. */
  partitions(): string {
    return `${this.before}partitions`;
  }
}
