/**
 * The one place where names of Redis keys are made. What one script changes together carries the
 * same hash tag, `{partition}`, so that it is in one slot: all keys of partition 3 share `{3}`, or on a Redis Cluster
 * what spread.ts makes of 3.
 */
import type { OwnerMap } from "../streams/contract.ts";
import { type ConsumerGroup, TOPICS, type Topic } from "../topology.ts";

/** The group whose map has the short name; any other group's map of that name carries the group. */
const MAP_HOME: Record<OwnerMap, ConsumerGroup> = {
  seq: "logic",
  dedup: "logic",
  numbers: "logic",
  stored: "push",
};

export class Keys {
  /** Comes before every key: empty, or the prefix and a colon. */
  private readonly before: string;

  /** `tagOf` makes the hash tag of a partition; on one server it is the number itself. */
  constructor(
    prefix: string,
    private readonly tagOf: (partition: number) => string = String,
  ) {
    this.before = prefix === "" ? "" : `${prefix}:`;
  }

  /** What every key of a partition has between braces. */
  tag(partition: number): string {
    return this.tagOf(partition);
  }

  /**
   * Hash: owner of another partition → the last of its commits that appended here, on a Cluster.
   * In the slot of the stream, whether or not that has a tag.
   */
  delivered(topic: Topic, partition: number): string {
    if (TOPICS[topic].partitions === 1) return `{${this.before}${topic}}.delivered`;
    return `${this.before}delivered:{${this.tag(partition)}}`;
  }

  /** Hash: commits of an owner that are to be finished in other slots, on a Cluster. */
  intents(group: ConsumerGroup, partition: number): string {
    return `${this.before}intents:${group}:{${this.tag(partition)}}`;
  }

  /** Hash: owner, version, created. */
  group(chatPartition: number, groupId: string): string {
    return `${this.before}group:{${this.tag(chatPartition)}}:${groupId}`;
  }

  /** Set of user ids. */
  members(chatPartition: number, groupId: string): string {
    return `${this.before}members:{${this.tag(chatPartition)}}:${groupId}`;
  }

  /** Hash: conversation id → JSON array of the users who block the other side. */
  blocks(chatPartition: number): string {
    return `${this.before}blocks:{${this.tag(chatPartition)}}`;
  }

  /** Set of those whom a user blocks. */
  blockedBy(userPartition: number, userId: string): string {
    return `${this.before}blocked_by:{${this.tag(userPartition)}}:${userId}`;
  }

  /** Sorted set: event id → unix ms at which it is due, or at which whoever took it has failed. */
  hooksDue(): string {
    return `${this.before}webhooks:{hooks}:due`;
  }

  /** Hash: event id → the event, which waits to be told. */
  hookEvents(): string {
    return `${this.before}webhooks:{hooks}:events`;
  }

  /** Set: users of whom it was told last that they are online. */
  hooksOnline(): string {
    return `${this.before}webhooks:{hooks}:online`;
  }

  /** Hash: a digest of the endpoint → the subscription of a user's browser. */
  webPush(user: string): string {
    return `${this.before}web_push:{${user}}`;
  }

  stream(topic: Topic, partition: number): string {
    if (TOPICS[topic].partitions === 1) return `${this.before}${topic}`;
    return `${this.before}${topic}:{${this.tag(partition)}}`;
  }

  /** Counts the entries that commits appended to a topic partition. */
  ordinal(topic: Topic, partition: number): string {
    return `${this.before}ordinal:${topic}:{${this.tag(partition)}}`;
  }

  /** Hash: owner, epoch, until (unix ms by Redis' clock). It outlives the lease. */
  lease(group: ConsumerGroup, partition: number): string {
    return `${this.before}lease:${group}:{${this.tag(partition)}}`;
  }

  /** Hash of an owner's map, or of one slice of it. */
  map(map: OwnerMap, group: ConsumerGroup, partition: number, slice?: string): string {
    const name = MAP_HOME[map] === group ? map : `${map}:${group}`;
    const base = `${this.before}${name}:{${this.tag(partition)}}`;
    return slice === undefined ? base : `${base}:${slice}`;
  }

  /** Hash: slice → unix seconds at which it is forgotten, 0 for never. */
  slices(map: OwnerMap, group: ConsumerGroup, partition: number): string {
    return `${this.map(map, group, partition)}.slices`;
  }

  /** Hash: user → JSON array of the user's sessions. */
  sessions(partition: number): string {
    return `${this.before}sessions:{${this.tag(partition)}}`;
  }

  sessionEpoch(partition: number): string {
    return `${this.before}session_epoch:{${this.tag(partition)}}`;
  }

  /** Hash: user → what the user's registrations must be later than. */
  bars(partition: number): string {
    return `${this.before}bars:{${this.tag(partition)}}`;
  }

  /** String: what the request with this idempotency key was, and the ids that it was given. */
  pushKey(hash: string): string {
    return `${this.before}push_key:{${hash}}`;
  }

  /** String: the message id under which something was pushed that is to be pushed once. */
  pushOnce(partition: number, name: string): string {
    return `${this.before}push_once:{${this.tag(partition)}}:${name}`;
  }

  /** Set of the users of one partition who have a tag. */
  tagUsers(partition: number, name: string): string {
    return `${this.before}tag:{${this.tag(partition)}}:${name}`;
  }

  /** Hash: tag → how many users of the partition have it. */
  tagCounts(partition: number): string {
    return `${this.before}tag_counts:{${this.tag(partition)}}`;
  }

  /** Set of the tags of a user. */
  userTags(partition: number, user: string): string {
    return `${this.before}user_tags:{${this.tag(partition)}}:${user}`;
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
    return `${this.before}job_part:{${this.tag(partition)}}:${id}`;
  }

  /** List of chunks: recipients that nothing was sent to yet, parted by line feeds. */
  jobList(partition: number, id: string): string {
    return `${this.before}job_list:{${this.tag(partition)}}:${id}`;
  }

  /** Set of everybody who was taken into the list, while it is made. */
  jobSeen(partition: number, id: string): string {
    return `${this.before}job_seen:{${this.tag(partition)}}:${id}`;
  }

  /** String: four bits for each message of the job, what became of it. */
  jobMarks(partition: number, id: string): string {
    return `${this.before}job_marks:{${this.tag(partition)}}:${id}`;
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

  /** When it was noticed last that Redis had lost data, unix ms. */
  loss(): string {
    return `${this.before}loss`;
  }
}
