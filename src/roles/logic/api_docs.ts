/** The routes of logic as the OpenAPI document shows them. */
import * as z from "zod";
import type { RouteDoc } from "../../core/http/route_doc.ts";
import { GroupId, UserId } from "../../core/protocol/message.ts";
import { BlockAnswer, BlocksAnswer } from "./block_routes.ts";
import { CreateGroupBody, GroupAnswer, MembersAnswer, MembersBody } from "./group_routes.ts";
import { JOB_AND_TAG_ROUTES } from "./job_docs.ts";
import { SystemPushBody } from "./push_body.ts";
import { PushHeaders, PushQuery, SystemPushAnswer } from "./push_route.ts";

const GROUPS = "/chatify/logic/v1/groups";
const BLOCKS = "/chatify/logic/v1/users/:user/blocks";
const GroupParam = z.object({ group: GroupId });
const team = { group: "team" };

const PUSH: readonly RouteDoc[] = [
  {
    method: "post",
    path: "/chatify/logic/v1/sendSystemPush",
    id: "sendSystemPush",
    tag: "Push",
    summary: "Push one content to users",
    description:
      "Answers when the push is durable: from then on every user gets it, live or at the next " +
      "connect, unless it expires. `content` is base64 of anything. `push_type` is a number or a " +
      "name (NOTICE 1, INFORM 2); others are passed on as they are. `content_id` is the caller's own.",
    headers: PushHeaders,
    query: PushQuery,
    body: { schema: SystemPushBody },
    status: 200,
    answer: SystemPushAnswer,
    errors: ["key_reused", "rate_limited", "too_large"],
    examples: [
      {
        name: "two users",
        body: {
          content: "TWFpbnRlbmFuY2UgYXQgMjI6MDA=",
          content_id: "maintenance-7",
          push_type: "NOTICE",
          from_user_id: "operations",
          to_user_ids: ["ann", "bob"],
        },
        answer: { accepted: 2 },
      },
      {
        name: "numbers as text",
        body: {
          content: "aGVsbG8",
          content_id: "41",
          timestamp: "1764000000",
          push_type: "2",
          from_user_id: "operations",
          to_user_ids: ["ann"],
          expire_time: "4102444800",
        },
        answer: { accepted: 1 },
      },
      {
        name: "expired before it was sent",
        body: { content: "aGVsbG8=", to_user_ids: ["ann"], expire_time: 1_500_000_000 },
        answer: { accepted: 0 },
      },
    ],
  },
];

const GROUP: readonly RouteDoc[] = [
  {
    method: "post",
    path: GROUPS,
    id: "createGroup",
    tag: "Groups",
    summary: "Create a group",
    description: "The owner is a member. Without a `group_id` the group gets a random one.",
    body: { schema: CreateGroupBody },
    status: 201,
    answer: GroupAnswer,
    errors: ["conflict", "group_full", "too_large"],
    examples: [
      {
        name: "a team",
        body: { group_id: "team", owner_id: "ann", members: ["bob", "cat"] },
        answer: { group_id: "team", owner_id: "ann", member_count: 3 },
      },
    ],
  },
  {
    method: "get",
    path: `${GROUPS}/:group`,
    id: "getGroup",
    tag: "Groups",
    summary: "Look at a group",
    params: GroupParam,
    status: 200,
    answer: GroupAnswer,
    errors: ["not_found"],
    examples: [
      { name: "a team", params: team, answer: { group_id: "team", member_count: 3 } },
      {
        name: "no such group",
        params: { group: "nobodys" },
        status: 404,
        answer: { code: "not_found" },
      },
    ],
  },
  {
    method: "get",
    path: `${GROUPS}/:group/members`,
    id: "getGroupMembers",
    tag: "Groups",
    summary: "List the members of a group",
    params: GroupParam,
    status: 200,
    answer: MembersAnswer,
    errors: ["not_found"],
    examples: [{ name: "a team", params: team, answer: { group_id: "team" } }],
  },
  {
    method: "post",
    path: `${GROUPS}/:group/members`,
    id: "addGroupMembers",
    tag: "Groups",
    summary: "Add members",
    description: "Who is a member already stays one. A group has at most 10 000 members.",
    params: GroupParam,
    body: { schema: MembersBody },
    status: 200,
    answer: GroupAnswer,
    errors: ["not_found", "group_full", "too_large"],
    examples: [
      { name: "one more", params: team, body: { user_ids: ["dan"] }, answer: { member_count: 4 } },
    ],
  },
  {
    method: "delete",
    path: `${GROUPS}/:group/members`,
    id: "removeGroupMembers",
    tag: "Groups",
    summary: "Remove members",
    params: GroupParam,
    body: { schema: MembersBody },
    status: 200,
    answer: GroupAnswer,
    errors: ["not_found", "conflict", "too_large"],
    examples: [
      { name: "one", params: team, body: { user_ids: ["dan"] }, answer: { member_count: 3 } },
    ],
  },
  {
    method: "delete",
    path: `${GROUPS}/:group/members/:user`,
    id: "removeGroupMember",
    tag: "Groups",
    summary: "Remove one member",
    params: GroupParam.extend({ user: UserId }),
    status: 200,
    answer: GroupAnswer,
    errors: ["not_found", "conflict"],
    examples: [{ name: "one", params: { ...team, user: "cat" }, answer: { member_count: 2 } }],
  },
  {
    method: "delete",
    path: `${GROUPS}/:group`,
    id: "deleteGroup",
    tag: "Groups",
    summary: "Delete a group",
    params: GroupParam,
    status: 200,
    answer: z.object({ group_id: z.string() }),
    errors: ["not_found"],
    examples: [{ name: "a team", params: team, answer: { group_id: "team" } }],
  },
];

const BLOCK: readonly RouteDoc[] = [
  {
    method: "put",
    path: `${BLOCKS}/:blocked`,
    id: "blockUser",
    tag: "Blocks",
    summary: "Block a user",
    description: "From then on what `blocked` sends to `user` is rejected with `blocked`.",
    params: z.object({ user: UserId, blocked: UserId }),
    status: 200,
    answer: BlockAnswer,
    errors: [],
    examples: [
      { name: "block", params: { user: "ann", blocked: "spammer" }, answer: { blocked: true } },
      {
        name: "oneself",
        params: { user: "ann", blocked: "ann" },
        status: 422,
        answer: { code: "bad_request" },
      },
    ],
  },
  {
    method: "get",
    path: BLOCKS,
    id: "getBlocks",
    tag: "Blocks",
    summary: "List whom a user blocks",
    params: z.object({ user: UserId }),
    status: 200,
    answer: BlocksAnswer,
    errors: [],
    examples: [{ name: "one", params: { user: "ann" }, answer: { blocked_user_ids: ["spammer"] } }],
  },
  {
    method: "delete",
    path: `${BLOCKS}/:blocked`,
    id: "unblockUser",
    tag: "Blocks",
    summary: "Unblock a user",
    params: z.object({ user: UserId, blocked: UserId }),
    status: 200,
    answer: BlockAnswer,
    errors: [],
    examples: [
      { name: "unblock", params: { user: "ann", blocked: "spammer" }, answer: { blocked: false } },
    ],
  },
];

export const LOGIC_ROUTES: readonly RouteDoc[] = [
  ...PUSH,
  ...JOB_AND_TAG_ROUTES,
  ...GROUP,
  ...BLOCK,
];
