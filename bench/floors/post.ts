/** The floor of push: a bare Hono route that parses a body and answers. */
import { Hono } from "hono";
import { announce } from "./announce.ts";

const app = new Hono();
let tasks = 0;
app.post("/chatify/logic/v1/sendSystemPush", async (c) => {
  const body = (await c.req.json()) as { readonly to_user_ids: readonly string[] };
  tasks += 1;
  const msg_ids = body.to_user_ids.map((_, i) => `t${tasks}-${i}`);
  return c.json({ task_id: `t${tasks}`, msg_ids, accepted: msg_ids.length });
});
announce(Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: app.fetch }).port);
