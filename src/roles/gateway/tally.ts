/**
 * Counts of what happens per frame, as plain numbers. They go to the metrics at each sweep: a metric
 * of prom-client costs about as much as parsing a frame.
 */
import type { ErrorCode } from "../../core/protocol/errors.ts";
import type { ClientFrame } from "../../core/protocol/frames.ts";
import type { Metrics } from "../../core/telemetry/metrics.ts";

type FrameType = ClientFrame["type"] | "bad";

export class Tally {
  readonly framesIn: Record<FrameType, number> = {
    send: 0,
    ack: 0,
    typing: 0,
    read: 0,
    watch: 0,
    ping: 0,
    bad: 0,
  };
  framesOut = 0;
  bytesIn = 0;
  bytesOut = 0;
  private readonly metrics: Metrics;
  private readonly rejections = new Map<ErrorCode, number>();

  constructor(metrics: Metrics) {
    this.metrics = metrics;
  }

  rejected(code: ErrorCode): void {
    this.rejections.set(code, (this.rejections.get(code) ?? 0) + 1);
  }

  /** Moves what was counted since the last call to the metrics. */
  flush(): void {
    const { metrics, framesIn } = this;
    for (const type of Object.keys(framesIn) as FrameType[]) {
      if (framesIn[type] === 0) continue;
      metrics.framesIn.inc({ type }, framesIn[type]);
      framesIn[type] = 0;
    }
    if (this.framesOut > 0) metrics.framesOut.inc(this.framesOut);
    if (this.bytesIn > 0) metrics.bytesIn.inc(this.bytesIn);
    if (this.bytesOut > 0) metrics.bytesOut.inc(this.bytesOut);
    this.framesOut = this.bytesIn = this.bytesOut = 0;
    for (const [code, count] of this.rejections) metrics.rejected.inc({ code }, count);
    this.rejections.clear();
  }
}
