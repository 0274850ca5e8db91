/** The HTTP API as one document: what all roles say of their routes. */
import pack from "../package.json";
import { openApiDocument } from "./core/http/openapi.ts";
import type { RouteDoc } from "./core/http/route_doc.ts";
import { LOGIC_ROUTES } from "./roles/logic/api_docs.ts";
import { OFFLINE_ROUTES } from "./roles/offline/api_docs.ts";
import { WEB_PUSH_ROUTES } from "./roles/offline/web_push/api_docs.ts";
import { PUSH_ROUTES } from "./roles/push/api_docs.ts";

export const ROUTES: readonly RouteDoc[] = [
  ...LOGIC_ROUTES,
  ...OFFLINE_ROUTES,
  ...WEB_PUSH_ROUTES,
  ...PUSH_ROUTES,
];

const TAGS = [
  { name: "Push", description: "From your backend to users." },
  { name: "Push jobs", description: "One content to very many users, and what became of it." },
  { name: "Tags", description: "What push jobs may go to." },
  { name: "Groups", description: "Who may write to whom, together." },
  { name: "Blocks", description: "Who may not." },
  { name: "Offline messages", description: "What could not be delivered yet." },
  { name: "Where is my message", description: "And why, and how it came there." },
  { name: "Web Push", description: "To browsers of users who are away." },
  { name: "Presence", description: "Who is connected, and the end of it." },
];

export function apiDocument(): Record<string, unknown> {
  return openApiDocument(ROUTES, { version: pack.version, tags: TAGS });
}
