/** The routes of push as the OpenAPI document shows them. */
import type { RouteDoc } from "../../core/http/route_doc.ts";
import {
  BatchQueryOnlineAnswer,
  BatchQueryOnlineBody,
  EndedAnswer,
  KickBody,
  RevokedAnswer,
  RevokeTokensBody,
  UserParam,
  UserSessionsAnswer,
} from "./api_bodies.ts";

const USERS = "/chatify/push/v1/users/:user";
const zoe = { user: "zoe" };

export const PUSH_ROUTES: readonly RouteDoc[] = [
  {
    method: "post",
    path: "/chatify/push/v1/BatchQueryOnline",
    id: "batchQueryOnline",
    tag: "Presence",
    summary: "Ask who is online",
    body: { schema: BatchQueryOnlineBody },
    status: 200,
    answer: BatchQueryOnlineAnswer,
    errors: [],
    examples: [
      {
        name: "two users",
        body: { user_ids: ["zoe", "yan"] },
        answer: {
          users: [
            { user_id: "zoe", online: false, sessions: [] },
            { user_id: "yan", online: false, sessions: [] },
          ],
        },
      },
      { name: "nobody", body: { user_ids: [] }, status: 422, answer: { code: "bad_request" } },
    ],
  },
  {
    method: "get",
    path: `${USERS}/sessions`,
    id: "getSessions",
    tag: "Presence",
    summary: "List a user's sessions",
    description: "One for each device that is connected, and where.",
    params: UserParam,
    status: 200,
    answer: UserSessionsAnswer,
    errors: [],
    examples: [
      { name: "a user who is away", params: zoe, answer: { user_id: "zoe", online: false } },
    ],
  },
  {
    method: "post",
    path: `${USERS}/kick`,
    id: "kickUser",
    tag: "Presence",
    summary: "End a user's sessions",
    description:
      "Of one device, or all. Their connections are closed with 4101 and get nothing any more; " +
      "clients do not come back by themselves. A new connection is welcome: to keep somebody out, " +
      "revoke the tokens.",
    params: UserParam,
    body: { schema: KickBody, optional: true },
    status: 200,
    answer: EndedAnswer,
    errors: [],
    examples: [
      { name: "all devices", params: zoe, answer: { user_id: "zoe", ended: [] } },
      { name: "one device", params: zoe, body: { device_id: "phone" }, answer: { ended: [] } },
    ],
  },
  {
    method: "post",
    path: `${USERS}/revokeTokens`,
    id: "revokeTokens",
    tag: "Presence",
    summary: "Revoke a user's tokens",
    description:
      "Tokens issued before `before` (unix seconds; without it: until now), and those that do not " +
      "say when, open nothing any more. Sessions end at once; those who hold a newer token come " +
      "back, the others are closed with 4106. A revocation is never taken back; a later one replaces it.",
    params: UserParam,
    body: { schema: RevokeTokensBody, optional: true },
    status: 200,
    answer: RevokedAnswer,
    errors: [],
    examples: [
      {
        name: "all before a moment",
        params: zoe,
        body: { before: 1_764_000_000 },
        answer: { user_id: "zoe", tokens_before: 1_764_000_000 },
      },
    ],
  },
];
