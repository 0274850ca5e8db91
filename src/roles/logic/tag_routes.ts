/** Tags over HTTP: giving them to users, taking them away, and looking at them. */
import type { Hono } from "hono";
import * as z from "zod";
import { arrayLength, checked, parseJson } from "../../core/http/json_body.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { GroupId, UserId } from "../../core/protocol/message.ts";
import type { Tags } from "../../core/tags/contract.ts";
import { LooseUserId } from "./push_body.ts";

const PAGE_MAX = 1_000;

export const TagUsersBody = z.object({
  user_ids: z.array(LooseUserId, { error: "takes an array of user ids" }).min(1),
});
export const TagUsersQuery = z.object({
  cursor: z
    .string()
    .regex(/^\d{1,20}(\.\d{1,20})?$/)
    .optional()
    .meta({
      description: "Of the page before",
    }),
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(PAGE_MAX),
});
export const TagParam = z.object({ tag: GroupId });
export const UserParam = z.object({ user: UserId });

export const TagChangeAnswer = z.object({ tag: z.string(), changed: z.int() });
export const TagUsersAnswer = z.object({
  tag: z.string(),
  user_ids: z.array(z.string()),
  cursor: z.string().nullable(),
});
export const TagsAnswer = z.object({
  tags: z.array(z.object({ tag: z.string(), users: z.int() })),
});
export const UserTagsAnswer = z.object({ user_id: z.string(), tags: z.array(z.string()) });

export interface TagRoutesDeps {
  readonly tags: Tags;
  readonly limits: Pick<Limits, "PUSH_RECIPIENTS_MAX">;
}

const TAGS = "/chatify/logic/v1/tags";

export function addTagRoutes(app: Hono, { limits, tags }: TagRoutesDeps): void {
  const usersOf = async (request: Request) => {
    const body = await parseJson(request);
    const count = arrayLength(body, "user_ids");
    if (count <= limits.PUSH_RECIPIENTS_MAX) return checked(TagUsersBody, body).user_ids;
    const message = `user_ids: takes at most ${limits.PUSH_RECIPIENTS_MAX} users, got ${count}`;
    throw new ChatifyError("too_large", message);
  };

  app.get(TAGS, async (c) => c.json({ tags: await tags.list() }));

  app.post(`${TAGS}/:tag/users`, async (c) => {
    const { tag } = checked(TagParam, c.req.param());
    return c.json({ tag, changed: await tags.add(tag, await usersOf(c.req.raw)) });
  });

  app.delete(`${TAGS}/:tag/users`, async (c) => {
    const { tag } = checked(TagParam, c.req.param());
    return c.json({ tag, changed: await tags.remove(tag, await usersOf(c.req.raw)) });
  });

  app.get(`${TAGS}/:tag/users`, async (c) => {
    const { tag } = checked(TagParam, c.req.param());
    const { cursor, limit } = checked(TagUsersQuery, c.req.query());
    const page = await tags.users(tag, cursor ?? null, limit);
    return c.json({ tag, user_ids: page.users, cursor: page.cursor });
  });

  app.get("/chatify/logic/v1/users/:user/tags", async (c) => {
    const { user } = checked(UserParam, c.req.param());
    return c.json({ user_id: user, tags: await tags.of(user) });
  });
}
