/** The routes of push jobs and tags as the OpenAPI document shows them. */
import type { RouteDoc } from "../../core/http/route_doc.ts";
import { PushJobBody } from "./job_body.ts";
import { JOBS, JobAnswer, JobParam, JobsAnswer, JobsQuery } from "./job_routes.ts";
import { PushHeaders } from "./push_route.ts";
import {
  TagChangeAnswer,
  TagParam,
  TagsAnswer,
  TagUsersAnswer,
  TagUsersBody,
  TagUsersQuery,
  UserParam,
  UserTagsAnswer,
} from "./tag_routes.ts";

const TAGS = "/chatify/logic/v1/tags";
const beta = { tag: "beta" };
const latest = { job: "latest" };
const content = "TmV3IGluIHRoaXMgdmVyc2lvbg==";

const TAG_ROUTES: readonly RouteDoc[] = [
  {
    method: "post",
    path: `${TAGS}/:tag/users`,
    id: "addTagUsers",
    tag: "Tags",
    summary: "Give users a tag",
    description: "Who has it already keeps it. `changed` counts those who did not have it.",
    params: TagParam,
    body: { schema: TagUsersBody },
    status: 200,
    answer: TagChangeAnswer,
    errors: ["conflict", "too_large"],
    examples: [
      { name: "two", params: beta, body: { user_ids: ["ann", "bob"] }, answer: { changed: 2 } },
    ],
  },
  {
    method: "get",
    path: TAGS,
    id: "getTags",
    tag: "Tags",
    summary: "List the tags that users have",
    status: 200,
    answer: TagsAnswer,
    errors: [],
    examples: [{ name: "one", answer: { tags: [{ tag: "beta", users: 2 }] } }],
  },
  {
    method: "get",
    path: `${TAGS}/:tag/users`,
    id: "getTagUsers",
    tag: "Tags",
    summary: "List the users who have a tag",
    description: "In no order, in pages of about `limit`; somebody may be on two pages.",
    params: TagParam,
    query: TagUsersQuery,
    status: 200,
    answer: TagUsersAnswer,
    errors: [],
    examples: [{ name: "first page", params: beta, query: { limit: "10" }, answer: beta }],
  },
  {
    method: "get",
    path: "/chatify/logic/v1/users/:user/tags",
    id: "getUserTags",
    tag: "Tags",
    summary: "List the tags of a user",
    params: UserParam,
    status: 200,
    answer: UserTagsAnswer,
    errors: [],
    examples: [{ name: "one", params: { user: "ann" }, answer: { tags: ["beta"] } }],
  },
  {
    method: "delete",
    path: `${TAGS}/:tag/users`,
    id: "removeTagUsers",
    tag: "Tags",
    summary: "Take a tag from users",
    params: TagParam,
    body: { schema: TagUsersBody },
    status: 200,
    answer: TagChangeAnswer,
    errors: ["too_large"],
    examples: [{ name: "one", params: beta, body: { user_ids: ["bob"] }, answer: { changed: 1 } }],
  },
];

const JOB_ROUTES: readonly RouteDoc[] = [
  {
    method: "post",
    path: JOBS,
    id: "createPushJob",
    tag: "Push jobs",
    summary: "Push one content to a list, a group, a tag, or everybody online",
    description:
      "The body is an object that says what to push. A list of any length follows it, a user per " +
      "line (NDJSON: text, a number, or an object with `user_id`); it is read as it comes. The job " +
      "begins when all of it is there, and an upload that breaks off leaves nothing. Each user gets " +
      "it once, however often the list has them.",
    headers: PushHeaders,
    body: { schema: PushJobBody },
    status: 201,
    answer: JobAnswer,
    errors: ["conflict", "key_reused", "rate_limited"],
    examples: [
      {
        name: "a tag, tomorrow, a hundred per second",
        body: { content, to_tag: "beta", rate: 100, start_time: 86_400 },
        answer: { state: "scheduled", rate: 100, target: { kind: "tag", name: "beta" } },
      },
      {
        name: "a list",
        body: `{"content":"${content}","from_user_id":"news","start_time":3600}\n"ann"\n"bob"\n"ann"\n`,
        answer: { state: "scheduled", target: { kind: "list" } },
      },
      {
        name: "to nobody",
        body: { content },
        status: 422,
        answer: { code: "bad_request" },
      },
    ],
  },
  {
    method: "get",
    path: JOBS,
    id: "getPushJobs",
    tag: "Push jobs",
    summary: "List push jobs, the latest first",
    query: JobsQuery,
    status: 200,
    answer: JobsAnswer,
    errors: [],
    examples: [{ name: "the latest", query: { limit: "1" }, answer: {} }],
  },
  {
    method: "get",
    path: `${JOBS}/:job`,
    id: "getPushJob",
    tag: "Push jobs",
    summary: "See how far a push job has come",
    description:
      "Each user of the job is in exactly one of waiting, in_flight, acked, stored_offline, expired " +
      "and cancelled; their sum is accepted. A message that is acked later, out of the offline store, " +
      "moves from one to the other, as long as the job is kept.",
    params: JobParam,
    status: 200,
    answer: JobAnswer,
    errors: ["not_found"],
    examples: [
      { name: "the latest", params: latest, answer: { state: "scheduled" } },
      {
        name: "no such job",
        params: { job: "1m86cqh8f83dejr4m" },
        status: 404,
        answer: { code: "not_found" },
      },
    ],
  },
  {
    method: "post",
    path: `${JOBS}/:job/pause`,
    id: "pausePushJob",
    tag: "Push jobs",
    summary: "Pause a push job",
    description: "Once this is answered nothing goes out until it is resumed.",
    params: JobParam,
    status: 200,
    answer: JobAnswer,
    errors: ["not_found", "conflict"],
    examples: [{ name: "the latest", params: latest, answer: { state: "paused" } }],
  },
  {
    method: "post",
    path: `${JOBS}/:job/resume`,
    id: "resumePushJob",
    tag: "Push jobs",
    summary: "Let a paused push job go on",
    params: JobParam,
    status: 200,
    answer: JobAnswer,
    errors: ["not_found", "conflict"],
    examples: [{ name: "the latest", params: latest, answer: { state: "scheduled" } }],
  },
  {
    method: "delete",
    path: `${JOBS}/:job`,
    id: "cancelPushJob",
    tag: "Push jobs",
    summary: "Cancel what a push job has not sent yet",
    description: "What has gone out stays out, and its counts go on.",
    params: JobParam,
    status: 200,
    answer: JobAnswer,
    errors: ["not_found", "conflict"],
    examples: [{ name: "the latest", params: latest, answer: { state: "cancelled" } }],
  },
];

export const JOB_AND_TAG_ROUTES: readonly RouteDoc[] = [...TAG_ROUTES, ...JOB_ROUTES];
