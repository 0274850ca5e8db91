/**
 * How push and logic reach the offline role in another process: one POST per call of the contract, JSON
 * both ways, under `/internal/offline/v1`. A client for the calls is in `http_store.ts`; the role serves
 * them. An owner that is too late is answered with status 409, which nothing else there uses.
 */
import { timingSafeEqual } from "node:crypto";
import * as z from "zod";

export const OFFLINE_INTERNAL_PATH = "/internal/offline/v1";

/** Of an answer with status 409: the epoch of the owner that is later. */
export const SEEN_EPOCH_HEADER = "x-chatify-seen-epoch";

/** Carries the cluster secret; these routes archive and delete for everybody. */
export const CLUSTER_SECRET_HEADER = "x-chatify-cluster-secret";

const Row = z.object({
  user_id: z.string(),
  msg_id: z.string(),
  conversation_id: z.string(),
  seq: z.int(),
  expire_time: z.int(),
  stored_at: z.int(),
  message: z.string(),
});
const Owner = z.object({ partition: z.int(), epoch: z.int() });
const Confirmed = z.object({ user_id: z.string(), msg_ids: z.array(z.string()) });
const Mark = z.object({
  partition: z.int(),
  epoch: z.int(),
  turn: z.int(),
  top: z.int(),
  closed: z.boolean(),
});
const Name = z.object({ user_id: z.string(), msg_id: z.string() });

const Segment = z.object({
  partition: z.int(),
  name: z.string(),
  expire_at: z.int(),
  records: z.string(),
});

/** What each call takes and returns. */
export const OFFLINE_CALLS = {
  archive: {
    request: z.object({ owner: Owner, rows: z.array(Row) }),
    response: z.object({}),
  },
  page: {
    request: z.object({
      user_id: z.string(),
      cursor: z.string().nullable(),
      limit: z.int(),
      now_s: z.int(),
    }),
    response: z.object({ rows: z.array(Row), cursor: z.string().nullable() }),
  },
  cursorOf: {
    request: z.object({ user_id: z.string(), msg_id: z.string() }),
    response: z.object({ cursor: z.string().nullable() }),
  },
  confirm: {
    request: z.object({ owner: Owner.nullable(), confirmed: z.array(Confirmed) }),
    response: z.object({ confirmed: z.int() }),
  },
  withRows: {
    request: z.object({ user_ids: z.array(z.string()) }),
    response: z.object({ user_ids: z.array(z.string()) }),
  },
  users: {
    request: z.object({ after: z.string(), limit: z.int() }),
    response: z.object({ user_ids: z.array(z.string()) }),
  },
  markChats: {
    request: z.object({ marks: z.array(Mark) }),
    response: z.object({}),
  },
  chatMark: {
    request: z.object({ partition: z.int() }),
    response: z.object({ mark: Mark.extend({ ceiling: z.int() }).nullable() }),
  },
  reserveSeqs: {
    request: z.object({ partition: z.int(), above: z.int(), count: z.int() }),
    response: z.object({ ceiling: z.int() }),
  },
  sweep: {
    request: z.object({ now_s: z.int(), limit: z.int() }),
    response: z.object({ swept: z.array(Name) }),
  },
  count: {
    request: z.object({}),
    response: z.object({ rows: z.int() }),
  },
  saveWindow: {
    request: z.object({ segments: z.array(Segment) }),
    response: z.object({}),
  },
  windowPage: {
    request: z.object({
      partition: z.int(),
      cursor: z.string().nullable(),
      limit: z.int(),
      now_s: z.int(),
    }),
    response: z.object({
      segments: z.array(Segment.pick({ name: true, records: true })),
      cursor: z.string().nullable(),
    }),
  },
  sweepWindow: {
    request: z.object({ now_s: z.int(), limit: z.int() }),
    response: z.object({ swept: z.int() }),
  },
} as const;

export type OfflineCall = keyof typeof OFFLINE_CALLS;
export type CallRequest<C extends OfflineCall> = z.infer<(typeof OFFLINE_CALLS)[C]["request"]>;
export type CallResponse<C extends OfflineCall> = z.infer<(typeof OFFLINE_CALLS)[C]["response"]>;

/** Whether `presented` is the secret; takes the same time wherever they differ. */
export function isClusterSecret(presented: string | null, secret: string): boolean {
  if (presented === null || secret === "") return false;
  return timingSafeEqual(digest(presented), digest(secret));
}

function digest(text: string): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(text).digest();
}
