/**
 * A collector for tests: takes OTLP over HTTP in JSON, as the specification of OTLP 1.x has it, and
 * refuses everything else. Every field is named; one that is not known, or not of its type, fails
 * the request, and `problems` says why.
 */
import * as z from "zod";

const nanos = z.string().regex(/^[1-9]\d{18}$/, "takes unix nanoseconds as text");
const traceId = z.string().regex(/^(?!0{32})[\da-f]{32}$/, "takes 32 hexadecimal digits");
const spanId = z.string().regex(/^(?!0{16})[\da-f]{16}$/, "takes 16 hexadecimal digits");
const count = z.int().nonnegative();
const value = z.union([
  z.strictObject({ stringValue: z.string() }),
  z.strictObject({ boolValue: z.boolean() }),
  z.strictObject({ intValue: z.union([z.int(), z.string().regex(/^-?\d+$/)]) }),
  z.strictObject({ doubleValue: z.number() }),
]);
const attributes = z.array(z.strictObject({ key: z.string().min(1), value }));

const link = z.strictObject({
  traceId,
  spanId,
  traceState: z.string().optional(),
  attributes,
  droppedAttributesCount: count,
  flags: z.int().optional(),
});

const span = z.strictObject({
  traceId,
  spanId,
  parentSpanId: spanId.optional(),
  traceState: z.string().optional(),
  name: z.string().min(1),
  kind: z.int().min(1).max(5),
  startTimeUnixNano: nanos,
  endTimeUnixNano: nanos,
  attributes,
  droppedAttributesCount: count,
  events: z.array(z.never()),
  droppedEventsCount: count,
  status: z.strictObject({ code: z.int().min(0).max(2), message: z.string().optional() }),
  links: z.array(link),
  droppedLinksCount: count,
  flags: z.int().optional(),
});

const request = z.strictObject({
  resourceSpans: z
    .array(
      z.strictObject({
        resource: z.strictObject({ attributes, droppedAttributesCount: count }),
        scopeSpans: z
          .array(
            z.strictObject({
              scope: z.strictObject({ name: z.string(), version: z.string().optional() }),
              spans: z.array(span).min(1),
              schemaUrl: z.string().optional(),
            }),
          )
          .min(1),
        schemaUrl: z.string().optional(),
      }),
    )
    .min(1),
});

export interface ReceivedSpan {
  readonly name: string;
  readonly role: string;
  readonly traceId: string;
  readonly spanId: string;
  /** "" for a root. */
  readonly parentSpanId: string;
  /** Unix ms. */
  readonly start: number;
  readonly end: number;
  readonly error: string | null;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly attributes: Readonly<Record<string, unknown>>;
}

export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  readonly problems: string[] = [];
  private readonly server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => this.take(request),
  });

  /** What OTEL_EXPORTER_OTLP_ENDPOINT takes. */
  get endpoint(): string {
    return `http://127.0.0.1:${this.server.port}`;
  }

  stop(): Promise<void> {
    return this.server.stop(true);
  }

  /** Waits until a trace has a span of each of these names, and returns the trace. */
  async trace(
    fits: (span: ReceivedSpan) => boolean,
    names: readonly string[],
  ): Promise<ReceivedSpan[]> {
    const until = performance.now() + 10_000;
    let found: ReceivedSpan[] = [];
    while (performance.now() < until) {
      const start = this.spans.find(fits);
      found = this.spans.filter((other) => other.traceId === start?.traceId);
      if (names.every((name) => found.some((other) => other.name === name))) return found;
      await Bun.sleep(50);
    }
    const got = found.map((other) => other.name).join(", ");
    const all = this.spans.map((other) => other.name).join(", ");
    throw new Error(`waited for ${names.join(", ")}; the trace has [${got}], all are [${all}]`);
  }

  private async take(incoming: Request): Promise<Response> {
    const text = await incoming.text();
    const type = incoming.headers.get("content-type");
    const path = new URL(incoming.url).pathname;
    if (incoming.method !== "POST" || path !== "/v1/traces" || type !== "application/json") {
      return this.refuse(`${incoming.method} ${path} with content-type ${type}`);
    }
    const parsed = request.safeParse(JSON.parse(text));
    if (!parsed.success) return this.refuse(z.prettifyError(parsed.error));
    for (const { resource, scopeSpans } of parsed.data.resourceSpans) {
      const of = plain(resource.attributes);
      if (of["service.name"] !== "chatify") return this.refuse("service.name is not chatify");
      const role = String(of["chatify.role"]);
      for (const { spans } of scopeSpans) this.spans.push(...spans.map((s) => received(s, role)));
    }
    return Response.json({ partialSuccess: {} });
  }

  private refuse(problem: string): Response {
    this.problems.push(problem);
    return new Response(problem, { status: 400 });
  }
}

function received(raw: z.output<typeof span>, role: string): ReceivedSpan {
  return {
    name: raw.name,
    role,
    traceId: raw.traceId,
    spanId: raw.spanId,
    parentSpanId: raw.parentSpanId ?? "",
    start: Number(BigInt(raw.startTimeUnixNano) / 1_000n) / 1_000,
    end: Number(BigInt(raw.endTimeUnixNano) / 1_000n) / 1_000,
    error: raw.status.code === 2 ? (raw.status.message ?? "") : null,
    links: raw.links.map((each) => ({ traceId: each.traceId, spanId: each.spanId })),
    attributes: plain(raw.attributes),
  };
}

function plain(list: z.output<typeof attributes>): Record<string, unknown> {
  return Object.fromEntries(list.map(({ key, value: v }) => [key, Object.values(v)[0]]));
}

/** The tree of a trace as nested names, children by name: `a(b(c,d))`, with roles: `a@gateway`. */
export function treeOf(spans: readonly ReceivedSpan[], parent = ""): string {
  const own = spans.filter((span) =>
    parent === ""
      ? !spans.some((other) => other.spanId === span.parentSpanId)
      : span.parentSpanId === parent,
  );
  return own
    .sort((a, b) => a.name.localeCompare(b.name))
    .map((span) => {
      const below = treeOf(
        spans.filter((other) => other !== span),
        span.spanId,
      );
      return `${span.name}@${span.role}${below === "" ? "" : `(${below})`}`;
    })
    .join(",");
}
