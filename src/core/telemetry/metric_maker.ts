/**
 * Makes metrics and keeps a catalogue of them: docs/METRICS.md, its test and the zeros that every
 * known series starts with come from it.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { HotHistogram } from "./hot_histogram.ts";
import type { LabelValues } from "./label_values.ts";

export interface MetricEntry {
  /** The heading under which docs/METRICS.md has it. */
  readonly section: string;
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: Readonly<Record<string, LabelValues>>;
  /** Makes the series of these label values exist, at zero. */
  readonly zero: (labels: Record<string, string>) => void;
}

type Labels<L extends string> = Readonly<Record<L, LabelValues>>;

export class MetricMaker {
  readonly registry = new Registry();
  readonly entries: MetricEntry[] = [];
  private heading = "";

  /** What is made from now on belongs under this heading. */
  section(heading: string): void {
    this.heading = heading;
  }

  counter<L extends string = never>(name: string, help: string, labels?: Labels<L>): Counter<L> {
    const made = new Counter<L>(this.options(name, help, labels));
    this.note("counter", name, help, labels, (values) => made.inc(values as Record<L, string>, 0));
    return made;
  }

  /** `collect` sets it when it is asked for. */
  gauge<L extends string = never>(
    name: string,
    help: string,
    labels?: Labels<L>,
    collect?: (gauge: Gauge<L>) => void | Promise<void>,
  ): Gauge<L> {
    const options = this.options(name, help, labels);
    const made: Gauge<L> = new Gauge<L>(
      collect === undefined ? options : { ...options, collect: () => collect(made) },
    );
    // A gauge with labels that nobody set says nothing: zero would be a claim.
    this.note("gauge", name, help, labels, () => {});
    return made;
  }

  histogram<L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labels?: Labels<L>,
  ): Histogram<L> {
    const options = this.options(name, help, labels);
    const made = new Histogram<L>({ ...options, buckets: [...buckets] });
    this.note("histogram", name, help, labels, (values) => {
      made.zero(values as Record<L, string>);
    });
    return made;
  }

  /** For what is observed once per message. */
  hotHistogram(name: string, help: string, buckets: readonly number[]): HotHistogram {
    this.note("histogram", name, help, undefined, () => {});
    return new HotHistogram({ name: `chatify_${name}`, help, buckets, registry: this.registry });
  }

  /**
   * Makes every series exist whose label values are all known: a rate needs a value before the first
   * event, and a panel that shows zero says more than an empty one.
   */
  zero(): void {
    for (const { labels, zero } of this.entries) {
      for (const values of combinations(labels)) zero(values);
    }
  }

  private options<L extends string>(name: string, help: string, labels?: Labels<L>) {
    const labelNames = Object.keys(labels ?? {}) as L[];
    return { name: `chatify_${name}`, help, labelNames, registers: [this.registry] };
  }

  private note(
    type: MetricEntry["type"],
    name: string,
    help: string,
    labels: Readonly<Record<string, LabelValues>> | undefined,
    zero: MetricEntry["zero"],
  ): void {
    const section = this.heading;
    this.entries.push({ section, name: `chatify_${name}`, type, help, labels: labels ?? {}, zero });
  }
}

/** Every combination of listed values; none where a label has no list, or where there is no label. */
function combinations(labels: MetricEntry["labels"]): Record<string, string>[] {
  const names = Object.keys(labels);
  if (names.length === 0) return [];
  let all: Record<string, string>[] = [{}];
  for (const name of names) {
    const values = labels[name] as LabelValues;
    if ("pattern" in values) return [];
    all = all.flatMap((before) => values.map((value) => ({ ...before, [name]: value })));
  }
  return all;
}
