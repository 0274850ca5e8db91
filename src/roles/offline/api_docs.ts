/** The public routes of offline as the OpenAPI document shows them. */
import type { RouteDoc } from "../../core/http/route_doc.ts";
import { Trace } from "../../core/ledger/trace.ts";
import {
  AcknowledgeAnswer,
  AcknowledgeBody,
  ArchiveAnswer,
  ArchiveBody,
  RetrieveAnswer,
  RetrieveQuery,
} from "./public_bodies.ts";
import { SendTraceQuery, TraceParams, TraceQuery } from "./trace_routes.ts";

const eve = { user_id: "eve" };

export const OFFLINE_ROUTES: readonly RouteDoc[] = [
  {
    method: "post",
    path: "/chatify/offline/v1/ArchiveMessages",
    id: "archiveMessages",
    tag: "Offline messages",
    summary: "Store messages for a user",
    description:
      "They are delivered like any that could not be delivered before: at once to a user who is " +
      "online, else at the next connect. A message that is stored already is left as it is, so the " +
      "call may be repeated.",
    body: { schema: ArchiveBody },
    status: 200,
    answer: ArchiveAnswer,
    errors: [],
    examples: [
      {
        name: "one message",
        body: {
          ...eve,
          messages: [
            {
              msg_id: "imported-1",
              message_type: "CHAT",
              from_user_id: "ann",
              target_type: "USER",
              to_user_id: "eve",
              content: "from the old system",
              timestamp: 1_764_000_000,
            },
          ],
        },
        answer: { archived: 1 },
      },
    ],
  },
  {
    method: "get",
    path: "/chatify/offline/v1/RetrieveOfflineMessages",
    id: "retrieveOfflineMessages",
    tag: "Offline messages",
    summary: "Read what is stored for a user",
    description:
      "The oldest first. Reading deletes nothing: AcknowledgeMessages does. Pass `next_message_id` " +
      "as `last_message_id` to get the next page.",
    query: RetrieveQuery,
    status: 200,
    answer: RetrieveAnswer,
    errors: [],
    examples: [
      {
        name: "the first page",
        query: { ...eve, page_size: "100" },
        answer: { next_message_id: null, has_more: false },
      },
      {
        name: "a page that is too large",
        query: { ...eve, page_size: "5000" },
        status: 422,
        answer: { code: "bad_request" },
      },
    ],
  },
  {
    method: "post",
    path: "/chatify/offline/v1/AcknowledgeMessages",
    id: "acknowledgeMessages",
    tag: "Offline messages",
    summary: "Delete what a user has",
    description: "Takes `msg_ids` or `message_ids`. Answers how many there were.",
    body: { schema: AcknowledgeBody },
    status: 200,
    answer: AcknowledgeAnswer,
    errors: [],
    examples: [
      { name: "one", body: { ...eve, msg_ids: ["imported-1"] }, answer: { acknowledged: 1 } },
      { name: "again", body: { ...eve, message_ids: ["imported-1"] }, answer: { acknowledged: 0 } },
    ],
  },
  {
    method: "get",
    path: "/chatify/offline/v1/messages/:msg_id/trace",
    id: "traceMessage",
    tag: "Where is my message",
    summary: "Where a message is, why, and how it came there",
    description:
      "What is at rest in the queue and in the store, and the trail that the message left in the " +
      "ledger. A message that nobody knows has the state `unknown`. What roles recorded in the last " +
      "second may be missing yet.",
    params: TraceParams,
    query: TraceQuery,
    status: 200,
    answer: Trace,
    errors: [],
    examples: [
      {
        name: "a message that nobody knows",
        params: { msg_id: "1m86bscmf00000000" },
        query: { user: "eve" },
        answer: { msg_id: "1m86bscmf00000000", state: "unknown" },
      },
    ],
  },
  {
    method: "get",
    path: "/chatify/offline/v1/messages/trace",
    id: "traceSend",
    tag: "Where is my message",
    summary: "The same, by what its client called it",
    description: "A message that was refused has no other name.",
    query: SendTraceQuery,
    status: 200,
    answer: Trace,
    errors: [],
    examples: [
      {
        name: "a message that was never sent",
        query: { from_user_id: "eve", client_msg_id: "1" },
        answer: { from_user_id: "eve", client_msg_id: "1", state: "unknown" },
      },
    ],
  },
];
