/**
 * docs/METRICS.md as the code has it. `bun tests/observability/metrics_page.ts` writes it; the test
 * beside it says when that is due.
 */
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import type { LabelValues } from "../../src/core/telemetry/label_values.ts";
import type { MetricEntry } from "../../src/core/telemetry/metric_maker.ts";
import { createMetrics } from "../../src/core/telemetry/metrics.ts";
import { startProcessMetrics } from "../../src/core/telemetry/process_metrics.ts";
import { ROLES } from "../../src/core/topology.ts";

export const METRICS_PAGE = join(import.meta.dir, "../../docs/METRICS.md");

const head = `# Metrics

Every process serves its metrics in Prometheus' format at \`/metrics\` of the admin listener
(\`ADMIN_HOST\`, \`ADMIN_PORT\`; 127.0.0.1:9464 unless configured otherwise). This page is written from
the code by \`bun tests/observability/metrics_page.ts\`, and a test holds the two together.

- A name ends in its unit; a counter ends in \`_total\`.
- A label holds one of the values that are listed here, or what fits a pattern. None holds the id of
  a user, a group, a conversation, a message or a connection, so the number of series is bounded by
  roles × partitions × codes: about 350 per process.
- Every process has every metric. What its roles do not do stays at zero; gauges of partitions are
  there only while the process owns the partition.
- _By the owner_: the node that owns the partition reports it, every 3 s, from one pipeline to
  Redis. _By the reporting node_: the live node with the smallest id reports it for the cluster, and
  also reports the streams of partitions that nobody owns. So \`max by (topic, partition)\` is right
  even in the seconds in which two nodes believe to be the one.
- What happens once per message costs about 10 ns: \`send_accepted\`, \`accepted_delivered\` and
  \`delivered_acked\` are added to an array, and counts of frames are plain numbers until a sweep.

Alerts on these metrics: [monitoring/prometheus/rules](../monitoring/prometheus/rules), explained in
[RUNBOOK.md](RUNBOOK.md). Dashboards: [monitoring/grafana/dashboards](../monitoring/grafana/dashboards).
`;

export function catalogue(): MetricEntry[] {
  const metrics = createMetrics();
  startProcessMetrics(metrics, { version: "0.0.0", roles: ROLES, clock: systemClock });
  return metrics.make.entries;
}

export function metricsPage(entries: readonly MetricEntry[]): string {
  let page = head;
  for (const [section, own] of Map.groupBy(entries, (entry) => entry.section)) {
    const rows = own.map(rowOf);
    page += `\n## ${section}\n\n| name | type | labels | unit | meaning |\n`;
    page += `| --- | --- | --- | --- | --- |\n${rows.join("")}`;
  }
  const lists = new Map<string, LabelValues>();
  for (const { labels, name } of entries) {
    for (const [label, values] of Object.entries(labels)) {
      if (!("pattern" in values) && values.length > INLINE_MAX)
        lists.set(`${name} ${label}`, values);
    }
  }
  page += "\n## Long lists of label values\n\n";
  for (const [key, values] of lists) {
    const [name, label] = key.split(" ");
    const all = (values as readonly string[]).map((value) => `\`${value}\``).join(", ");
    page += `- \`${name}\`, \`${label}\`: ${all}\n`;
  }
  return page;
}

/** The page without what the formatter puts into tables to align them. */
export function unaligned(page: string): string {
  return page.replace(/ +/g, " ").replace(/-{3,}/g, "---");
}

/** Longer lists of values are below the tables. */
const INLINE_MAX = 6;

function rowOf({ help, labels, name, type }: MetricEntry): string {
  const takes = Object.entries(labels).map(([label, values]) => {
    if ("pattern" in values) return `\`${label}\`: ${values.takes}`;
    if (values.length > INLINE_MAX) return `\`${label}\`: see below`;
    return `\`${label}\`: ${values.join(", ")}`;
  });
  return `| \`${name}\` | ${type} | ${takes.join("; ") || "–"} | ${unitOf(name)} | ${help} |\n`;
}

export function unitOf(name: string): string {
  const base = name.replace(/_total$/, "");
  for (const unit of ["seconds", "bytes", "messages"]) if (base.endsWith(`_${unit}`)) return unit;
  return name.endsWith("_info") ? "–" : "count";
}

if (import.meta.main) {
  await Bun.write(METRICS_PAGE, metricsPage(catalogue()));
  // The metrics of the process have a timer.
  process.exit(0);
}
