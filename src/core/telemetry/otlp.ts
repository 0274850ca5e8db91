/**
 * Spans to a collector by OTLP over HTTP. The queue holds 2 048 spans; more are dropped by the SDK:
 * a slow collector costs traces, never messages. Nothing here waits for the collector but shutdown.
 */
import {
  type Attributes,
  type HrTime,
  ROOT_CONTEXT,
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
import type { Random } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Span, Tracer } from "./telemetry.ts";
import { hex, NO_SPAN, parseTraceparent, sampleTrace, traceparent } from "./traceparent.ts";

/** Less than LIMITS.DRAIN_MS, so that a dead collector does not hold up a process that stops. */
const EXPORT_TIMEOUT_MS = 3_000;

export interface OtlpConfig extends Pick<Config, "traceSampleRatio" | "nodeId" | "roles"> {
  /** Base URL; spans go to `/v1/traces` below it. */
  readonly otlpEndpoint: string;
}

export function createOtlpTracer(config: OtlpConfig, random: Random): Tracer {
  const ids = new TraceIds(random);
  const url = `${config.otlpEndpoint.replace(/\/+$/, "")}/v1/traces`;
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_TIMEOUT_MS });
  const provider = new BasicTracerProvider({
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
  const tracer = provider.getTracer("chatify");
  return {
    sample: (incoming) => sampleTrace(config.traceSampleRatio, random, incoming),
    span(span) {
      if (span.parent === "") return "";
      const parent = parseTraceparent(span.parent);
      if (!parent?.sampled) return "";
      ids.rootTraceId = parent.traceId;
      const started = tracer.startSpan(
        span.name,
        { startTime: hrTime(span.start), attributes: attributesOf(span) },
        parentContext(parent.traceId, parent.spanId),
      );
      if (span.error !== undefined) {
        started.setStatus({ code: SpanStatusCode.ERROR, message: span.error });
      }
      started.end(hrTime(span.end));
      return traceparent(started.spanContext().traceId, started.spanContext().spanId);
    },
    shutdown: () => provider.shutdown(),
  };
}

/** Ids from the injected randomness; a root span gets the trace id that `sample` gave out. */
class TraceIds {
  rootTraceId = "";
  constructor(private readonly random: Random) {}
  generateTraceId = () => this.rootTraceId;
  generateSpanId = () => hex(this.random, 16);
}

function parentContext(traceId: string, spanId: string) {
  if (spanId === NO_SPAN) return ROOT_CONTEXT;
  const remote = { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
  return trace.setSpan(ROOT_CONTEXT, trace.wrapSpanContext(remote));
}

function attributesOf(span: Span): Attributes {
  return span.attributes ?? {};
}

/** The SDK takes a plain number for milliseconds since the process started; a pair is absolute. */
function hrTime(unixMs: number): HrTime {
  const seconds = Math.floor(unixMs / 1_000);
  return [seconds, Math.round((unixMs - seconds * 1_000) * 1e6)];
}
