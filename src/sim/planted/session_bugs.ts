/** Mistakes around sessions and offline storage. */
import type { OfflineRow, OfflineStore } from "../../core/offline/contract.ts";
import { decodePushTasks, encodePushTasks } from "../../core/protocol/push_task.ts";
import type { Session, SessionDirectory, SessionRef } from "../../core/sessions/contract.ts";
import type { ReadBatch, StreamEntry } from "../../core/streams/contract.ts";
import type { MemoryEngine } from "../../core/streams/memory_engine.ts";
import type { SeamContext, Seams } from "../seams.ts";
import { override, type PlantedBug } from "./planted_bug.ts";

const directory = (
  wrap: (inner: SessionDirectory, context: SeamContext) => Partial<SessionDirectory>,
): Seams => ({ directory: (inner, context) => override(inner, wrap(inner, context)) });

const database = (wrap: (inner: OfflineStore) => Partial<OfflineStore>): Seams => ({
  database: (inner) => override(inner, wrap(inner)),
});

/** The session that the device has now, as the directory will see it when it looks. */
function currentOf(engine: MemoryEngine, { user, device }: SessionRef): SessionRef {
  const find = (): Session | undefined => {
    for (const users of engine.sessions.values()) {
      const json = users.get(user);
      if (json === undefined) continue;
      return (JSON.parse(json) as Session[]).find((session) => session.device === device);
    }
    return undefined;
  };
  return {
    user,
    device,
    get gateway() {
      return find()?.gateway ?? "";
    },
    get conn() {
      return find()?.conn ?? 0;
    },
    get epoch() {
      return find()?.epoch ?? 0;
    },
  };
}

function withoutExpiry(entry: StreamEntry): StreamEntry {
  const tasks = decodePushTasks(entry.body).map((task) => ({ ...task, expireTime: 0 }));
  return { ...entry, body: encodePushTasks(tasks) };
}

const withoutExpiries = (batches: readonly ReadBatch[]): ReadBatch[] =>
  batches.map((batch) =>
    batch.topic === "push_task" ? { ...batch, entries: batch.entries.map(withoutExpiry) } : batch,
  );

export const SESSION_BUGS: readonly PlantedBug[] = [
  {
    name: "stale_offline_clears_newer_session",
    mistake: "an unregister names the device only, and ends whatever session it has",
    seams: () =>
      directory((inner, { engine }) => ({
        unregister: (sessions) => inner.unregister(sessions.map((s) => currentOf(engine, s))),
      })),
  },
  {
    name: "late_registration_wins",
    mistake: "of two registrations of a device the one that comes last stands",
    seams: () =>
      directory((inner, { engine }) => ({
        register: (sessions) =>
          inner.register(
            sessions.map((session) => ({
              ...session,
              get since() {
                return engine.now();
              },
            })),
          ),
      })),
  },
  {
    name: "sessions_never_end",
    mistake: "nobody unregisters a session that has ended",
    seams: () => directory(() => ({ unregister: async () => {} })),
  },
  {
    name: "kick_bars_and_ends_nothing",
    mistake: "whoever is kicked cannot come back, and stays as long as the connection lasts",
    seams: () => ({
      directory: (inner, { role }) =>
        role === "push" ? override(inner, { unregister: async () => {} }) : inner,
      trunk: () => ({
        receive: (_self, _peer, message) => (message.t === "close" ? [] : [message]),
      }),
    }),
  },
  {
    name: "stored_mark_not_read",
    mistake: "a new owner sends what is new before what is stored",
    seams: () =>
      directory((inner) => ({
        async lookup(users) {
          const found = await inner.lookup(users);
          return found.map(({ sessions }) => ({ sessions, stored: false }));
        },
      })),
  },
  {
    name: "stored_mark_not_written",
    mistake: "rows are archived without marking their user",
    seams: () => ({
      streams: (streams) =>
        override(streams, {
          commit: (commit) => {
            const puts = (commit.puts ?? []).filter(({ map }) => map !== "stored");
            return streams.commit({ ...commit, puts });
          },
        }),
    }),
  },
  {
    name: "store_not_fenced",
    mistake: "the store takes what an owner writes that has been succeeded",
    seams: () =>
      database((inner) => {
        const owner = { partition: 0, epoch: Number.MAX_SAFE_INTEGER };
        return {
          archive: (_owner, rows) => inner.archive(owner, rows),
          confirm: (_owner, confirmed) => inner.confirm(owner, confirmed),
        };
      }),
  },
  {
    name: "archive_lost",
    mistake: "the store answers before its transaction is on disk, and loses some",
    seams: () =>
      database((inner) => {
        let calls = 0;
        return {
          archive: async (owner, rows) => {
            if (++calls % 7 !== 0) await inner.archive(owner, rows);
          },
        };
      }),
  },
  {
    name: "archived_in_wrong_order",
    mistake: "rows of one call are stored in any order",
    seams: () =>
      database((inner) => ({
        archive: (owner, rows) => inner.archive(owner, rows.toReversed()),
      })),
  },
  {
    name: "deleted_when_sent",
    mistake: "a page that is fetched is deleted, before any device has acked it",
    seams: () =>
      database((inner) => ({
        async page(user, cursor, limit, nowS) {
          const page = await inner.page(user, cursor, limit, nowS);
          const msg_ids = page.rows.map(({ msg_id }) => msg_id);
          await inner.confirm(null, [{ user_id: user, msg_ids }]);
          return page;
        },
      })),
  },
  {
    name: "live_again_before_empty",
    mistake: "a replay ends after its first page, with rows left in the store",
    seams: () =>
      database((inner) => {
        const paged = new Set<string>();
        return {
          async page(user, cursor, _limit, nowS) {
            const page = await inner.page(user, cursor, 2, nowS);
            if (!paged.has(user)) paged.add(user);
            else if (paged.delete(user)) return { rows: [] as OfflineRow[], cursor: null };
            return page;
          },
        };
      }),
  },
  {
    name: "confirmed_for_everybody",
    mistake: "a message of a group is deleted for all when one member has it",
    seams: () => ({
      database: (inner) =>
        override(inner, {
          async confirm(owner, confirmed) {
            const msg_ids = confirmed.flatMap((each) => each.msg_ids);
            const users = ["ada", "bob", "cyn", "dan", "eve", "fay", "gus", "hal"];
            return inner.confirm(
              owner,
              users.map((user_id) => ({ user_id, msg_ids })),
            );
          },
        }),
    }),
  },
  {
    name: "expired_delivered",
    mistake: "nobody looks at the expiry when a message goes out",
    seams: () => ({
      streams: (streams) =>
        override(streams, {
          reader: (group, onBatch, onError, mayRead) =>
            streams.reader(group, (batches) => onBatch(withoutExpiries(batches)), onError, mayRead),
        }),
    }),
  },
];
