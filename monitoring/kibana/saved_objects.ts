/**
 * What Kibana is given: a data view of Chatify's logs, what people look for in them, and one page that
 * shows it. `bun monitoring/kibana/saved_objects.ts` writes saved_objects.ndjson, and a test holds the
 * two together.
 */
import { join } from "node:path";

export const FILE = join(import.meta.dir, "saved_objects.ndjson");
const DATA_VIEW = "chatify-logs";
const TITLE = "logs-chatify-*";

export interface Reference {
  readonly name: string;
  readonly type: string;
  readonly id: string;
}

export interface SavedObject {
  readonly type: "index-pattern" | "search" | "dashboard";
  readonly id: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly references: readonly Reference[];
  readonly coreMigrationVersion: string;
}

/** The newest version whose shape this is; Kibana migrates to its own. */
const VERSION = { coreMigrationVersion: "8.8.0" } as const;

const dataView: SavedObject = {
  ...VERSION,
  type: "index-pattern",
  id: DATA_VIEW,
  attributes: {
    title: TITLE,
    name: "Chatify logs",
    timeFieldName: "@timestamp",
    fieldFormatMap: JSON.stringify({
      // Where deploy/compose.consoles.yml publishes Jaeger.
      "trace.id": {
        id: "url",
        params: {
          urlTemplate: "http://localhost:16686/trace/{{value}}",
          openLinkInCurrentTab: false,
        },
      },
    }),
  },
  references: [],
};

interface Search {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** In Kibana's query language. */
  readonly query: string;
  readonly columns: readonly string[];
}

export const SEARCHES: readonly Search[] = [
  {
    id: "chatify-problems",
    title: "Chatify: problems",
    description: "Warnings and errors of every role",
    query: "log.level : (warn or error or fatal)",
    columns: [
      "log.level",
      "chatify.role",
      "service.node.name",
      "message",
      "error.message",
      "trace.id",
    ],
  },
  {
    id: "chatify-traced",
    title: "Chatify: lines with a trace",
    description: "What was slow, refused or given up; the trace shows where",
    query: "trace.id : *",
    columns: ["chatify.role", "message", "msg_id", "code", "reason", "trace.id"],
  },
  {
    id: "chatify-cluster",
    title: "Chatify: nodes and partitions",
    description: "Who came, who went, and who owns what",
    query:
      'message : ("partition acquired" or "partition lost" or "node is gone" or "stopping" or "chatify is ready")',
    columns: [
      "chatify.role",
      "service.node.name",
      "message",
      "group",
      "partition",
      "epoch",
      "peer",
    ],
  },
  {
    id: "chatify-requests",
    title: "Chatify: requests that failed",
    description: "HTTP requests by request id and code",
    query: "request_id : *",
    columns: ["log.level", "chatify.role", "code", "request_id", "message"],
  },
];

const searches: SavedObject[] = SEARCHES.map(({ columns, description, id, query, title }) => ({
  ...VERSION,
  type: "search",
  id,
  attributes: {
    title,
    description,
    columns,
    sort: [["@timestamp", "desc"]],
    grid: {},
    hideChart: false,
    isTextBasedQuery: false,
    timeRestore: false,
    kibanaSavedObjectMeta: {
      searchSourceJSON: JSON.stringify({
        query: { query, language: "kuery" },
        filter: [],
        indexRefName: "kibanaSavedObjectMeta.searchSourceJSON.index",
      }),
    },
  },
  references: [
    {
      name: "kibanaSavedObjectMeta.searchSourceJSON.index",
      type: "index-pattern",
      id: DATA_VIEW,
    },
  ],
}));

/** The whole width and 14 rows for each search, one below the other. */
const [WIDTH, ROWS] = [48, 14];

const dashboard: SavedObject = {
  ...VERSION,
  type: "dashboard",
  id: "chatify-logs",
  attributes: {
    title: "Chatify logs",
    description: "Problems first, then what changed",
    panelsJSON: JSON.stringify(
      SEARCHES.map(({ id }, i) => ({
        type: "search",
        panelIndex: id,
        panelRefName: `panel_${id}`,
        gridData: { x: 0, y: i * ROWS, w: WIDTH, h: ROWS, i: id },
        embeddableConfig: {},
      })),
    ),
    optionsJSON: JSON.stringify({ useMargins: true, hidePanelTitles: false }),
    timeRestore: true,
    timeFrom: "now-1h",
    timeTo: "now",
    version: 1,
    kibanaSavedObjectMeta: {
      searchSourceJSON: JSON.stringify({ query: { query: "", language: "kuery" }, filter: [] }),
    },
  },
  references: SEARCHES.map(({ id }) => ({ name: `${id}:panel_${id}`, type: "search", id })),
};

export const SAVED_OBJECTS: readonly SavedObject[] = [dataView, ...searches, dashboard];

export function ndjson(): string {
  return `${SAVED_OBJECTS.map((object) => JSON.stringify(object)).join("\n")}\n`;
}

if (import.meta.main) await Bun.write(FILE, ndjson());
