/** The routes of Web Push as the OpenAPI document shows them. */
import type { RouteDoc } from "../../../core/http/route_doc.ts";
import {
  SubscribeAnswer,
  SubscribeBody,
  UnsubscribeAnswer,
  UnsubscribeBody,
  VapidAnswer,
} from "./routes.ts";

const tag = "Web Push";
const endpoint = "https://push.example.net/send/f1-LsZk";
// Of RFC 8291, 5: what a browser gave the app.
const keys = {
  p256dh: "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
  auth: "BTBZMqHH6r4Tts7J_aSIgg",
};
const subscription = { endpoint, keys };

export const WEB_PUSH_ROUTES: readonly RouteDoc[] = [
  {
    method: "get",
    path: "/chatify/offline/v1/webPush/key",
    id: "getWebPushKey",
    tag,
    summary: "The key that browsers subscribe with",
    description: "The `applicationServerKey` of `PushManager.subscribe()`.",
    status: 200,
    answer: VapidAnswer,
    errors: ["not_found"],
    examples: [{ name: "the key" }],
  },
  {
    method: "post",
    path: "/chatify/offline/v1/webPush/subscriptions",
    id: "addWebPushSubscription",
    tag,
    summary: "Reach a user's browser by Web Push",
    description:
      "Pass on what `PushSubscription.toJSON()` gave the app in the browser. The same endpoint " +
      "again takes the place of the one before. When its push service says that a browser is " +
      "gone, it is forgotten.",
    body: { schema: SubscribeBody },
    status: 200,
    answer: SubscribeAnswer,
    errors: ["not_found"],
    examples: [
      {
        name: "a browser",
        body: { user_id: "eve", device_id: "browser-1", subscription },
      },
      {
        name: "an address that is not public",
        body: {
          user_id: "eve",
          device_id: "browser-1",
          subscription: { keys, endpoint: "https://10.0.0.1/send" },
        },
        status: 422,
        answer: { code: "bad_request" },
      },
    ],
  },
  {
    method: "delete",
    path: "/chatify/offline/v1/webPush/subscriptions",
    id: "removeWebPushSubscription",
    tag,
    summary: "Forget a user's browser",
    body: { schema: UnsubscribeBody },
    status: 200,
    answer: UnsubscribeAnswer,
    errors: ["not_found"],
    examples: [
      { name: "one", body: { user_id: "eve", endpoint }, answer: { removed: true } },
      { name: "again", body: { user_id: "eve", endpoint }, answer: { removed: false } },
    ],
  },
];
