/**
 * "Where is message X?": by its id, or by who sent it and the client's own id of it, which is all
 * that a person has of a message that was refused.
 */
import type { Context, Hono } from "hono";
import * as z from "zod";
import type { Clock } from "../../core/clock.ts";
import { checked } from "../../core/http/json_body.ts";
import { type EvidenceDeps, gather, type Question } from "../../core/ledger/evidence.ts";
import { tell } from "../../core/ledger/story.ts";
import type { Trace } from "../../core/ledger/trace.ts";
import { ClientMsgId, MsgId, UserId } from "../../core/protocol/message.ts";

/** `user`: whose story to tell of a message to many. */
export const TraceParams = z.object({ msg_id: MsgId });
export const TraceQuery = z.object({ user: UserId.optional() });
export const SendTraceQuery = TraceQuery.extend({
  from_user_id: UserId,
  client_msg_id: ClientMsgId,
});

export interface TraceRoutesDeps extends EvidenceDeps {
  readonly clock: Clock;
  /** Makes what this process knows findable; other nodes do so within a second by themselves. */
  readonly flush: () => Promise<void>;
}

export function addTraceRoutes(app: Hono, base: string, deps: TraceRoutesDeps): void {
  app.get(`${base}/messages/trace`, async (c: Context) => {
    const query = checked(SendTraceQuery, c.req.query());
    const { client_msg_id: clientMsgId, from_user_id: fromUserId, user } = query;
    const trace = await traceOf(deps, { msgId: null, send: { fromUserId, clientMsgId } }, user);
    return c.json(trace);
  });

  app.get(`${base}/messages/:msg_id/trace`, async (c: Context) => {
    const { user } = checked(TraceQuery, c.req.query());
    const { msg_id: msgId } = checked(TraceParams, c.req.param());
    return c.json(await traceOf(deps, { msgId, send: null }, user));
  });
}

async function traceOf(
  deps: TraceRoutesDeps,
  question: Question,
  user: string | undefined,
): Promise<Trace> {
  await deps.flush();
  const evidence = await gather(deps, question);
  return tell(evidence, deps.clock.now(), user ?? null);
}
