/** Hands segments to an offline node in another process; the shipper repeats what fails. */
import type { Clock } from "../clock.ts";
import type { Endpoint } from "../offline/http_store.ts";
import { CLUSTER_SECRET_HEADER } from "../offline/wire.ts";
import { ChatifyError } from "../protocol/errors.ts";
import type { Segment, SegmentSink } from "./store.ts";
import { encodeSegments, LEDGER_SEGMENTS_PATH } from "./wire.ts";

export interface HttpSinkDeps {
  /** The offline nodes that live now; asked for at each call. */
  readonly endpoints: () => readonly Endpoint[];
  readonly clusterSecret: string;
  readonly clock: Clock;
}

const TIMEOUT_MS = 5_000;

export class HttpSegmentSink implements SegmentSink {
  private turn = 0;

  constructor(private readonly deps: HttpSinkDeps) {}

  /** Asks another node at each call, so that a repetition does not go where the last one failed. */
  async add(segments: readonly Segment[]): Promise<void> {
    const { clock, clusterSecret, endpoints } = this.deps;
    const nodes = endpoints();
    const node = nodes[this.turn++ % Math.max(1, nodes.length)];
    if (node === undefined) throw new ChatifyError("unavailable", "no offline node lives", 1_000);
    const host = node.host.includes(":") ? `[${node.host}]` : node.host;
    const abort = new AbortController();
    const timer = clock.after(TIMEOUT_MS, () => abort.abort());
    try {
      const response = await fetch(`http://${host}:${node.port}${LEDGER_SEGMENTS_PATH}`, {
        method: "POST",
        headers: { [CLUSTER_SECRET_HEADER]: clusterSecret },
        body: encodeSegments(segments),
        signal: abort.signal,
      });
      await response.body?.cancel();
      if (response.status === 204) return;
      const message = `offline node ${host}:${node.port}: status ${response.status}`;
      throw new ChatifyError("unavailable", message, 1_000);
    } finally {
      timer.cancel();
    }
  }
}
