/**
 * How a push or logic process reaches the offline process: each call is a request of its own, so two of them
 * may overtake each other, as over HTTP. A process that is dead refuses, one that is stopped answers
 * when it goes on; the caller waits TIMEOUT_MS and then hears `unavailable`, whatever happened.
 */
import type {
  ChatMark,
  KeptChatMark,
  OfflinePage,
  OfflineRow,
  OfflineStore,
  OwnerEpoch,
} from "../core/offline/contract.ts";
import type { WindowPage, WindowSegment } from "../core/offline/window_store.ts";
import { ChatifyError } from "../core/protocol/errors.ts";
import type { Host } from "./host.ts";
import type { SeededRandom } from "./seeded_random.ts";

const TIMEOUT_MS = 5_000;

/** The offline process and its database. */
export interface StoreServer {
  host: Host;
  readonly store: OfflineStore;
  /** Part of the calls that the database fails, and of the replies that are lost. */
  errors: number;
  lostReplies: number;
}

export class StoreLink implements OfflineStore {
  constructor(
    private readonly server: StoreServer,
    private readonly host: Host,
    private readonly random: SeededRandom,
  ) {}

  archive(owner: OwnerEpoch, rows: readonly OfflineRow[]): Promise<void> {
    return this.call((store) => store.archive(owner, rows));
  }

  page(user: string, cursor: string | null, limit: number, nowS: number): Promise<OfflinePage> {
    return this.call((store) => store.page(user, cursor, limit, nowS));
  }

  cursorOf(user: string, msgId: string): Promise<string | null> {
    return this.call((store) => store.cursorOf(user, msgId));
  }

  confirm(
    owner: OwnerEpoch | null,
    confirmed: Parameters<OfflineStore["confirm"]>[1],
  ): Promise<number> {
    return this.call((store) => store.confirm(owner, confirmed));
  }

  withRows(users: readonly string[]): Promise<string[]> {
    return this.call((store) => store.withRows(users));
  }

  users(after: string, limit: number): Promise<string[]> {
    return this.call((store) => store.users(after, limit));
  }

  markChats(marks: readonly ChatMark[]): Promise<void> {
    return this.call((store) => store.markChats(marks));
  }

  chatMark(partition: number): Promise<KeptChatMark | null> {
    return this.call((store) => store.chatMark(partition));
  }

  reserveSeqs(partition: number, above: number, count: number): Promise<number> {
    return this.call((store) => store.reserveSeqs(partition, above, count));
  }

  sweep(nowS: number, limit: number): Promise<{ user_id: string; msg_id: string }[]> {
    return this.call((store) => store.sweep(nowS, limit));
  }

  count(): Promise<number> {
    return this.call((store) => store.count());
  }

  saveWindow(segments: readonly WindowSegment[]): Promise<void> {
    return this.call((store) => store.saveWindow(segments));
  }

  windowPage(
    partition: number,
    cursor: string | null,
    limit: number,
    nowS: number,
  ): Promise<WindowPage> {
    return this.call((store) => store.windowPage(partition, cursor, limit, nowS));
  }

  sweepWindow(nowS: number, limit: number): Promise<number> {
    return this.call((store) => store.sweepWindow(nowS, limit));
  }

  private call<T>(step: (store: OfflineStore) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const { host, random, server } = this;
      const { scheduler } = host;
      const unavailable = (why: string) => new ChatifyError("unavailable", `offline: ${why}`, 250);
      const timeout = host.clock.after(TIMEOUT_MS, () => reject(unavailable("no answer")));
      const answer = (settle: () => void) => {
        timeout.cancel();
        settle();
      };
      const reply = (settle: () => void) => {
        if (random.chance(server.lostReplies)) return;
        scheduler.after(random.between(0.2, 2), () => host.deliver("store", () => answer(settle)));
      };
      const serve = () => {
        if (random.chance(server.errors)) {
          reply(() => reject(unavailable("the database failed")));
          return;
        }
        step(server.store).then(
          (value) => reply(() => resolve(value)),
          (error: unknown) => reply(() => reject(error)),
        );
      };
      scheduler.after(random.between(0.2, 2), () => {
        const target = server.host;
        if (target.alive) target.deliver("store", serve);
        else reply(() => reject(unavailable("connection refused")));
      });
    });
  }
}
