/** A database that is down, hangs, is locked by somebody else, or whose disk is full. */
import { type Database, PostgresDatabase } from "../stage/database.ts";
import type { FaultAct, Theatre } from "./fault_act.ts";
import type { PlannedFault } from "./schedule.ts";

export function sqlFault(fault: PlannedFault, { stage }: Theatre): FaultAct[] {
  const pids = () => stage.of("offline").map(({ pid }) => pid);
  return [{ target: "sql", run: () => act(fault, stage.database, pids) }];
}

async function act(
  { durationMs, kind }: PlannedFault,
  database: Database,
  pids: () => number[],
): Promise<void> {
  const server = database instanceof PostgresDatabase ? database.server : null;
  switch (kind) {
    case "sql locked":
      await database.lock(durationMs);
      return;
    case "sql disk full":
      database.disk.full(true, pids());
      await Bun.sleep(durationMs);
      database.disk.full(false, pids());
      if (database instanceof PostgresDatabase) await database.revive();
      return;
    case "sql down":
      await server?.kill();
      await Bun.sleep(durationMs);
      await server?.restart();
      return;
    case "sql frozen":
      server?.freeze(true);
      await Bun.sleep(durationMs);
      server?.freeze(false);
      return;
    default:
      throw new Error(`${kind} is nothing that a database does`);
  }
}
