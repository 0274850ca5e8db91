/**
 * Values from a JSON Schema, for fast-check: mostly what it takes, at its edges too, and now and then
 * something else in some place. It knows the keywords that the document uses and throws at others, so
 * that a new one is not passed over in silence.
 */
import fc from "fast-check";

export type Schema = {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
};

/** One value in so many is not what the schema takes. */
const WRONG_ONE_IN = 12;
const ITEMS_MAX = 6;
const EDGE_ITEMS = 1_001;
/** Unix seconds, for what may be a time. */
const PAST_S = 1_000_000_000;
const FUTURE_S = 4_102_444_800;

/** Few, so that what one request makes another one finds. */
const IDS = ["ann", "bob", "cat", "team", "g1", "g2", "x", "é-ü", "a".repeat(128)];

const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom(
    null,
    true,
    -1,
    0,
    1.5,
    2 ** 53,
    1e308,
    "",
    " ",
    ":",
    "a:b",
    "{}",
    "\u0000",
    "\\",
  ),
  fc.constantFrom(
    "x".repeat(200),
    "__proto__",
    "constructor",
    "\ud800",
    "💥".repeat(40),
    "../..",
    "%00",
  ),
  fc.string({ unit: "binary", maxLength: 40 }),
);

export function valuesOf(schema: Schema): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: WRONG_ONE_IN - 1, arbitrary: taken(schema) },
    { weight: 1, arbitrary: odd },
  );
}

function taken(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(valuesOf));
  const { type } = schema;
  if (Array.isArray(type)) return fc.oneof(...type.map((one) => taken({ ...schema, type: one })));
  switch (type) {
    case "object":
      return objectOf(schema);
    case "array":
      return listOf(schema);
    case "string":
      return textOf(schema);
    case "integer":
    case "number":
      return numberOf(schema);
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case undefined:
      return odd;
    default:
      throw new Error(`no values for type ${type}`);
  }
}

function objectOf({ properties = {}, required = [] }: Schema): fc.Arbitrary<unknown> {
  const names = Object.keys(properties);
  const model = Object.fromEntries(
    names.map((name) => [name, valuesOf(properties[name] as Schema)]),
  );
  const kept = names.filter((name) => required.includes(name));
  const whole = fc.record(model, { requiredKeys: kept });
  const lacking = fc.record(model, { requiredKeys: [] });
  const extra = fc.dictionary(fc.string({ maxLength: 8 }), odd, { maxKeys: 2 });
  return fc.oneof(
    { weight: 8, arbitrary: whole },
    { weight: 1, arbitrary: lacking },
    { weight: 1, arbitrary: fc.tuple(whole, extra).map(([a, b]) => ({ ...b, ...a })) },
  );
}

function listOf({ items = {}, maxItems, minItems = 0 }: Schema): fc.Arbitrary<unknown> {
  const item = valuesOf(items);
  const short = fc.array(item, { minLength: minItems, maxLength: Math.max(minItems, ITEMS_MAX) });
  const edges = [0, EDGE_ITEMS, ...(maxItems === undefined ? [] : [maxItems, maxItems + 1])];
  const long = fc
    .tuple(taken(items), fc.constantFrom(...edges))
    .map(([value, length]) => Array.from({ length }, () => value));
  return fc.oneof({ weight: 60, arbitrary: short }, { weight: 1, arbitrary: long });
}

function textOf({ maxLength = 64, minLength = 0, pattern }: Schema): fc.Arbitrary<string> {
  const base64 = fc
    .uint8Array({ maxLength: 60 })
    .map((bytes) => Buffer.from(bytes).toString("base64"));
  const digits = fc.integer({ min: 0, max: FUTURE_S }).map(String);
  const length = { minLength, maxLength: Math.min(maxLength, 64) };
  const edge = fc.constantFrom("y".repeat(minLength), "y".repeat(Math.min(maxLength, 65_536)));
  if (pattern === undefined) return fc.oneof(fc.constantFrom(...IDS), fc.string(length), edge);
  return fc.oneof(fc.constantFrom(...IDS), digits, base64, edge);
}

function numberOf({
  maximum = 2 ** 53 - 1,
  minimum = -(2 ** 53 - 1),
}: Schema): fc.Arbitrary<number> {
  return fc.oneof(
    fc.integer({ min: Math.max(minimum, 0), max: Math.max(0, Math.min(maximum, 1_000)) }),
    fc.constantFrom(minimum, maximum, 0, 1, PAST_S, FUTURE_S),
    fc.constantFrom(minimum - 1, maximum + 1),
  );
}
