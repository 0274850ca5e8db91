/**
 * The dashboards against a real Prometheus that scrapes a real cluster under load: every query of
 * every panel answers, and none of them with nothing.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DASHBOARDS } from "../../monitoring/grafana/dashboards.ts";
import { dashboard } from "../../monitoring/grafana/panel.ts";
import { isAllowed } from "../../src/core/telemetry/label_values.ts";
import { Cluster } from "../integration/cluster.ts";
import { Load } from "./load.ts";
import { catalogue } from "./metrics_page.ts";
import { MONITORING, Prometheus } from "./prometheus_server.ts";
import { metricsOf, untilSettled } from "./settled.ts";

const START_MS = 60_000;
/** Long enough for the reports that come every 3 s, and for rates over WINDOW. */
const LOAD_MS = 12_000;
const WINDOW = "8s";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: { readonly uid: string };
  readonly gridPos: { x: number; y: number; w: number; h: number };
  readonly targets?: { readonly expr: string; readonly datasource: { uid: string } }[];
}

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: Panel[];
}

const dir = join(MONITORING, "grafana/dashboards");
const files = readdirSync(dir).sort();
const boards = files.map((file): [string, Dashboard] => {
  return [file, JSON.parse(readFileSync(join(dir, file), "utf8")) as Dashboard];
});

describe("as files", () => {
  test("they are what the lists of panels make", () => {
    expect(files).toEqual(
      Object.keys(DASHBOARDS)
        .map((name) => `${name}.json`)
        .sort(),
    );
    for (const [name, spec] of Object.entries(DASHBOARDS)) {
      const written = boards.find(([file]) => file === `${name}.json`)?.[1];
      const made: unknown = JSON.parse(JSON.stringify(dashboard(spec)));
      expect(written, "bun monitoring/grafana/write.ts writes them anew").toEqual(
        made as Dashboard,
      );
    }
  });

  test("uids and panel ids are unique, panels do not overlap and say what they show", () => {
    expect(new Set(boards.map(([, { uid }]) => uid)).size).toBe(boards.length);
    for (const [file, { panels }] of boards) {
      expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
      const taken = new Set<string>();
      for (const { description, gridPos, title, type } of panels) {
        expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
            expect([file, title, taken.has(`${x},${y}`)]).toEqual([file, title, false]);
            taken.add(`${x},${y}`);
          }
        }
        if (type !== "row") expect(description?.length).toBeGreaterThan(8);
      }
    }
  });

  test("they ask a data source that is provisioned", () => {
    const text = readFileSync(
      join(MONITORING, "grafana/provisioning/datasources/chatify.yml"),
      "utf8",
    );
    const { datasources } = Bun.YAML.parse(text) as { datasources: { uid: string }[] };
    const known = datasources.map(({ uid }) => uid);
    for (const [, { panels }] of boards) {
      for (const { datasource, targets = [], type } of panels) {
        if (type !== "row") expect(known).toContain(datasource?.uid ?? "");
        for (const target of targets) expect(known).toContain(target.datasource.uid);
      }
    }
  });

  test("they and the rules ask for no metric that does not exist", () => {
    const known = new Set(catalogue().map(({ name }) => name));
    const rules = readdirSync(join(MONITORING, "prometheus/rules")).map((file) => {
      return readFileSync(join(MONITORING, "prometheus/rules", file), "utf8");
    });
    const all = [...rules, ...boards.map(([, board]) => JSON.stringify(board))].join("\n");
    const asked = [...all.matchAll(/\bchatify_[a-z_]+/g)].map(([name]) => name);
    const unknown = asked.filter((name) => {
      const base = name.replace(/_(bucket|sum|count)$/, "");
      const isGroup = /^chatify_(recording|flow|cluster|storage|security)$/.test(name);
      return !known.has(name) && !known.has(base) && !isGroup;
    });
    expect(unknown).toEqual([]);
    const shown = [...known].filter((name) => !asked.some((each) => each.startsWith(name)));
    expect(shown).toEqual([]);
  });
});

describe("against a cluster under load", () => {
  let cluster: Cluster;
  let prometheus: Prometheus;
  let load: Load;

  beforeAll(async () => {
    cluster = await Cluster.start({ layout: "split" });
    await untilSettled(cluster);
    prometheus = await Prometheus.start({ cluster });
    load = new Load(cluster);
    await Bun.sleep(LOAD_MS);
  }, START_MS);

  afterAll(async () => {
    await load?.stop();
    await prometheus?.stop();
    await cluster?.stop();
  }, START_MS);

  test("Prometheus scrapes every node", async () => {
    const targets = await prometheus.targets();
    expect(targets.map(({ health, lastError }) => [health, lastError])).toEqual(
      cluster.nodes.map(() => ["up", ""]),
    );
  });

  for (const [file, board] of boards) {
    test(`every panel of ${file} has something to show`, async () => {
      for (const { targets = [], title } of board.panels) {
        for (const { expr } of targets) {
          const series = await prometheus.query(expr.replaceAll("$__rate_interval", WINDOW));
          const finite = series.filter(({ value }) => Number.isFinite(Number(value[1])));
          expect([title, expr, finite.length > 0]).toEqual([title, expr, true]);
        }
      }
    });
  }

  test("what they show is what happened", async () => {
    const value = async (expr: string) => Number((await prometheus.query(expr))[0]?.value[1]);
    expect(await value("sum(chatify_messages_accepted_total)")).toBeGreaterThan(load.sent / 2);
    expect(await value("sum(max by (role) (chatify_nodes))")).toBe(cluster.nodes.length);
    expect(await value("sum(chatify_connections)")).toBeGreaterThanOrEqual(10);
    expect(await value("count(chatify_partition_epoch)")).toBe(16);
    expect(await value("max(chatify_partitions_unowned)")).toBe(0);
    expect(await value('sum(chatify_messages_delivered_total{way="replay"})')).toBeGreaterThan(5);
    expect(await value("chatify:delivery_seconds:p99")).toBeGreaterThan(0);
    expect(await value('max(chatify_redis_persistence{check="aof_enabled"})')).toBe(1);
    const partitions =
      'count by (topic) (max by (topic, partition) (chatify_stream_entries{topic="push_task"}))';
    expect(await value(partitions)).toBe(8);
  });

  test("the autoscalers of the chart get figures", async () => {
    const text = readFileSync(join(MONITORING, "../deploy/prometheus-adapter.yaml"), "utf8");
    const { rules } = Bun.YAML.parse(text) as {
      rules: Record<"custom" | "external", { seriesQuery: string; metricsQuery: string }[]>;
    };
    for (const [rule, matchers] of [
      // Prometheus in Kubernetes adds the pod; here there is none.
      [rules.custom[0], 'instance!=""'],
      [rules.external[0], 'topic="push_task"'],
    ] as const) {
      const found = await prometheus.query((rule?.seriesQuery ?? "").replace(',pod!=""', ""));
      const names = new Set(found.map(({ metric }) => metric.__name__ ?? ""));
      expect(names.size).toBeGreaterThan(0);
      for (const name of names) {
        const query = (rule?.metricsQuery ?? "")
          .replace("<<.Series>>", name)
          .replace("<<.LabelMatchers>>", matchers)
          .replace("<<.GroupBy>>", "instance");
        expect([query, (await prometheus.query(query)).length > 0]).toEqual([query, true]);
      }
    }
  });

  test("no alert of the project fires", async () => {
    // A busy machine is slow, and the alert that says so is right.
    const others = 'alertstate="firing",alertname!="ChatifyEventLoopLag"';
    const firing = await prometheus.query(`ALERTS{${others}}`);
    expect(firing.map(({ metric }) => metric.alertname)).toEqual([]);
  });

  test("every label value that the nodes serve is one that is allowed", async () => {
    const labelsOf = new Map(catalogue().map(({ labels, name }) => [name, labels]));
    for (const node of cluster.nodes) {
      for (const line of (await metricsOf(node)).split("\n")) {
        const [, name = "", list = ""] = /^(\w+)\{(.*)\} \S+$/.exec(line) ?? [];
        const labels = labelsOf.get(name.replace(/_(bucket|sum|count)$/, "")) ?? labelsOf.get(name);
        for (const [, label = "", text = ""] of list.matchAll(/(\w+)="([^"]*)"/g)) {
          if (label === "le") continue;
          const values = labels?.[label];
          expect([line, values !== undefined && isAllowed(values, text)]).toEqual([line, true]);
        }
      }
    }
  });
});
