/** Mistakes around the streams: settling, reading, fencing, numbering, idempotency. */
import type { OfflineStore } from "../../core/offline/contract.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import type { Commit, Streams } from "../../core/streams/contract.ts";
import type { MemoryStream } from "../../core/streams/memory_stream.ts";
import type { SeamContext, Seams } from "../seams.ts";
import { override, type PlantedBug } from "./planted_bug.ts";

type Wrap = (streams: Streams, context: SeamContext) => Partial<Streams>;

/** Replaces some of what the nodes of one role see of the streams. */
const around = (role: SeamContext["role"], wrap: Wrap): Seams => ({
  streams: (streams, context) =>
    context.role === role ? override(streams, wrap(streams, context)) : streams,
});

const isUnknown = (error: unknown): boolean =>
  error instanceof ChatifyError && error.code === "outcome_unknown";

/** Changes each stream of the engine when it is first used. */
function onStreams(change: (stream: MemoryStream, key: string) => void): Seams {
  return {
    engine(engine) {
      const known = new Set<MemoryStream>();
      const original = engine.streamAt.bind(engine);
      engine.streamAt = (key) => {
        const stream = original(key);
        if (!known.has(stream)) change(stream, key);
        known.add(stream);
        return stream;
      };
    },
  };
}

/** Replaces some of what logic nodes see of the store. */
const windows = (replaced: Partial<OfflineStore>): Seams => ({
  store: (store, { role }) => (role === "logic" ? override(store, replaced) : store),
});

/** The commit with the epoch that is current when it is applied, so that no fence stops it. */
function unfenced(commit: Commit, { engine }: SeamContext): Commit {
  const { group, partition } = commit.fence;
  const fence = {
    group,
    partition,
    get epoch() {
      return engine.leases.get(engine.keys.lease(group, partition))?.epoch ?? 0;
    },
  };
  return { ...commit, fence };
}

export const STREAM_BUGS: readonly PlantedBug[] = [
  {
    name: "settled_before_handed_on",
    mistake: "logic acknowledges an entry, and appends to push_task after that",
    seams: () =>
      around("logic", (streams) => ({
        async commit(commit) {
          const { settles, ...rest } = commit;
          await streams.commit({ fence: commit.fence, ...(settles ? { settles } : {}) });
          await streams.commit(rest);
        },
      })),
  },
  {
    name: "group_created_at_the_end",
    mistake: "a new owner creates the consumer group at $ instead of at 0",
    seams: () =>
      onStreams((stream) => {
        const create = stream.createGroup.bind(stream);
        stream.createGroup = (anew) => {
          create(anew);
          stream.read("nobody", Number.POSITIVE_INFINITY);
          stream.pending.clear();
        };
      }),
  },
  {
    name: "trimmed_by_length",
    mistake: "push_task is trimmed with MAXLEN",
    seams: () =>
      onStreams((stream, key) => {
        const append = stream.append.bind(stream);
        stream.append = (entry) => {
          append(entry);
          if (key.startsWith("push_task")) stream.trim(2);
        };
      }),
  },
  {
    name: "late_commit_not_fenced",
    mistake: "the commit of an owner that was stopped is applied although another one exists",
    seams: () => ({
      streams: (streams, context) =>
        override(streams, { commit: (commit) => streams.commit(unfenced(commit, context)) }),
    }),
  },
  {
    name: "epoch_not_raised",
    mistake: "a lease changes hands and keeps its epoch",
    seams: () => ({
      registry: (registry, { engine }) =>
        override(registry, {
          async lease(group, self, quota, known) {
            const owned = await registry.lease(group, self, quota, known);
            for (const lease of engine.leases.values()) lease.epoch = 1;
            return owned.map((lease) => ({ ...lease, epoch: 1 }));
          },
        }),
    }),
  },
  {
    name: "seq_not_recorded",
    mistake: "the last number of a conversation is kept in memory only",
    seams: () =>
      around("logic", (streams) => ({
        commit: (commit) => {
          const puts = (commit.puts ?? []).filter(({ map }) => map !== "seq");
          return streams.commit({ ...commit, puts });
        },
      })),
  },
  {
    name: "seq_kept_across_ownership",
    mistake: "an owner that gets a partition back goes on with the numbers that it remembers",
    seams: () =>
      around("logic", (streams) => {
        const remembered = new Map<string, string>();
        return {
          async mapGet(map, group, partition, fields) {
            const values = await streams.mapGet(map, group, partition, fields);
            return values.map((value, i) => {
              if (map !== "seq") return value;
              const field = fields[i] ?? "";
              const known = remembered.get(field) ?? value;
              if (known !== undefined) remembered.set(field, known);
              return known;
            });
          },
          async commit(commit) {
            await streams.commit(commit);
            for (const { map, entries } of commit.puts ?? []) {
              if (map === "seq") for (const [field, value] of entries) remembered.set(field, value);
            }
          },
        };
      }),
  },
  {
    name: "dedup_forgotten_at_take_over",
    mistake: "a new owner starts with an empty idempotency window",
    seams: () =>
      around("logic", (streams) => ({
        async *mapSlices(map, group, partition) {
          if (map !== "dedup") yield* streams.mapSlices(map, group, partition);
        },
      })),
  },
  {
    name: "window_in_sql_forgotten_at_take_over",
    mistake: "a new owner reads the idempotency window from Redis, and not from SQL",
    seams: () => windows({ windowPage: async () => ({ segments: [], cursor: null }) }),
  },
  {
    name: "window_dropped_unsaved",
    mistake: "a slice of the idempotency window leaves Redis before SQL has it",
    seams: () => windows({ saveWindow: async () => {} }),
  },
  {
    name: "unknown_commit_taken_for_done",
    mistake: "a commit whose reply was lost is not repeated",
    seams: () =>
      around("logic", (streams) => ({
        commit: (commit) =>
          streams.commit(commit).catch((error: unknown) => {
            if (!isUnknown(error)) throw error;
          }),
      })),
  },
  {
    name: "unknown_append_taken_for_done",
    mistake: "access says accepted although the outcome of the append is not known",
    seams: () =>
      around("access", (streams) => ({
        async append(entries) {
          const results = await streams.append(entries);
          return results.map((result) => (isUnknown(result) ? "0-1" : result));
        },
      })),
  },
  {
    name: "accepted_before_durable",
    mistake: "access says accepted when the append has left",
    seams: () =>
      around("access", (streams) => ({
        async append(entries) {
          void streams.append(entries);
          return entries.map((_, i) => `0-${i + 1}`);
        },
      })),
  },
  {
    name: "unknown_append_reissued",
    mistake: "logic numbers again what it has numbered, after a commit whose reply was lost",
    seams: () =>
      around("logic", (streams) => ({
        async commit(commit) {
          const twice = (commit.puts ?? []).map((put) =>
            put.map === "seq" ? { ...put, entries: put.entries.map(stepBack) } : put,
          );
          await streams.commit(commit).catch(async (error: unknown) => {
            if (!isUnknown(error)) throw error;
            await streams.commit({ ...commit, turn: (commit.turn ?? 0) + 1, puts: twice });
          });
        },
      })),
  },
  {
    name: "change_notice_dropped",
    mistake: "the owner of a group goes on with the members that it has cached",
    seams: () =>
      around("logic", (streams) => ({
        append: async (entries) => {
          const kept = entries.filter(({ body }) => !body.includes("chatify.changed"));
          return kept.length === entries.length ? streams.append(entries) : ["0-1"];
        },
      })),
  },
];

function stepBack([field, value]: [string, string]): [string, string] {
  return [field, `${Number(value) - 1}`];
}
