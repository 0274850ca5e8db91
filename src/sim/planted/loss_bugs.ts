/** Mistakes in what follows when Redis has less than it had confirmed. */
import type { OfflineStore } from "../../core/offline/contract.ts";
import type { SeamContext, Seams } from "../seams.ts";
import { override, type PlantedBug } from "./planted_bug.ts";

const storeOf = (role: SeamContext["role"], wrap: (inner: OfflineStore) => Partial<OfflineStore>) =>
  ({
    store: (inner, context) => (context.role === role ? override(inner, wrap(inner)) : inner),
  }) satisfies Seams;

export const LOSS_BUGS: readonly PlantedBug[] = [
  {
    name: "numbers_taken_from_redis_after_loss",
    mistake: "an owner goes on with the numbers that Redis has, whatever SQL knows",
    dataLoss: true,
    seams: () =>
      storeOf("logic", () => {
        return {
          chatMark: async () => null,
          reserveSeqs: async (_, above, count) => above + count,
        };
      }),
  },
  {
    name: "rows_forgotten_with_their_marks",
    mistake: "after a loss nobody asks SQL who has stored messages",
    dataLoss: true,
    seams: () => storeOf("push", () => ({ users: async () => [], withRows: async () => [] })),
  },
  {
    name: "sessions_not_registered_again",
    mistake: "a gateway does not notice that Redis has forgotten its connections",
    dataLoss: true,
    seams: () => ({
      registry: (registry, { role }) =>
        override(registry, {
          async heartbeat(self) {
            const heard = await registry.heartbeat(self);
            return role === "gateway" ? { ...heard, known: true, server: "the same" } : heard;
          },
        }),
    }),
  },
  {
    name: "lost_commits_not_noticed",
    mistake: "an owner goes on under its epoch although Redis has lost what it committed",
    dataLoss: true,
    seams: () => ({
      registry: (registry) =>
        override(registry, { lease: (group, self, quota) => registry.lease(group, self, quota) }),
      streams: (streams) =>
        override(streams, { commit: (commit) => streams.commit({ ...commit, after: 0 }) }),
    }),
  },
];
