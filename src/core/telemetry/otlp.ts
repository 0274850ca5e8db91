/**
 * Spans to a collector by OTLP over HTTP. The queue holds 2 048 spans; more are dropped by the SDK:
 * a slow collector costs traces, never messages. Nothing here waits for the collector but shutdown.
 */
import {
  type Attributes,
  type HrTime,
  type Link,
  ROOT_CONTEXT,
  type Tracer as SdkTracer,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import type { Clock, Random } from "../clock.ts";
import type { Config } from "../config.ts";
import { PROBLEMS_PER_SECOND, type Span, type TraceContext, type Tracer } from "./telemetry.ts";
import {
  hex,
  NO_SPAN,
  newTrace,
  parseTraceparent,
  sampleTrace,
  traceparent,
} from "./traceparent.ts";

/** Less than LIMITS.DRAIN_MS, so that a dead collector does not hold up a process that stops. */
const EXPORT_TIMEOUT_MS = 3_000;

export interface OtlpConfig extends Pick<Config, "traceSampleRatio" | "nodeId" | "roles"> {
  /** Base URL; spans go to `/v1/traces` below it. */
  readonly otlpEndpoint: string;
}

export function createOtlpTracer(
  config: OtlpConfig,
  random: Random,
  clock: Pick<Clock, "monotonic">,
): Tracer {
  const ids = new TraceIds(random);
  const spans = createProvider(config, ids);
  const record = recorder(spans.getTracer("chatify"), ids);
  const problems = new ProblemBudget(clock);
  return {
    sample: (incoming) => sampleTrace(config.traceSampleRatio, random, incoming),
    sampleProblem(trace) {
      if (trace !== "" || !problems.spend()) return trace;
      return newTrace(random);
    },
    follow(origin) {
      return origin === "" ? sampleTrace(config.traceSampleRatio, random) : newTrace(random);
    },
    child(parent) {
      const context = parent === "" ? null : parseTraceparent(parent);
      return context?.sampled ? traceparent(context.traceId, hex(random, 16)) : "";
    },
    span: (span) => (span.parent === "" ? "" : record(span)),
    shutdown: () => spans.shutdown(),
  };
}

function createProvider(config: OtlpConfig, ids: TraceIds): BasicTracerProvider {
  const url = `${config.otlpEndpoint.replace(/\/+$/, "")}/v1/traces`;
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_TIMEOUT_MS });
  return new BasicTracerProvider({
    resource: resourceFromAttributes({
      "service.name": "chatify",
      "service.instance.id": config.nodeId,
      "chatify.role": config.roles.join(","),
    }),
    // `sample` has decided already: what reaches the SDK is recorded.
    sampler: new AlwaysOnSampler(),
    idGenerator: ids,
    spanProcessors: [new BatchSpanProcessor(exporter, { exportTimeoutMillis: EXPORT_TIMEOUT_MS })],
  });
}

/** What hands a finished span to the SDK and returns the context for its children. */
function recorder(tracer: SdkTracer, ids: TraceIds): (span: Span) => TraceContext {
  return (span) => {
    const parent = parseTraceparent(span.parent);
    if (!parent?.sampled) return "";
    ids.rootTraceId = parent.traceId;
    ids.nextSpanId = span.self === undefined ? null : (parseTraceparent(span.self)?.spanId ?? null);
    const started = tracer.startSpan(
      span.name,
      { startTime: hrTime(span.start), attributes: attributesOf(span), links: linksOf(span) },
      parentContext(parent.traceId, parent.spanId),
    );
    if (span.error !== undefined) {
      started.setStatus({ code: SpanStatusCode.ERROR, message: span.error });
    }
    started.end(hrTime(span.end));
    return traceparent(started.spanContext().traceId, started.spanContext().spanId);
  };
}

/** A token bucket: PROBLEMS_PER_SECOND, as many at once. */
class ProblemBudget {
  private tokens = PROBLEMS_PER_SECOND;
  private at: number;
  constructor(private readonly clock: Pick<Clock, "monotonic">) {
    this.at = clock.monotonic();
  }

  spend(): boolean {
    const now = this.clock.monotonic();
    const refilled = this.tokens + ((now - this.at) * PROBLEMS_PER_SECOND) / 1_000;
    this.tokens = Math.min(PROBLEMS_PER_SECOND, refilled);
    this.at = now;
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}

/**
 * Ids from the injected randomness; a root span gets the trace id that `sample` gave out, and a span
 * whose id was given out by `child` gets that one.
 */
class TraceIds {
  rootTraceId = "";
  nextSpanId: string | null = null;
  constructor(private readonly random: Random) {}
  generateTraceId = () => this.rootTraceId;
  generateSpanId = () => this.nextSpanId ?? hex(this.random, 16);
}

function parentContext(traceId: string, spanId: string) {
  if (spanId === NO_SPAN) return ROOT_CONTEXT;
  const remote = { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
  return trace.setSpan(ROOT_CONTEXT, trace.wrapSpanContext(remote));
}

/** A root that has no span yet cannot be linked to. */
function linksOf(span: Span): Link[] {
  const to = span.link === undefined || span.link === "" ? null : parseTraceparent(span.link);
  if (to === null || to.spanId === NO_SPAN) return [];
  const { spanId, traceId } = to;
  return [{ context: { traceId, spanId, traceFlags: TraceFlags.SAMPLED } }];
}

function attributesOf(span: Span): Attributes {
  return span.attributes ?? {};
}

/** The SDK takes a plain number for milliseconds since the process started; a pair is absolute. */
function hrTime(unixMs: number): HrTime {
  const seconds = Math.floor(unixMs / 1_000);
  return [seconds, Math.round((unixMs - seconds * 1_000) * 1e6)];
}
