/** Queries that several panels are made of. Rates look back over what Grafana finds right. */
import type { Query } from "./panel.ts";

export const WINDOW = "$__rate_interval";

export function rate(metric: string, by = ""): string {
  const sum = by === "" ? "sum" : `sum by (${by})`;
  return `${sum} (rate(${metric}[${WINDOW}]))`;
}

/** The quantiles of a histogram, one line each. */
export function quantiles(metric: string, which: readonly number[] = [0.5, 0.9, 0.99]): Query[] {
  return which.map((q) => [quantile(q, metric), `p${q * 100}`]);
}

export function quantile(q: number, metric: string, by = ""): string {
  const labels = by === "" ? "le" : `le, ${by}`;
  return `histogram_quantile(${q}, sum by (${labels}) (rate(${metric}_bucket[${WINDOW}])))`;
}

/** A gauge of a process, with the roles of the process beside its address. */
export function byProcess(expr: string): string {
  return `${expr} * on (instance) group_left (roles) chatify_build_info`;
}

/** A stream is reported by its owner; in a hand-over, by two. */
export function streams(metric: string, by = "topic"): string {
  return `sum by (${by}) (max by (topic, partition) (${metric}))`;
}
