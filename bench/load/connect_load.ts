/** Connections as fast as the server takes them; then silence, so that memory can be looked at. */
import type { ConnectJob, LoadResult } from "../job.ts";
import { Outbox } from "./connection.ts";
import { connectAll, WELCOME } from "./population.ts";
import { MeasuredWindow, tell } from "./window.ts";

/** The first tenth warms the server up and is not counted. */
const WARMUP_SHARE = 10;

export async function runConnectLoad(job: ConnectJob): Promise<LoadResult> {
  const window = new MeasuredWindow(job.pids);
  const unmeasured = Math.floor(job.users / WARMUP_SHARE);
  let total = 0;
  const onOne = (tookUs: number) => {
    total += 1;
    if (total > unmeasured) window.delivery.record(tookUs);
    if (total === unmeasured) window.begin();
    if (total === job.users) window.end();
  };
  const options = { ...job, greeting: job.welcomes ? WELCOME : null };
  await connectAll(options, new Outbox(), () => () => {}, onOne);
  tell({ event: "connected" });
  await Bun.sleep(job.holdS * 1_000);
  tell({ event: "held" });
  await Bun.sleep(500);
  const done = total - unmeasured;
  return { ...window.result(), done, total, rejected: {}, duplicates: 0, missing: 0 };
}
