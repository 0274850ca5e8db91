/**
 * Makes Grafana dashboards from lists of panels. `bun monitoring/grafana/write.ts` writes the JSON
 * beside it that Grafana is provisioned with; a test holds the two together and asks a real
 * Prometheus every query.
 */
export type Query = readonly [expr: string, legend: string];

export interface PanelSpec {
  readonly title: string;
  readonly kind?: "timeseries" | "stat" | "table";
  /** A unit of Grafana: short, s, bytes, ops, Bps, percentunit. */
  readonly unit?: string;
  /** Of 24 columns. */
  readonly width?: number;
  readonly height?: number;
  /** What it shows and what is healthy, behind the panel's (i). */
  readonly about: string;
  readonly queries: readonly Query[];
  /** From this value on it is red. */
  readonly redFrom?: number;
  readonly stacked?: boolean;
}

export interface DashboardSpec {
  readonly uid: string;
  readonly title: string;
  readonly rows: readonly { readonly title: string; readonly panels: readonly PanelSpec[] }[];
}

const COLUMNS = 24;
const DATASOURCE = { type: "prometheus", uid: "prometheus" };

export function dashboard({ rows, title, uid }: DashboardSpec) {
  const panels: object[] = [];
  let y = 0;
  for (const row of rows) {
    const id = panels.length + 1;
    panels.push({
      id,
      type: "row",
      title: row.title,
      collapsed: false,
      gridPos: grid(0, y, 24, 1),
    });
    y += 1;
    let x = 0;
    let height = 0;
    for (const spec of row.panels) {
      const [w, h] = [spec.width ?? 8, spec.height ?? (spec.kind === "stat" ? 4 : 8)];
      if (x + w > COLUMNS) [x, y, height] = [0, y + height, 0];
      panels.push({ id: panels.length + 1, ...panel(spec), gridPos: grid(x, y, w, h) });
      x += w;
      height = Math.max(height, h);
    }
    y += height;
  }
  return {
    uid,
    title,
    tags: ["chatify"],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: "15s",
    time: { from: "now-1h", to: "now" },
    timezone: "",
    links: [{ type: "dashboards", title: "Chatify", tags: ["chatify"], asDropdown: true }],
    templating: { list: [] },
    annotations: { list: [] },
    panels,
  };
}

function grid(x: number, y: number, w: number, h: number) {
  return { x, y, w, h };
}

function panel(spec: PanelSpec) {
  const { about, kind = "timeseries", queries, redFrom, title, unit = "short" } = spec;
  const steps: object[] = [{ color: "green", value: null }];
  if (redFrom !== undefined) steps.push({ color: "red", value: redFrom });
  return {
    type: kind,
    title,
    description: about,
    datasource: DATASOURCE,
    targets: queries.map(([expr, legendFormat], i) => ({
      refId: String.fromCharCode(65 + i),
      datasource: DATASOURCE,
      expr,
      legendFormat,
      ...(kind === "timeseries" ? {} : { instant: true }),
      ...(kind === "table" ? { format: "table" } : {}),
    })),
    fieldConfig: {
      defaults: { unit, min: 0, thresholds: { mode: "absolute", steps }, custom: custom(spec) },
      overrides: [],
    },
    options: optionsOf(kind, redFrom !== undefined),
  };
}

function custom({ kind = "timeseries", redFrom, stacked = false }: PanelSpec): object {
  if (kind !== "timeseries") return {};
  return {
    lineWidth: 1,
    fillOpacity: stacked ? 30 : 8,
    showPoints: "never",
    stacking: { mode: stacked ? "normal" : "none", group: "A" },
    thresholdsStyle: { mode: redFrom === undefined ? "off" : "line" },
  };
}

function optionsOf(kind: NonNullable<PanelSpec["kind"]>, coloured: boolean): object {
  if (kind === "table") return { showHeader: true };
  if (kind === "timeseries") {
    return {
      legend: { displayMode: "list", placement: "bottom", showLegend: true },
      tooltip: { mode: "multi", sort: "desc" },
    };
  }
  return {
    reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
    colorMode: coloured ? "background" : "value",
    graphMode: "area",
    justifyMode: "auto",
    textMode: "auto",
  };
}
