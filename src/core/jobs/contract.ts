/**
 * Push jobs: one content for many recipients, sent by and by. What a job is, who is still to get it
 * and what became of those who got it is kept in Redis; in memory by a double for the simulator. One
 * contract suite runs against both.
 *
 * Recipients are split by user partition, and everything about those of one partition changes in one
 * step in its slot. `add` takes each user once, however often it is called. `send` appends a chunk to
 * `push_task` and takes it off the list in the same step, and only when the job stands where the
 * caller believes; so two runners at once, or one that repeats what it is not sure of, send nothing
 * twice. A message's id is a function of (job, partition, number), and `record` keeps what became of
 * it under that number: recording something again changes nothing, whoever does it and when. That is
 * why the counts are exact without a fence.
 *
 * Everything expires: a job is forgotten JOB_RETENTION_DAYS after its end, and one that never ends
 * START_DELAY_MAX_S later than that.
 */

export const JOB_STATES = [
  "loading",
  "scheduled",
  "running",
  "paused",
  "finished",
  "cancelled",
] as const;
export type JobState = (typeof JOB_STATES)[number];

/** States that a job does not leave any more. */
export function hasEnded(state: JobState): boolean {
  return state === "finished" || state === "cancelled";
}

export type JobTarget =
  | { readonly kind: "list" | "online" }
  | { readonly kind: "group" | "tag"; readonly name: string };

/** What was asked for. */
export interface JobSpec {
  readonly target: JobTarget;
  readonly fromUserId: string;
  readonly contentId: string;
  /** Base64 text. */
  readonly content: string;
  readonly pushType: number | string;
  /** Unix seconds. */
  readonly timestamp: number;
  /** Unix seconds; 0 means never. Who has not got it by then does not get it. */
  readonly expireTime: number;
  /** Unix seconds before which nothing is sent. */
  readonly startTime: number;
  /** Messages per second; 0 means as fast as they are taken. */
  readonly rate: number;
}

export interface JobRecord {
  readonly id: string;
  readonly spec: JobSpec;
  readonly state: JobState;
  /** Its recipients are known; before that nothing is sent. */
  readonly resolved: boolean;
  /** Unix ms; 0 where it has not come to that. */
  readonly createdAt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  /** Messages per second that its runner sent of late. */
  readonly speed: number;
  /** Lines of its list that were no user, and what was wrong with the first of them. */
  readonly invalid: number;
  readonly problems: readonly string[];
}

export type JobChange = Partial<
  Pick<
    JobRecord,
    "state" | "resolved" | "startedAt" | "finishedAt" | "speed" | "invalid" | "problems"
  >
>;

/** Recipients of a job in one partition. Each is in exactly one of the states behind `accepted`. */
export interface JobCounts {
  /** Taken into the list; the sum of waiting, inFlight, acked, stored, expired and cancelled. */
  readonly accepted: number;
  readonly waiting: number;
  readonly inFlight: number;
  /** A device confirmed it, at once or after a replay. */
  readonly acked: number;
  /** In the offline store, for when the user comes. */
  readonly stored: number;
  readonly expired: number;
  readonly cancelled: number;
  /** Beside those: handed to a device at least once. */
  readonly delivered: number;
  /** Beside those: mentions of users who were in the list already. */
  readonly duplicates: number;
}

export const NO_COUNTS: JobCounts = {
  accepted: 0,
  waiting: 0,
  inFlight: 0,
  acked: 0,
  stored: 0,
  expired: 0,
  cancelled: 0,
  delivered: 0,
  duplicates: 0,
};

/** Of all partitions. */
export function sumOf(parts: readonly JobCounts[]): JobCounts {
  const total: Record<string, number> = { ...NO_COUNTS };
  for (const part of parts) {
    for (const [name, count] of Object.entries(part)) total[name] = (total[name] ?? 0) + count;
  }
  return total as unknown as JobCounts;
}

/** What became of a message, as bits: several may be true of one. */
export const DELIVERED = 1;
export const ACKED = 2;
export const STORED = 4;
export const EXPIRED = 8;

/** Number `index` of job `id` in the partition that is recorded; any of the bits above. */
export type JobMark = readonly [id: string, index: number, bits: number];

/** What is next on a partition's list. */
export interface JobChunks {
  /** How many were sent so far: the number of the first recipient of the first chunk. */
  readonly sent: number;
  readonly chunks: readonly (readonly string[])[];
}

export interface JobHolder {
  readonly node: string;
  readonly ttlMs: number;
}

export interface JobStore {
  /**
   * False, and nothing changes, when there is a job with that id. With `holder` that one has its lease
   * from the first moment on: a job that nobody holds is anybody's.
   */
  create(record: JobRecord, holder?: JobHolder): Promise<boolean>;
  get(id: string): Promise<JobRecord | null>;
  /** The latest jobs, latest first. */
  list(limit: number): Promise<JobRecord[]>;
  /** Ids of jobs that have not ended; some that are gone may be among them. */
  open(): Promise<string[]>;
  /** Applies `change` if the job is in one of the states `from`; what it is now, null if it is gone. */
  change(
    id: string,
    from: readonly JobState[],
    change: JobChange,
  ): Promise<{ readonly changed: boolean; readonly record: JobRecord } | null>;
  /** True when `node` runs the job for the next `ttlMs`; false while another does. */
  lease(id: string, node: string, ttlMs: number): Promise<boolean>;
  /** Takes users of one partition into the list, in chunks of at most `chunkMax`; each once. */
  add(id: string, partition: number, users: readonly string[], chunkMax: number): Promise<void>;
  /**
   * The list is complete: nobody is taken into it any more, by whomever, and who is in it is forgotten.
   * To be called before the job is said to be resolved, and again where that is not certain.
   */
  seal(id: string): Promise<void>;
  chunks(id: string, partition: number, max: number): Promise<JobChunks>;
  /**
   * Sends the first chunk of the list, `count` users encoded as `body`, if `sent` were sent so far
   * and the job is neither held nor stopped; otherwise nothing happens. True when it was sent.
   */
  send(id: string, partition: number, sent: number, count: number, body: string): Promise<boolean>;
  /** Holds sending in all partitions, or lets it go on. Once it resolved, nothing more goes out. */
  hold(id: string, on: boolean): Promise<void>;
  /** Gives up everybody who was not sent to, for good, and counts them as that. */
  stop(id: string, as: "cancelled" | "expired"): Promise<void>;
  /** Counts of each partition, by its number. */
  counts(id: string): Promise<JobCounts[]>;
  /** The job has ended: it is no longer open, and is forgotten after the retention. */
  retire(id: string): Promise<void>;
  /** Takes away a job and everything of it. */
  remove(id: string): Promise<void>;
  /** Notes what became of messages of one partition. What is gone, or noted already, stays so. */
  record(partition: number, marks: readonly JobMark[]): Promise<void>;
}
