/**
 * Sends the clients of a gateway away: each gets `bye` with a time of its own to come back, spread so
 * that the other gateways are not met by all of them at once, and a client that waits for answers to
 * its sends gets them first where that is possible in time.
 */
import { type Clock, type Random, sleep } from "../../core/clock.ts";
import type { Connection } from "./connection.ts";
import type { Hub } from "./hub.ts";

export interface DrainDeps {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly random: Random;
  /** Clients come back spread over this time. */
  readonly spreadMs: number;
}

const STEP_MS = 25;
/** Part of the budget in which clients are asked to go, and that in which they may wait longer. */
const ASK_SHARE = 0.5;
const WAIT_SHARE = 0.75;

/** Resolves when every client has been told and closed, which takes WAIT_SHARE of the budget. */
export async function drainClients(deps: DrainDeps, budgetMs: number): Promise<void> {
  const { clock, hub } = deps;
  const start = clock.monotonic();
  const all = [...hub.all()];
  let asked = 0;
  let waiting: Connection[] = [];
  while (asked < all.length || waiting.length > 0) {
    const spent = clock.monotonic() - start;
    const share = Math.min(1, (spent + STEP_MS) / (budgetMs * ASK_SHARE));
    const due = all.slice(asked, Math.ceil(all.length * share));
    asked += due.length;
    for (const conn of due) conn.leaving = true;
    const late = spent > budgetMs * WAIT_SHARE;
    waiting = [...waiting, ...due].filter((conn) => !sendAway(conn, late, deps));
    if (asked < all.length || waiting.length > 0) await sleep(clock, STEP_MS);
  }
}

/** False while the client waits for answers to its sends and there is time for them. */
function sendAway(conn: Connection, late: boolean, deps: DrainDeps): boolean {
  const owed = (conn.inFlight?.size ?? 0) > 0 || conn.held !== null;
  if (owed && !late && !conn.closed) return false;
  deps.hub.downlink.end(conn, "draining", deps.random.fraction() * deps.spreadMs);
  return true;
}
