/**
 * Groups over HTTP. Every change is followed by a notice to the owner of the group's conversation,
 * before the answer: a message accepted after the answer is judged by the changed group.
 */
import type { Context, Hono } from "hono";
import * as z from "zod";
import type { Random } from "../../core/clock.ts";
import { arrayLength, checked, parseJson } from "../../core/http/json_body.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { conversationId, GroupId, UserId } from "../../core/protocol/message.ts";
import type { Group, Relations } from "../../core/relations/contract.ts";
import type { ConversationNotices } from "./api_contract.ts";
import { changeThenNotify } from "./changes.ts";

const userIds = z.array(UserId, { error: "takes an array of user ids" });

export const CreateGroupBody = z.object({
  group_id: GroupId.nullish(),
  owner_id: UserId,
  members: userIds.default([]),
});
export const MembersBody = z.object({ user_ids: userIds.min(1) });

export const GroupAnswer = z.object({
  group_id: z.string(),
  owner_id: z.string(),
  version: z.int(),
  /** Unix seconds. */
  created_at: z.int(),
  member_count: z.int(),
});
export type GroupAnswer = z.infer<typeof GroupAnswer>;

export const MembersAnswer = z.object({ group_id: z.string(), members: z.array(z.string()) });

export interface GroupRoutesDeps {
  readonly relations: Relations;
  readonly notices: ConversationNotices;
  readonly random: Random;
  readonly limits: Pick<Limits, "GROUP_MEMBERS_MAX">;
}

const GROUPS = "/chatify/logic/v1/groups";
const GROUP_ID_CHARS = 16;

export function addGroupRoutes(app: Hono, deps: GroupRoutesDeps): void {
  const { relations } = deps;
  const change = <T>(groupId: string, act: () => Promise<T>) =>
    changeThenNotify(deps.notices, conversationId("GROUP", "", groupId), act);

  app.post(GROUPS, async (c) => {
    const body = await limitedBody(c, CreateGroupBody, "members", deps.limits);
    const groupId = body.group_id ?? deps.random.token(GROUP_ID_CHARS);
    const create = () => relations.createGroup(groupId, body.owner_id, body.members);
    return c.json(groupAnswer(await change(groupId, create)), 201);
  });

  app.get(`${GROUPS}/:group`, async (c) => {
    const groupId = groupParam(c);
    const group = await relations.group(groupId);
    if (group === null) throw noGroup(groupId);
    return c.json(groupAnswer(group));
  });

  app.get(`${GROUPS}/:group/members`, async (c) => {
    const groupId = groupParam(c);
    const [members] = await relations.members([groupId]);
    if (members == null) throw noGroup(groupId);
    return c.json({ group_id: groupId, members });
  });

  app.post(`${GROUPS}/:group/members`, async (c) => {
    const groupId = groupParam(c);
    const { user_ids } = await limitedBody(c, MembersBody, "user_ids", deps.limits);
    const group = await change(groupId, () => relations.addMembers(groupId, user_ids));
    return c.json(groupAnswer(group));
  });

  app.delete(`${GROUPS}/:group/members`, async (c) => {
    const groupId = groupParam(c);
    const { user_ids } = await limitedBody(c, MembersBody, "user_ids", deps.limits);
    const group = await change(groupId, () => relations.removeMembers(groupId, user_ids));
    return c.json(groupAnswer(group));
  });

  app.delete(`${GROUPS}/:group/members/:user`, async (c) => {
    const groupId = groupParam(c);
    const { user } = checked(z.object({ user: UserId }), { user: c.req.param("user") });
    const group = await change(groupId, () => relations.removeMembers(groupId, [user]));
    return c.json(groupAnswer(group));
  });

  app.delete(`${GROUPS}/:group`, async (c) => {
    const groupId = groupParam(c);
    await change(groupId, () => relations.deleteGroup(groupId));
    return c.json({ group_id: groupId });
  });
}

/** The body, refused by the length of its list before that is walked. */
async function limitedBody<S extends z.ZodType>(
  c: Context,
  schema: S,
  field: string,
  limits: GroupRoutesDeps["limits"],
): Promise<z.output<S>> {
  const body = await parseJson(c.req.raw);
  const max = limits.GROUP_MEMBERS_MAX;
  if (arrayLength(body, field) <= max) return checked(schema, body);
  throw new ChatifyError("too_large", `${field}: takes at most ${max} users`);
}

function groupParam(c: Context): string {
  return checked(z.object({ group: GroupId }), { group: c.req.param("group") }).group;
}

function noGroup(groupId: string): ChatifyError {
  return new ChatifyError("not_found", `there is no group ${groupId}`);
}

function groupAnswer(group: Group): GroupAnswer {
  return {
    group_id: group.groupId,
    owner_id: group.ownerId,
    version: group.version,
    created_at: Math.floor(group.createdAt / 1_000),
    member_count: group.memberCount,
  };
}
