/** The process of a herd: orders come on stdin, reports go to stdout four times a second. */
import { Herd } from "./herd.ts";
import type { HerdJob, Order } from "./orders.ts";

/** Longest time that an order waits for the herd to look up. */
const WAIT_MS = 50;
const REPORT_MS = 250;

const herd = new Herd(JSON.parse(process.argv[2] ?? "{}") as HerdJob);

async function takeOrders(): Promise<never> {
  for await (const line of console) {
    const order = JSON.parse(line) as Order;
    if (order.order === "connect") herd.connect(order.to, order.atOnce);
    else herd.setPorts(order.ports);
  }
  // Whoever gave orders is gone.
  process.exit(0);
}

let reportedAt = 0;
let reported = "";
takeOrders().catch((error: unknown) => {
  process.stderr.write(`herd: ${String(error)}\n`);
  process.exit(1);
});
for (;;) {
  herd.turn(WAIT_MS);
  const now = performance.now();
  if (now - reportedAt > REPORT_MS) {
    reportedAt = now;
    const report = JSON.stringify(herd.report());
    if (report !== reported) process.stdout.write(`${report}\n`);
    reported = report;
  }
  await new Promise((resolve) => setImmediate(resolve));
}
