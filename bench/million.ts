/** `bun run bench idle --connections N`: as a report beside the other benches. */

import { MillionRun } from "./million/run.ts";
import { bytesPerConnection, type Stage } from "./million/stage.ts";
import type { Options } from "./options.ts";
import { figure, type Report, type ReportRow } from "./report.ts";

/** A bare WebSocket in a Bun process, a client of the same kind, and the kernel's part of both. */
const BARE_BYTES = 10_000;

export async function benchMillion(options: Options): Promise<Report> {
  const result = await MillionRun.run({
    connections: options.connections,
    perGateway: options.perGateway,
    size: { access: 2, push: 2, logic: 1 },
    durability: options.durability,
    minutesMax: options.minutes,
    say: (text) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`),
  });
  const { empty, redisEmptyBytes, stages } = result;
  const costs = stages.map((stage) => bytesPerConnection(empty, stage));
  const ours = costs.at(-1)?.["machine, in all"] ?? Number.NaN;
  return {
    bench: "idle",
    unit: "bytes per connection, clients and kernel included",
    ours,
    floor: BARE_BYTES,
    ratio: ours / BARE_BYTES,
    rows: stages.flatMap((stage, i) => rowsOf(stage, costs[i] ?? {}, redisEmptyBytes)),
    details: { ...result, bytes_per_connection: costs },
  };
}

function rowsOf(stage: Stage, costs: Record<string, number>, redisEmptyBytes: number): ReportRow[] {
  const { broadcast, connections, idleCores, memory } = stage;
  const cores = Object.values(idleCores).reduce((sum, n) => sum + n, 0);
  const row = (name: string, value: number): ReportRow => [name, figure(value), ""];
  return [
    row(`${connections} connections: gateways`, stage.gateways),
    row("  connected in, s", stage.connectSeconds),
    row("  connections a second", stage.connectionsPerSecond),
    row("  welcome p99, ms", stage.welcomeMs.p99),
    ...Object.entries(costs).map(([kind, bytes]) => row(`  bytes each, ${kind}`, bytes)),
    row("  bytes each, Redis's own count", (stage.redisBytes - redisEmptyBytes) / connections),
    row("  memory left, MB", memory.availableBytes / 1e6),
    row("  cores in use while silent", cores),
    ...(broadcast === null
      ? []
      : [
          row("  push to all, reached", broadcast.reached),
          row("  push to all, s", broadcast.ms / 1_000),
        ]),
  ];
}
