/**
 * Tags: names that the app's backend gives to users, for push jobs to go to. A tag is a set of users
 * in Redis, split by user partition; there is no tag without users.
 */

export interface TagPage {
  readonly users: readonly string[];
  /** Pass it to get the next page; null when there is nothing more. */
  readonly cursor: string | null;
}

export interface Tags {
  /**
   * Gives users a tag; resolves with how many did not have it. Rejects with `conflict` when one of
   * them would have more than TAGS_PER_USER_MAX; of those in other partitions some may have it then.
   */
  add(tag: string, users: readonly string[]): Promise<number>;
  /** Takes it from users; resolves with how many had it. */
  remove(tag: string, users: readonly string[]): Promise<number>;
  /** All tags, with how many users have each. */
  list(): Promise<{ readonly tag: string; readonly users: number }[]>;
  /** Tags of a user, in order. */
  of(user: string): Promise<string[]>;
  /**
   * Users who have the tag, about `limit` a page, in no order. Who has it all the time while it is
   * walked through is there; somebody may be there twice.
   */
  users(tag: string, cursor: string | null, limit: number): Promise<TagPage>;
  /** The same of one partition, whole. */
  usersIn(tag: string, partition: number): AsyncIterable<readonly string[]>;
}
