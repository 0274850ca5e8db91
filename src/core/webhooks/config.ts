/** What webhooks and Web Push are told by the environment. */
import * as z from "zod";
import { integer, list, matching, scheme, secret, variable } from "../config_variable.ts";
import { EVENT_TYPES, type EventType } from "./contract.ts";

const isEventType = (value: string) => (EVENT_TYPES as readonly string[]).includes(value);
const base64url = (bytes: number) =>
  matching(/^[\w-]+$/).refine((text) => Buffer.from(text, "base64url").length === bytes);

export const WEBHOOK_VARIABLES = {
  WEBHOOK_URL: variable(scheme("http:", "https:").optional(), "the http(s) URL that gets events"),
  WEBHOOK_SECRET: secret(
    z.string().min(16).optional(),
    "what events and checks are signed with: whsec_ and base64, or 16 characters or more",
  ),
  WEBHOOK_EVENTS: variable(
    list(z.string().refine(isEventType)).default([...EVENT_TYPES]),
    `a comma list of ${EVENT_TYPES.join(", ")}`,
  ),
  WEBHOOK_GATE_URL: variable(
    scheme("http:", "https:").optional(),
    "the http(s) URL that is asked before a message is sent",
  ),
  WEBHOOK_GATE_TIMEOUT_MS: variable(
    integer(10, 10_000).default(500),
    "milliseconds, 10 to 10000, that the gate has for its answer",
  ),
  WEBHOOK_GATE_ON_FAILURE: variable(
    z.enum(["allow", "reject"]).default("allow"),
    "allow or reject: what becomes of messages that the gate says nothing about",
  ),
  UNDELIVERED_AFTER_S: variable(
    integer(1, 86_400).default(30),
    "seconds, 1 to 86400, without a confirmation until a message counts as undelivered",
  ),
  VAPID_PUBLIC_KEY: variable(base64url(65).optional(), "the public key of `chatify vapid`"),
  VAPID_PRIVATE_KEY: secret(base64url(32).optional(), "the private key of `chatify vapid`"),
  VAPID_SUBJECT: variable(
    scheme("mailto:", "https:").optional(),
    "mailto: or https: address at which push services reach the operator",
  ),
  WEB_PUSH_PRIVATE: variable(
    z
      .enum(["true", "false"])
      .default("false")
      .transform((value) => value === "true"),
    "true or false: whether push services may be at private addresses",
  ),
} as const;

type Values = {
  [N in keyof typeof WEBHOOK_VARIABLES]: z.output<(typeof WEBHOOK_VARIABLES)[N]["schema"]>;
};

export interface WebPushConfig {
  readonly publicKey: string;
  readonly privateKey: string;
  readonly subject: string;
  /** Push services may be at loopback and private addresses. */
  readonly allowPrivate: boolean;
  /** They may speak plain http, which only development needs. */
  readonly allowHttp: boolean;
}

export interface WebhookConfig {
  /** Null: nobody gets events. */
  readonly url: string | null;
  readonly secret: string;
  readonly events: readonly EventType[];
  readonly gate: {
    readonly url: string;
    readonly timeoutMs: number;
    readonly onFailure: "allow" | "reject";
  } | null;
  readonly undeliveredAfterMs: number;
  readonly webPush: WebPushConfig | null;
}

export function webhookConfig(values: Values, dev: boolean): WebhookConfig {
  const gateUrl = values.WEBHOOK_GATE_URL;
  const { VAPID_PRIVATE_KEY: privateKey, VAPID_PUBLIC_KEY: publicKey } = values;
  const hasKeys = publicKey !== undefined && privateKey !== undefined;
  return {
    url: values.WEBHOOK_URL ?? null,
    secret: values.WEBHOOK_SECRET ?? "",
    events: values.WEBHOOK_EVENTS as EventType[],
    gate:
      gateUrl === undefined
        ? null
        : {
            url: gateUrl,
            timeoutMs: values.WEBHOOK_GATE_TIMEOUT_MS,
            onFailure: values.WEBHOOK_GATE_ON_FAILURE,
          },
    undeliveredAfterMs: values.UNDELIVERED_AFTER_S * 1_000,
    webPush: hasKeys
      ? {
          publicKey,
          privateKey,
          subject: values.VAPID_SUBJECT ?? "",
          allowPrivate: values.WEB_PUSH_PRIVATE,
          allowHttp: dev,
        }
      : null,
  };
}

/** What single variables cannot know. */
export function webhookProblems(
  values: Values,
): (readonly [name: keyof typeof WEBHOOK_VARIABLES, reason: string])[] {
  const found: [keyof typeof WEBHOOK_VARIABLES, string][] = [];
  const hooks = values.WEBHOOK_URL ?? values.WEBHOOK_GATE_URL;
  if (hooks !== undefined && values.WEBHOOK_SECRET === undefined) {
    found.push(["WEBHOOK_SECRET", "a receiver cannot know who calls without it"]);
  }
  const { VAPID_PRIVATE_KEY, VAPID_PUBLIC_KEY, VAPID_SUBJECT } = values;
  const keys = [VAPID_PRIVATE_KEY, VAPID_PUBLIC_KEY, VAPID_SUBJECT];
  const given = keys.filter((key) => key !== undefined).length;
  if (given === 0 || given === keys.length) return found;
  const together = "the two keys and the subject of VAPID go together";
  if (VAPID_PUBLIC_KEY === undefined) found.push(["VAPID_PUBLIC_KEY", together]);
  if (VAPID_PRIVATE_KEY === undefined) found.push(["VAPID_PRIVATE_KEY", together]);
  if (VAPID_SUBJECT === undefined) found.push(["VAPID_SUBJECT", together]);
  return found;
}
