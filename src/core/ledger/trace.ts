/** The answer to "where is this message, and why?", as the route gives it and the CLI prints it. */
import * as z from "zod";

export const TraceState = z.enum([
  /** Durable on chat_input; no logic owner has decided about it yet. */
  "accepted",
  "rejected",
  /** Handed to push and not settled: some recipient has neither confirmed nor had it stored. */
  "in_delivery",
  "delivered",
  /** In the offline store, to be sent when its recipient connects. */
  "stored",
  "expired",
  "dead_lettered",
  /** Nothing is known about it. */
  "unknown",
]);
export type TraceState = z.infer<typeof TraceState>;

export const RecipientTrace = z.object({
  user_id: z.string(),
  state: TraceState,
  why: z.string(),
  /** Devices that confirmed it. */
  devices: z.array(z.string()),
});
export type RecipientTrace = z.infer<typeof RecipientTrace>;

export const TraceStep = z.object({
  /** Unix ms by the clock of `node`. */
  at: z.number(),
  /** Since the step before. */
  after_ms: z.number(),
  role: z.string(),
  node: z.string(),
  what: z.string(),
  user_id: z.string(),
  device_id: z.string(),
  /** The same for people. */
  text: z.string(),
});
export type TraceStep = z.infer<typeof TraceStep>;

export const Trace = z.object({
  msg_id: z.string().nullable(),
  from_user_id: z.string().nullable(),
  client_msg_id: z.string().nullable(),
  /** The user or group it was sent to. */
  to: z.string().nullable(),
  seq: z.number().nullable(),
  state: TraceState,
  /** Where it is and why, in a sentence or two. */
  summary: z.string(),
  recipients: z.object({
    total: z.number(),
    delivered: z.number(),
    in_delivery: z.number(),
    stored: z.number(),
    expired: z.number(),
    dead_lettered: z.number(),
  }),
  /** At most RECIPIENTS_SHOWN_MAX of them, those first who do not have it. */
  by_recipient: z.array(RecipientTrace),
  timeline: z.array(TraceStep),
  /** What the answer does not know, and why. */
  notes: z.array(z.string()),
});
export type Trace = z.infer<typeof Trace>;

export const RECIPIENTS_SHOWN_MAX = 20;
