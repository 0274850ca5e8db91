/**
 * The way of the logs into Elasticsearch and Kibana, as far as it goes without them: the lines of a
 * real loaded cluster through filebeat.yml and the index template, the set-up scripts against a server
 * that keeps what it is asked, and the saved objects against the fields that there are.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { FILE, ndjson, type SavedObject, SEARCHES } from "../../monitoring/kibana/saved_objects.ts";
import { CommandError, run } from "../deployment/command.ts";
import { Cluster } from "../integration/cluster.ts";
import { ElasticServer } from "./elastic_server.ts";
import { Load } from "./load.ts";
import {
  type Document,
  documentOf,
  dynamicFields,
  fieldOf,
  mappedFields,
  misfits,
  readFilebeat,
  readTemplate,
} from "./log_pipeline.ts";
import { OtlpReceiver } from "./otlp_receiver.ts";
import { untilSettled } from "./settled.ts";

const START_MS = 60_000;
const MONITORING = join(import.meta.dir, "../../monitoring");
const config = readFilebeat();
const template = readTemplate();
const fields = mappedFields(template.template.mappings);

describe("lines of a real cluster", () => {
  const collector = new OtlpReceiver();
  let cluster: Cluster;
  let documents: Document[];

  beforeAll(async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, LOG_LEVEL: "debug" };
    cluster = await Cluster.start({ layout: "split", env });
    await untilSettled(cluster);
    const load = new Load(cluster);
    await Bun.sleep(1_000);
    const admin = cluster.redis?.admin;
    const streams = [...((await admin?.keys("*")) ?? [])].filter((key) => /input|task/.test(key));
    for (const stream of streams) {
      if ((await admin?.type(stream)) === "stream") await admin?.xadd(stream, "*", "b", "garbage");
    }
    const push = cluster.nodes.filter(({ roles }) => roles === "push");
    for (const { process } of push) process.kill("SIGSTOP");
    // Longer than what counts as slow, shorter than a lease.
    await Bun.sleep(1_300);
    for (const { process } of push) process.kill("SIGCONT");
    const traceparent = `00-${"c".repeat(32)}-${"d".repeat(16)}-01`;
    const url = `http://${cluster.gateways()[0]}/chatify/nowhere`;
    await fetch(url, { headers: { traceparent } });
    // A node that vanishes, and a Redis that is away for a moment, have lines of their own.
    const lost = cluster.nodes.find(({ roles }) => roles === "access");
    if (lost !== undefined) await cluster.kill(lost, "SIGKILL");
    await admin?.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await Bun.sleep(4_000);
    await load.stop();
    const lines = cluster.nodes.flatMap((node) => node.output().split("\n"));
    documents = lines
      .filter((line) => line !== "")
      .map((line) => documentOf(config, dockerLine(line)))
      .filter((document) => document !== null);
  }, START_MS);

  afterAll(async () => {
    await cluster?.stop();
    await collector.stop();
  }, START_MS);

  test("every field that the template maps is in some line, with its type", () => {
    expect(documents.length).toBeGreaterThan(100);
    const wrong = documents.flatMap((document) => misfits(fields, document));
    expect([...new Set(wrong)]).toEqual([]);
    const missing = [...fields.keys()].filter((field) =>
      documents.every((document) => fieldOf(document, field) === undefined),
    );
    expect(missing).toEqual([]);
  });

  test("a field that the template does not name has one type in all lines", () => {
    const types = new Map<string, string>();
    for (const document of documents) {
      for (const [field, type] of dynamicFields(fields, document)) {
        expect([field, types.get(field) ?? type]).toEqual([field, type]);
        types.set(field, type);
      }
    }
    // The limit of the template is far away.
    expect(types.size + fields.size).toBeLessThan(150);
  });

  test("what Filebeat adds about itself goes, and what others wrote is not sent", () => {
    for (const document of documents) expect(document).not.toHaveProperty("stream");
    expect(
      documentOf(config, dockerLine("1:M 24 Nov 2026 * Ready to accept connections")),
    ).toBeNull();
    expect(documentOf(config, dockerLine('{"service.name":"other","message":"x"}'))).toBeNull();
    expect(documentOf(config, dockerLine('["chatify"]'))).toBeNull();
  });

  test("the time of a document is the line's own", () => {
    const line = '{"@timestamp":"2026-01-02T03:04:05.678Z","service.name":"chatify","message":"m"}';
    expect(documentOf(config, dockerLine(line))?.["@timestamp"]).toBe("2026-01-02T03:04:05.678Z");
  });
});

describe("set-up of Elasticsearch and Kibana", () => {
  const server = new ElasticServer();
  const script = (name: string) => join(MONITORING, name);
  const passwords = {
    ELASTIC_PASSWORD: "superuser",
    KIBANA_SYSTEM_PASSWORD: "kibana",
    FILEBEAT_PASSWORD: "filebeat",
    JAEGER_PASSWORD: "jaeger",
  };
  const env = { ...passwords, ELASTICSEARCH_URL: server.url, KIBANA_URL: server.url };
  afterAll(() => server.stop());

  test("makes a user for each that writes or reads, the life cycle and the template", async () => {
    server.asked.length = 0;
    await run(["bash", script("elasticsearch/setup.sh")], { env });
    const bodies = new Map(
      server.asked.map(({ path, text }) => [path, JSON.parse(text) as object]),
    );
    expect(server.asked.every(({ user }) => user === "elastic")).toBe(true);
    expect(bodies.get("/_security/user/kibana_system/_password")).toEqual({ password: "kibana" });
    expect(bodies.get("/_security/user/chatify_filebeat")).toEqual({
      password: "filebeat",
      roles: ["chatify_filebeat"],
    });
    expect(bodies.get("/_security/user/chatify_jaeger")).toEqual({
      password: "jaeger",
      roles: ["chatify_jaeger"],
    });
    expect(bodies.get("/_index_template/chatify-logs")).toEqual(template);
    expect(bodies.get("/_ilm/policy/chatify-logs")).toHaveProperty("policy.phases.delete");
    expect(template.template.settings["index.lifecycle.name"]).toBe("chatify-logs");
    // Filebeat may write where it writes, and Jaeger where it does.
    const index = config["output.elasticsearch"].index;
    const patterns = template.index_patterns.map((pattern) => new Bun.Glob(pattern));
    expect(patterns.some((pattern) => pattern.match(index))).toBe(true);
    const role = bodies.get("/_security/role/chatify_filebeat") as {
      indices: { names: string[]; privileges: string[] }[];
    };
    expect(role.indices).toHaveLength(1);
    expect(role.indices[0]?.names.some((name) => new Bun.Glob(name).match(index))).toBe(true);
    expect(role.indices[0]?.privileges).toEqual(["create_doc", "auto_configure"]);
    expect(config["output.elasticsearch"].username).toBe("chatify_filebeat");
  });

  test("says what was refused, and which password is missing", async () => {
    server.refused.set("/_security/role/chatify_jaeger", "no such privilege");
    const refused = run(["bash", script("elasticsearch/setup.sh")], { env });
    await expect(refused).rejects.toThrow("no such privilege");
    server.refused.clear();
    const without = run(["bash", script("elasticsearch/setup.sh")], {
      env: { ...env, FILEBEAT_PASSWORD: "" },
    });
    await expect(without).rejects.toThrow("FILEBEAT_PASSWORD is empty");
  });

  test("deletes the spans of days that are past, and nothing else", async () => {
    server.asked.length = 0;
    const day = (ago: number) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10);
    const names = [0, 6, 8, 30].map((ago) => `chatify-jaeger-span-${day(ago)}`);
    const others = [".internal", "chatify-jaeger-span", `chatify-jaeger-service-${day(9)}`];
    server.answers.set("/_cat/indices/chatify-jaeger-*", [...names, ...others].join("\n"));
    await run(["bash", script("elasticsearch/retention.sh"), "--once"], { env });
    const deleted = server.asked.filter(({ method }) => method === "DELETE");
    expect(deleted.map(({ path }) => path).sort()).toEqual(
      [`/chatify-jaeger-service-${day(9)}`, `/${names[2]}`, `/${names[3]}`].sort(),
    );
    expect(deleted.every(({ user }) => user === "chatify_jaeger")).toBe(true);
  });

  test("brings the saved objects, and fails when Kibana takes none although it answers", async () => {
    server.asked.length = 0;
    const path = "/api/saved_objects/_import";
    const command = ["bash", script("kibana/setup.sh")];
    server.answers.set(path, '{"successCount":6,"success":true}');
    await run(command, { env });
    expect(server.asked[0]?.text).toContain(ndjson());
    server.answers.set(
      path,
      '{"successCount":0,"success":false,"errors":[{"type":"unsupported"}]}',
    );
    const failed = await run(command, { env }).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(CommandError);
    expect(String(failed)).toContain("unsupported");
  });
});

const reference = z.strictObject({ name: z.string(), type: z.string(), id: z.string() });
const savedObject = z.strictObject({
  type: z.enum(["index-pattern", "search", "dashboard"]),
  id: z.string().regex(/^[a-z-]+$/),
  attributes: z.looseObject({ title: z.string() }),
  references: z.array(reference),
  coreMigrationVersion: z.string(),
});

describe("Kibana's saved objects", () => {
  const objects = readFileSync(FILE, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => savedObject.parse(JSON.parse(line)) as SavedObject);

  test("saved_objects.ndjson is what saved_objects.ts says", () => {
    expect(readFileSync(FILE, "utf8")).toBe(ndjson());
  });

  test("each refers to what is there, by the names that it uses", () => {
    const there = new Set(objects.map(({ id, type }) => `${type}/${id}`));
    for (const { attributes, references } of objects) {
      const text = JSON.stringify(attributes);
      for (const { id, name, type } of references) {
        expect([name, there.has(`${type}/${id}`)]).toEqual([name, true]);
        expect(text).toContain(name.split(":").at(-1) as string);
      }
    }
  });

  test("searches and the data view ask for fields and indices that there are", () => {
    const view = objects.find(({ type }) => type === "index-pattern");
    expect(template.index_patterns).toContain(String(view?.attributes.title));
    expect(fields.get(String(view?.attributes.timeFieldName))).toBe("date");
    for (const { columns, query } of SEARCHES) {
      const asked = [...query.matchAll(/([\w.]+) :/g)].map(([, field]) => field as string);
      expect(asked.length).toBeGreaterThan(0);
      for (const field of [...columns, ...asked]) {
        expect([field, fields.has(field)]).toEqual([field, true]);
      }
    }
  });
});

const component = z.record(z.string(), z.unknown());
const jaegerConfig = z.strictObject({
  service: z.strictObject({
    extensions: z.array(z.string()),
    pipelines: z.strictObject({
      traces: z.strictObject({
        receivers: z.array(z.string()),
        processors: z.array(z.string()),
        exporters: z.array(z.string()),
      }),
    }),
  }),
  extensions: component,
  receivers: component,
  processors: component,
  exporters: component,
});

test("Jaeger's pipeline is made of what is configured, and all of that is used", () => {
  const text = readFileSync(join(MONITORING, "jaeger/jaeger.yml"), "utf8");
  const jaeger = jaegerConfig.parse(Bun.YAML.parse(text));
  const { traces } = jaeger.service.pipelines;
  expect(Object.keys(jaeger.extensions).sort()).toEqual(jaeger.service.extensions.toSorted());
  for (const kind of ["receivers", "processors", "exporters"] as const) {
    expect(Object.keys(jaeger[kind]).sort()).toEqual(traces[kind].toSorted());
  }
});

/** As the driver json-file writes it. */
function dockerLine(line: string): string {
  return JSON.stringify({ log: `${line}\n`, stream: "stdout", time: "2026-11-24T08:00:00.1Z" });
}
