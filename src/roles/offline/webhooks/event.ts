/** An event on its way out: what it is about, and how often it was tried. */
import * as z from "zod";

/** `undelivered` is a question that is asked when it is due; the others are told. */
export const HookEvent = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("sent"), id: z.string(), atMs: z.number(), message: z.string() }),
  z.object({ kind: z.literal("presence"), id: z.string(), atMs: z.number(), user: z.string() }),
  z.object({
    kind: z.enum(["undelivered", "undelivered_hook", "undelivered_push"]),
    id: z.string(),
    atMs: z.number(),
    user: z.string(),
    msgId: z.string(),
    /** Of Web Push: which of the user's browsers. */
    subscription: z.string().default(""),
  }),
]);
export type HookEvent = z.infer<typeof HookEvent>;

export const Scheduled = z.object({ event: HookEvent, attempts: z.int(), firstMs: z.number() });
export type Scheduled = z.infer<typeof Scheduled>;

/** The same for the same thing, so that a receiver knows a repetition by it. */
export function eventId(...parts: readonly (string | number)[]): string {
  const digest = new Bun.CryptoHasher("sha256").update(JSON.stringify(parts)).digest("base64url");
  return `evt_${digest.slice(0, 24)}`;
}
