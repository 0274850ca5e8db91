import { expect, test } from "bun:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import type { Hono } from "hono";
import { apiDocument, ROUTES } from "./api_document.ts";
import { errorsOf } from "./core/http/openapi.ts";
import { ERRORS } from "./core/protocol/errors.ts";
import { createLogicApi } from "./roles/logic/api.ts";
import { createOfflineApp, OFFLINE_PUBLIC_PATH } from "./roles/offline/routes.ts";
import { createPushApi } from "./roles/push/api.ts";

/** The routes themselves, without what they work with: nothing is called. */
function served(): string[] {
  const nothing: unknown = new Proxy({}, { get: () => () => undefined });
  const apps = [createLogicApi, createOfflineApp, createPushApi].map((create) => {
    return (create as (deps: unknown) => Hono)(nothing);
  });
  const routes = apps.flatMap((app) => app.routes).filter(({ method }) => method !== "ALL");
  const isPublic = (path: string) =>
    !path.includes("/internal/") || path.startsWith(OFFLINE_PUBLIC_PATH);
  return routes.filter(({ path }) => isPublic(path)).map(({ method, path }) => `${method} ${path}`);
}

const described = ROUTES.map(({ method, path }) => `${method.toUpperCase()} ${path}`);

test("every public route of every role is described, and nothing else is", () => {
  expect(described.toSorted()).toEqual(served().toSorted());
});

test("the document is valid OpenAPI 3.1", async () => {
  const { errors, valid } = await new Validator().validate(apiDocument());
  expect(errors).toBeUndefined();
  expect(valid).toBe(true);
});

test("operation ids are unique, and every route has an example that succeeds", () => {
  const ids = ROUTES.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const { examples, id, status } of ROUTES) {
    const names = examples.map(({ name }) => name);
    expect([id, new Set(names).size]).toEqual([id, names.length]);
    const successes = examples.filter((example) => (example.status ?? status) === status);
    expect([id, successes.length > 0]).toEqual([id, true]);
  }
});

test("examples are what the schemas take, and their refusals are announced", () => {
  for (const route of ROUTES) {
    const announced = errorsOf(route).map((code) => ERRORS[code].status as number);
    for (const example of route.examples) {
      const where = `${route.id}: ${example.name}`;
      const status = example.status ?? route.status;
      if (status !== route.status) {
        expect([where, announced.includes(status)]).toEqual([where, true]);
        continue;
      }
      expect([where, route.params?.safeParse(example.params).success ?? true]).toEqual([
        where,
        true,
      ]);
      expect([where, route.query?.safeParse(example.query ?? {}).success ?? true]).toEqual([
        where,
        true,
      ]);
      const { body } = route;
      if (!body?.schema || (body.optional && example.body === undefined)) continue;
      // A text is sent as it is: it may hold more than one value.
      if (typeof example.body === "string") continue;
      expect([where, body.schema.safeParse(example.body).success]).toEqual([where, true]);
    }
  }
});
