/** The OpenAPI 3.1 document, made from what the roles say of their routes. */
import * as z from "zod";
import { ERRORS, type ErrorCode } from "../protocol/errors.ts";
import type { RouteDoc, RouteExample } from "./route_doc.ts";
import { scopesFor } from "./scopes.ts";

type Json = Record<string, unknown>;

export interface ApiInfo {
  readonly version: string;
  readonly tags: readonly { readonly name: string; readonly description: string }[];
}

/** What any route may answer; `bad_request` only where something can be wrong. */
export const COMMON_ERRORS: readonly ErrorCode[] = [
  "unauthorized",
  "token_expired",
  "forbidden",
  "overloaded",
  "unavailable",
  "outcome_unknown",
  "internal",
];

const ErrorAnswer = z.object({
  code: z.enum(Object.keys(ERRORS) as ErrorCode[]),
  message: z.string().meta({ description: "For people; it may change." }),
  retryable: z.boolean().meta({ description: "The same request may succeed later." }),
  retry_after_ms: z.number().nonnegative().optional(),
  request_id: z
    .string()
    .meta({ description: "As in the server's log; send X-Request-Id to set it." }),
});

const DESCRIPTION = `Push, groups, presence and offline messages over HTTP. Everything here is
served by the gateway, and by each role on its own port.

Calls need an API key (\`X-API-Key\`, or \`Authorization: Bearer\`) or a token with a scope, except in
dev mode, which listens on loopback only. Numbers may be sent as text. Fields that are not known are
ignored. Every refusal has the one shape of \`Error\`, with a code to decide by.`;

export function openApiDocument(routes: readonly RouteDoc[], info: ApiInfo): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = openApiPath(route.path);
    paths[path] = { ...paths[path], [route.method]: operation(route) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Chatify",
      version: info.version,
      description: DESCRIPTION,
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/", description: "This gateway" }],
    tags: info.tags,
    security: [{ apiKey: [] }, { bearer: [] }],
    paths,
    components: {
      schemas: { Error: schemaOf(ErrorAnswer, "output") },
      securitySchemes: {
        apiKey: { type: "apiKey", in: "header", name: "X-API-Key" },
        bearer: { type: "http", scheme: "bearer", description: "An API key, or a JSON Web Token" },
      },
    },
  };
}

/** `/groups/:group` as `/groups/{group}`. */
export function openApiPath(path: string): string {
  return path.replaceAll(/:(\w+)/g, "{$1}");
}

export function errorsOf(route: RouteDoc): readonly ErrorCode[] {
  const takes = route.params ?? route.query ?? route.headers ?? route.body;
  const own: ErrorCode[] = takes === undefined ? [] : ["bad_request"];
  if (route.body !== undefined) own.push("too_large");
  return [...new Set([...own, ...route.errors, ...COMMON_ERRORS])];
}

function operation(route: RouteDoc): Json {
  const { body, description = "", examples, id, method, path, status, summary, tag } = route;
  const scopes = [...scopesFor(method.toUpperCase(), openApiPath(path)), "admin"];
  const needs = `Scope: ${scopes.map((scope) => `\`${scope}\``).join(" or ")}.`;
  const successes = examples.filter((example) => (example.status ?? status) === status);
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: description === "" ? needs : `${description}\n\n${needs}`,
    parameters: parameters(route),
    ...(body === undefined ? {} : { requestBody: requestBody(route) }),
    responses: {
      [status]: {
        description: "Done.",
        content: {
          "application/json": {
            schema: schemaOf(route.answer, "output"),
            // Those that are whole; the test compares the others as far as they go.
            ...named(successes, ({ answer }) =>
              route.answer.safeParse(answer).success ? answer : undefined,
            ),
          },
        },
      },
      ...refusals(route),
    },
  };
}

function parameters(route: RouteDoc): Json[] {
  const places = { path: route.params, query: route.query, header: route.headers } as const;
  return Object.entries(places).flatMap(([place, object]) => {
    if (object === undefined) return [];
    const { properties = {}, required = [] } = schemaOf(object, "input") as {
      properties?: Record<string, Json>;
      required?: string[];
    };
    return Object.entries(properties).map(([name, { description, ...schema }]) => ({
      name,
      in: place,
      required: place === "path" || required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema,
    }));
  });
}

function requestBody({ body, examples }: RouteDoc): Json {
  if (body === undefined) return {};
  const { contentType = "application/json", description, optional = false, schema } = body;
  return {
    required: !optional,
    ...(description === undefined ? {} : { description }),
    content: {
      [contentType]: {
        schema: schema === null ? { type: "string" } : schemaOf(schema, "input"),
        ...named(examples, ({ body: value }) => value),
      },
    },
  };
}

/** Examples by name, those that have a value. */
function named(
  examples: readonly RouteExample[],
  select: (example: RouteExample) => unknown,
): Json {
  const shown = examples.flatMap((example) => {
    const value = select(example);
    return value === undefined ? [] : [[example.name, { value }]];
  });
  return shown.length === 0 ? {} : { examples: Object.fromEntries(shown) };
}

/** One response per status; its description names the codes that share it. */
function refusals(route: RouteDoc): Json {
  const byStatus = Map.groupBy(errorsOf(route), (code) => ERRORS[code].status);
  const content = { "application/json": { schema: { $ref: "#/components/schemas/Error" } } };
  const retryAfter = {
    "Retry-After": { description: "Seconds to wait", schema: { type: "integer", minimum: 1 } },
  };
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => {
      const headers = codes.some((code) => ERRORS[code].retryable) ? { headers: retryAfter } : {};
      const description = codes.map((code) => `\`${code}\``).join(", ");
      return [status, { description, ...headers, content }];
    }),
  );
}

/** JSON Schema 2020-12, which is what OpenAPI 3.1 speaks. `input` is what comes in, before defaults. */
export function schemaOf(schema: z.ZodType, io: "input" | "output"): Json {
  const options = { io, unrepresentable: "any", override: plain } as const;
  const { $schema: _, ...json } = z.toJSONSchema(schema, options);
  return json;
}

/** Leaves out what says nothing to a reader, and what would forbid fields that come later. */
function plain({ jsonSchema: json }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (json.additionalProperties === false) delete json.additionalProperties;
  if (json.minimum === Number.MIN_SAFE_INTEGER) delete json.minimum;
  if (json.maximum === Number.MAX_SAFE_INTEGER) delete json.maximum;
}
