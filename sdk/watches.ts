/** Whose presence is watched: asked for on every connection, and before the server forgets. */
import type { SdkClock, SdkTimer } from "./clock.ts";
import type { Link } from "./link.ts";
import { WATCH_TTL_MS, WATCHED_USERS_MAX } from "./wire.ts";

const RENEW_MS = WATCH_TTL_MS * 0.8;

export class Watches {
  readonly #link: Pick<Link, "ready" | "send">;
  readonly #clock: SdkClock;
  readonly #users = new Set<string>();
  #timer: SdkTimer | undefined;

  constructor(link: Pick<Link, "ready" | "send">, clock: SdkClock) {
    this.#link = link;
    this.#clock = clock;
  }

  /** As many as the application gives; they go out in frames of WATCHED_USERS_MAX. */
  add(userIds: readonly string[]): void {
    for (const userId of userIds) this.#users.add(userId);
    this.#ask(userIds);
    if (this.#link.ready && this.#timer === undefined) this.#renewLater();
  }

  remove(userIds: readonly string[]): void {
    for (const userId of userIds) this.#users.delete(userId);
  }

  restart(): void {
    this.#ask([...this.#users]);
    this.#renewLater();
  }

  pause(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #renewLater(): void {
    this.pause();
    if (this.#users.size > 0) this.#timer = this.#clock.after(RENEW_MS, () => this.restart());
  }

  #ask(userIds: readonly string[]): void {
    for (let at = 0; at < userIds.length; at += WATCHED_USERS_MAX) {
      const user_ids = userIds.slice(at, at + WATCHED_USERS_MAX);
      this.#link.send({ type: "watch", user_ids });
    }
  }
}
