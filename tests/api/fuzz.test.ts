/**
 * Twenty thousand requests made up from the schemas of the OpenAPI document, against every route of
 * one process that runs everything, by way of the gateway and on the roles' own ports. None is
 * answered with a 5xx, every refusal has a code of the table, and the process goes on. FUZZ_SEED
 * repeats a run; the seed is in the error when one fails.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { ROUTES } from "../../src/api_document.ts";
import { schemaOf } from "../../src/core/http/openapi.ts";
import type { RouteDoc } from "../../src/core/http/route_doc.ts";
import { ERRORS } from "../../src/core/protocol/errors.ts";
import { type Program, Workshop } from "../integration/process_program.ts";
import { RawClient } from "../integration/raw_client.ts";
import { ask, type Filling } from "./request.ts";
import { type Schema, valuesOf } from "./schema_arbitrary.ts";
import { VAPID_ENVIRONMENT } from "./vapid_environment.ts";

setDefaultTimeout(240_000);
const REQUESTS = 20_000;
const LANES = 24;
const SEED = Number(process.env.FUZZ_SEED ?? 20_261_124);

const workshop = new Workshop();
let program: Program;
beforeAll(async () => {
  program = await workshop
    .startAll(workshop.dir(), { ...VAPID_ENVIRONMENT, LOG_LEVEL: "warn" })
    .ready();
}, 60_000);
afterAll(() => workshop.clear(), 30_000);

interface Case {
  readonly route: RouteDoc;
  readonly direct: boolean;
  readonly filling: Filling;
}

const broken = fc.constantFrom(
  "{",
  "",
  "[[[[",
  "null",
  '{"a":',
  "NaN",
  "\u0000",
  "x".repeat(5_000),
);

/** Parameters and queries are text, whatever value they were made from. */
function textsOf(object: RouteDoc["params"]): fc.Arbitrary<Record<string, string>> {
  if (object === undefined) return fc.constant({});
  const { properties = {} } = schemaOf(object, "input") as Schema;
  const fields = Object.entries(properties).map(([name, schema]) => {
    const text = valuesOf(schema).map((value) => {
      return (typeof value === "string" ? value : JSON.stringify(value)).toWellFormed();
    });
    return [name, text] as const;
  });
  const texts = fc.record(Object.fromEntries(fields), { requiredKeys: [] });
  // Keys that are not required are left out, never undefined.
  return texts as fc.Arbitrary<Record<string, string>>;
}

/** Some texts, such as keys of browsers, nobody makes up. */
function exampleOf({ examples }: RouteDoc): fc.Arbitrary<unknown> {
  const bodies = examples.flatMap(({ body }) => (body === undefined ? [] : [body]));
  return bodies.length === 0 ? broken : fc.constantFrom(...bodies);
}

function caseOf(route: RouteDoc): fc.Arbitrary<Case> {
  const made = textsOf(route.params).map((texts) => {
    const names = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => name ?? "");
    // An empty part would be another route.
    return Object.fromEntries(names.map((name) => [name, texts[name] || "ann"]));
  });
  // What the document names in its examples is there more often than what is made up.
  const shown = route.examples.map((example) => example.params ?? {});
  const params = fc.oneof(
    { weight: 3, arbitrary: made },
    { weight: 1, arbitrary: fc.constantFrom(...shown) },
  );
  const { body } = route;
  const json = body?.schema
    ? valuesOf(schemaOf(body.schema, "input") as Schema)
    : fc.constant("{}\n");
  const content: fc.Arbitrary<unknown> =
    body === undefined || route.method === "get"
      ? fc.constant(undefined)
      : fc.oneof(
          { weight: 14, arbitrary: json },
          { weight: 1, arbitrary: exampleOf(route) },
          { weight: 1, arbitrary: broken },
        );
  return fc
    .record({ params, query: textsOf(route.query), body: content, direct: fc.boolean() })
    .map(({ direct, ...filling }) => ({ route, direct, filling }));
}

const anyCase = fc.oneof(...ROUTES.map(caseOf));

function baseOf({ direct, route }: Case): string {
  const role = route.path.split("/")[2] ?? "";
  const port = direct ? program.ports[role] : undefined;
  return port === undefined ? `http://${program.gateway}` : `http://127.0.0.1:${port}`;
}

const counts = new Map<string, number>();

async function check(one: Case): Promise<void> {
  const { route } = one;
  const { status, text } = await ask(baseOf(one), route, one.filling);
  const seen = `${route.id} ${status}`;
  counts.set(seen, (counts.get(seen) ?? 0) + 1);
  const shown = () => `seed ${SEED}: ${route.id} ${JSON.stringify(one.filling).slice(0, 2_000)}`;
  if (status >= 500) throw new Error(`${status} ${text} for ${shown()}`);
  if (status === route.status) return;
  const { code } = JSON.parse(text) as { code?: string };
  if (code === undefined || !(code in ERRORS)) throw new Error(`${status} ${text} for ${shown()}`);
}

test(`${REQUESTS} requests from the schemas are answered without a 5xx`, async () => {
  const cases = fc.sample(anyCase, { numRuns: REQUESTS, seed: SEED }).values();
  await Promise.all(
    Array.from({ length: LANES }, async () => {
      for (const one of cases) await check(one);
    }),
  );
  expect([...counts.values()].reduce((sum, count) => sum + count, 0)).toBe(REQUESTS);
  // It was not only refused: of every route some calls worked, and some did not.
  for (const { id, status } of ROUTES) {
    const of = [...counts].filter(([seen]) => seen.startsWith(`${id} `));
    expect([id, of.some(([seen]) => seen === `${id} ${status}`)]).toEqual([id, true]);
  }
  expect([...counts.keys()].filter((seen) => / 4\d\d$/.test(seen)).length).toBeGreaterThan(10);
});

test("the process goes on after that, and has logged no bug", async () => {
  expect(program.process.exitCode).toBeNull();
  const [ann, bob] = await Promise.all([
    RawClient.connect(program.gateway, "after-ann"),
    RawClient.connect(program.gateway, "after-bob"),
  ]);
  ann.chat("after-bob", "still here", "c1");
  expect((await bob.received(1))[0]?.content).toBe("still here");
  expect(program.output).not.toContain("a request failed with a bug");
});
