/**
 * What filebeat.yml makes of a line, as Filebeat's documentation describes its parsers and processors,
 * and what the index template makes of that. A setting that is not known here is an error, so that
 * the configuration cannot come to mean something that no test has seen.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";

const MONITORING = join(import.meta.dir, "../../monitoring");

const container = z.strictObject({ stream: z.literal("all"), format: z.literal("docker") });
const ndjson = z.strictObject({
  target: z.literal(""),
  overwrite_keys: z.literal(true),
  expand_keys: z.literal(true),
  add_error_key: z.literal(false),
  ignore_decoding_error: z.literal(true),
});
const processors = z.tuple([
  z.strictObject({
    drop_event: z.strictObject({
      when: z.strictObject({ not: z.strictObject({ equals: z.record(z.string(), z.string()) }) }),
    }),
  }),
  z.strictObject({
    drop_fields: z.strictObject({ fields: z.array(z.string()), ignore_missing: z.literal(true) }),
  }),
  z.strictObject({
    add_fields: z.strictObject({
      target: z.literal("@metadata"),
      fields: z.strictObject({ op_type: z.literal("create") }),
    }),
  }),
]);

const filebeat = z.strictObject({
  "filebeat.inputs": z.tuple([
    z.strictObject({
      type: z.literal("filestream"),
      id: z.string(),
      paths: z.tuple([z.literal("/var/lib/docker/containers/*/*-json.log")]),
      parsers: z.tuple([z.strictObject({ container }), z.strictObject({ ndjson })]),
    }),
  ]),
  processors,
  "output.elasticsearch": z.strictObject({
    hosts: z.tuple([z.string().regex(/^\$\{ELASTICSEARCH_URL\}$/)]),
    username: z.string(),
    password: z.string().regex(/^\$\{FILEBEAT_PASSWORD\}$/),
    index: z.string(),
  }),
  "setup.template.enabled": z.literal(false),
  "setup.ilm.enabled": z.literal(false),
  "queue.mem.events": z.int().positive(),
  "logging.level": z.literal("info"),
  "logging.to_stderr": z.literal(true),
});

export type FilebeatConfig = z.output<typeof filebeat>;
export type Document = Readonly<Record<string, unknown>>;

export function readFilebeat(): FilebeatConfig {
  const text = readFileSync(join(MONITORING, "filebeat/filebeat.yml"), "utf8");
  return filebeat.parse(Bun.YAML.parse(text));
}

/** A line of one of Docker's files; null for what is not sent. */
export function documentOf(config: FilebeatConfig, dockerLine: string): Document | null {
  const { log, stream, time } = JSON.parse(dockerLine) as Record<string, string>;
  const message = (log ?? "").replace(/\n$/, "");
  const event = { "@timestamp": time, stream, message, ...expanded(parsed(message)) };
  const [{ drop_event }, { drop_fields }] = config.processors;
  for (const [field, value] of Object.entries(drop_event.when.not.equals)) {
    if (fieldOf(event, field) !== value) return null;
  }
  for (const field of drop_fields.fields) remove(event, field.split("."));
  return event;
}

function parsed(message: string): Record<string, unknown> {
  try {
    const value = JSON.parse(message) as unknown;
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
  } catch {
    return {};
  }
}

/** Keys with dots as objects in objects; throws where one is both a value and an object. */
function expanded(flat: Record<string, unknown>): Record<string, unknown> {
  const deep: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(flat)) {
    let at = deep;
    const path = key.split(".");
    const last = path.pop() as string;
    for (const part of path) {
      at[part] ??= {};
      if (typeof at[part] !== "object") throw new Error(`${key}: ${part} is a value already`);
      at = at[part] as Record<string, unknown>;
    }
    if (last in at) throw new Error(`${key} is an object already`);
    at[last] = value;
  }
  return deep;
}

export function fieldOf(document: Document, field: string): unknown {
  let at: unknown = document;
  for (const part of field.split(".")) at = (at as Record<string, unknown> | undefined)?.[part];
  return at;
}

function remove(event: Record<string, unknown>, [first, ...rest]: string[]): void {
  if (first === undefined) return;
  if (rest.length === 0) delete event[first];
  else if (typeof event[first] === "object") remove(event[first] as Record<string, unknown>, rest);
}

interface Mapping {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Mapping>>;
}

export interface IndexTemplate {
  readonly index_patterns: readonly string[];
  readonly data_stream: object;
  readonly template: {
    readonly settings: Readonly<Record<string, unknown>>;
    readonly mappings: Mapping & { readonly dynamic_templates: readonly unknown[] };
  };
}

export function readTemplate(): IndexTemplate {
  const text = readFileSync(join(MONITORING, "elasticsearch/index_template.json"), "utf8");
  return JSON.parse(text) as IndexTemplate;
}

/** Each field that the template maps, with its type. */
export function mappedFields(mapping: Mapping, above = ""): Map<string, string> {
  const fields = new Map<string, string>();
  for (const [name, own] of Object.entries(mapping.properties ?? {})) {
    const path = above === "" ? name : `${above}.${name}`;
    if (own.type !== undefined) fields.set(path, own.type);
    for (const [below, type] of mappedFields(own, path)) fields.set(below, type);
  }
  return fields;
}

const FITS: Record<string, (value: unknown) => boolean> = {
  date: (value) => typeof value === "string" && !Number.isNaN(Date.parse(value)),
  keyword: (value) => typeof value === "string",
  match_only_text: (value) => typeof value === "string",
  wildcard: (value) => typeof value === "string",
  integer: (value) => Number.isInteger(value) && Math.abs(value as number) < 2 ** 31,
  long: (value) => Number.isSafeInteger(value),
};

/** What Elasticsearch would refuse or misunderstand in a document, in words. */
export function misfits(fields: ReadonlyMap<string, string>, document: Document): string[] {
  const found: string[] = [];
  const walk = (value: unknown, path: string) => {
    const type = fields.get(path);
    const inner = [...fields.keys()].some((field) => field.startsWith(`${path}.`));
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    if (type !== undefined && !(FITS[type]?.(value) ?? false)) {
      found.push(`${path} is ${JSON.stringify(value)}, not ${type}`);
    } else if (inner && !isObject) {
      found.push(`${path} is ${JSON.stringify(value)}, not an object`);
    }
    if (!isObject) return;
    for (const [key, below] of Object.entries(value)) walk(below, `${path}.${key}`);
  };
  for (const [key, value] of Object.entries(document)) walk(value, key);
  return found;
}

/** Fields that the template does not name, by the type that Elasticsearch would give them. */
export function dynamicFields(
  fields: ReadonlyMap<string, string>,
  document: Document,
): [field: string, type: string][] {
  const found: [string, string][] = [];
  const walk = (value: unknown, path: string) => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [key, below] of Object.entries(value)) walk(below, `${path}.${key}`);
    } else if (!fields.has(path)) {
      const of = Array.isArray(value) ? value[0] : value;
      if (of !== undefined && of !== null) found.push([path, typeof of]);
    }
  };
  for (const [key, value] of Object.entries(document)) walk(value, key);
  return found;
}
