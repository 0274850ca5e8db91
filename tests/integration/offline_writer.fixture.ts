/**
 * A process that archives rows until it is killed and says so after each call that resolved:
 * `bun offline_writer.fixture.ts <database url>`. Prints `open`, then the number of rows stored.
 */
import { systemClock } from "../../src/core/clock.ts";
import { openOfflineStore } from "../../src/roles/offline/open_store.ts";
import { makeRow, silentTelemetry } from "./offline_stores.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);

try {
  const url = process.argv[2] ?? "";
  const store = await openOfflineStore({ url, clock: systemClock, telemetry: silentTelemetry() });
  say("open");
  for (let count = 0; ; ) {
    const rows = Array.from({ length: 5 }, () => makeRow("ann", { msg_id: `m-${count++}` }));
    await store.archive({ partition: 0, epoch: 1 }, rows);
    say(String(count));
  }
} catch (error) {
  process.stderr.write(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
