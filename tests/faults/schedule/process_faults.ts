/** Processes that are killed, stopped as they are, or told to end; and all of them, one by one. */
import type { RoleProcess } from "../stage/role_process.ts";
import type { FaultAct, Theatre } from "./fault_act.ts";
import type { PlannedFault } from "./schedule.ts";

type Signal = "SIGKILL" | "SIGSTOP" | "SIGTERM";

/** Longer than a process may take to drain. */
const SIGNAL_AGAIN_MS = 12_000;

/**
 * Ends a process, and resolves when another has taken its place. Some other fault may have ended it
 * a moment before; then the signal reached nobody, and is sent to its successor.
 */
async function replace(process: RoleProcess, signal: "SIGKILL" | "SIGTERM"): Promise<void> {
  const before = process.exits.length;
  while (process.exits.length === before) {
    process.signal(signal);
    const until = performance.now() + SIGNAL_AGAIN_MS;
    while (process.exits.length === before && performance.now() < until) await Bun.sleep(10);
  }
  await process.ready();
}

export function processFault(fault: PlannedFault, { stage }: Theatre): FaultAct[] {
  const [signal, role = ""] = fault.kind.split(" ") as [Signal, string];
  return stage.of(role).map((process) => ({
    target: process.name,
    run: async () => {
      if (signal !== "SIGSTOP") return replace(process, signal);
      process.signal(signal);
      await Bun.sleep(fault.durationMs);
      process.goOn();
    },
  }));
}

/** Every process of every role ends politely and is replaced before the next one. */
export function rollingRestart(_: PlannedFault, { stage }: Theatre): FaultAct[] {
  return [
    {
      target: "all processes, one by one",
      run: async () => {
        for (const process of stage.processes) await replace(process, "SIGTERM");
      },
    },
  ];
}
