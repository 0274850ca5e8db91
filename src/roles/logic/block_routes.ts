/**
 * Block lists over HTTP. As with groups, the owner of the two users' conversation is told before
 * the answer, so that a message accepted after it is judged by the changed list.
 */
import type { Context, Hono } from "hono";
import * as z from "zod";
import { checked } from "../../core/http/json_body.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { conversationId, UserId } from "../../core/protocol/message.ts";
import type { Relations } from "../../core/relations/contract.ts";
import type { ConversationNotices } from "./api_contract.ts";
import { changeThenNotify } from "./changes.ts";

export const BlockAnswer = z.object({
  user_id: z.string(),
  blocked_user_id: z.string(),
  blocked: z.boolean(),
});
export const BlocksAnswer = z.object({
  user_id: z.string(),
  blocked_user_ids: z.array(z.string()),
});

export interface BlockRoutesDeps {
  readonly relations: Relations;
  readonly notices: ConversationNotices;
}

const BLOCKS = "/chatify/logic/v1/users/:user/blocks";
const OneUser = z.object({ user: UserId });
const TwoUsers = z.object({ user: UserId, blocked: UserId });

export function addBlockRoutes(app: Hono, { relations, notices }: BlockRoutesDeps): void {
  const change = async (c: Context, blocks: boolean) => {
    const { user, blocked } = checked(TwoUsers, {
      user: c.req.param("user"),
      blocked: c.req.param("blocked"),
    });
    if (user === blocked) throw new ChatifyError("bad_request", "nobody can block themselves");
    await changeThenNotify(notices, conversationId("USER", user, blocked), () =>
      blocks ? relations.block(user, blocked) : relations.unblock(user, blocked),
    );
    return c.json({ user_id: user, blocked_user_id: blocked, blocked: blocks });
  };

  app.put(`${BLOCKS}/:blocked`, (c) => change(c, true));
  app.delete(`${BLOCKS}/:blocked`, (c) => change(c, false));

  app.get(BLOCKS, async (c) => {
    const { user } = checked(OneUser, { user: c.req.param("user") });
    return c.json({ user_id: user, blocked_user_ids: await relations.blockedBy(user) });
  });
}
